"""What a file holds, told by its first bytes: text, or which kind of binary file."""

import codecs
import io
import zipfile

_HEAD_BYTES = 8192
# Longest first: the mark of UTF-32 begins as that of UTF-16 does.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
PARQUET, INSPECT_LOG = "a Parquet file", "an inspect-ai log (.eval)"
_BY_START = {
    b"PAR1": PARQUET,
    b"\x1f\x8b": "packed with gzip",
    b"\xfd7zXZ\x00": "packed with xz",
    b"\x28\xb5\x2f\xfd": "packed with Zstandard",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"\x93NUMPY": "a NumPy array (.npy)",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
    b"SQLite format 3\x00": "an SQLite database",
    b"ARROW1": "an Arrow file",
    b"FEA1": "a Feather file",
    b"\xff\xff\xff\xff": "an Arrow stream",
    b"Obj\x01": "an Avro file",
    b"\xd0\xcf\x11\xe0": "an old Office file (.xls, .doc)",
    b"\x89PNG": "a PNG image",
    b"%PDF-": "a PDF",
    b"\x7fELF": "a program",
    **{bytes([0x80, version]): "a Python pickle" for version in range(2, 6)},
}
# A member that only archives of this kind have.
_BY_MEMBER = (
    ("_journal/start.json", INSPECT_LOG),
    ("header.json", INSPECT_LOG),
    ("[Content_Types].xml", "an Office file (.xlsx, .docx)"),
    ("data.pkl", "a PyTorch file"),
    (".npy", "a NumPy archive (.npz)"),
)


def kind_of(content: bytes) -> str | None:
    """What it is, in words that follow "it is"; None for text, also in UTF-16 with its mark."""
    head = content[:_HEAD_BYTES]
    if head.startswith(b"PK\x03\x04"):
        return _archive_kind(content)
    for start, kind in _BY_START.items():
        if head.startswith(start):
            return kind
    if head.startswith(b"BZh") and head[4:10] == b"1AY&SY":
        return "packed with bzip2"
    if head[257:262] == b"ustar":
        return "a tar archive"
    if any(head.startswith(mark) for mark, _ in _MARKS) or b"\x00" not in head:
        return None
    if not any(head[1::2]) or not any(head[::2]):
        return "text in UTF-16 without the mark that says so"
    return "a binary file"


def _archive_kind(content: bytes) -> str:
    try:
        names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return "a damaged zip archive"
    kinds = (kind for member, kind in _BY_MEMBER for n in names if _is_member(n, member))
    return next(kinds, "a zip archive")


def _is_member(name: str, member: str) -> bool:
    """Whether it is that member, in any folder, or has that ending."""
    return name.endswith(member) and (
        member.startswith(".") or name[: -len(member)][-1:] in ("", "/")
    )


def as_utf8(content: bytes) -> bytes:
    """The text in UTF-8 and without a mark of the order of bytes; unmarked content as it is.

    Raises:
        ValueError: the mark is of UTF-16 or UTF-32 and what follows is not.
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            if encoding == "utf-8-sig":
                return content[len(mark) :]
            return content.decode(encoding).encode()
    return content
