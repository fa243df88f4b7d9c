"""Digests: short ones of what a run is made from, and full ones of what it wrote.

``digests.json`` stands beside files that are finished and holds the size and SHA-256 of each, so
that a flipped bit or an edited line is seen when they are read. A file that it does not name is
not checked, nor is anything in a folder without it.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any

from tersely.core.errors import DataError
from tersely.core.manifest import ModelFiles
from tersely.core.parsing import parse_json
from tersely.core.storage import write_atomically

DIGESTS_FILE = "digests.json"
# As a checkpoint names the step log of its run.
STEP_LOG = "../../steps.jsonl"
_SCHEMA = 1
_BLOCK_BYTES = 1 << 20

# What a run is made from besides config.json, *.safetensors, tokenizer* and chat_template*.
_OTHER_FILES = {
    "stop_tokens_digest": ("generation_config.json",),
    "other_weights_digest": (
        "*.bin", "*.pt", "*.pth", "*.h5", "*.index.json", "adapter_config.json",
    ),
    "other_tokenizer_digest": (
        "vocab*", "merges*", "*.model", "*.tiktoken", "special_tokens_map.json",
        "added_tokens.json", "additional_chat_templates/*",
    ),
    "code_digest": ("*.py",),
}  # fmt: skip


def digest_model(folder: Path) -> ModelFiles:
    """Digests of all files of a model folder that decide what is sampled from it.

    Only contents and names count, so a folder may be moved, linked or touched.
    """
    other = {key: _digest_named(folder, patterns) for key, patterns in _OTHER_FILES.items()}
    return ModelFiles(
        model_digest=digest_of(folder),
        tokenizer_digest=digest_files(_prompt_files(folder)),
        stop_tokens_digest=other["stop_tokens_digest"],
        other_weights_digest=other["other_weights_digest"],
        other_tokenizer_digest=other["other_tokenizer_digest"],
        code_digest=other["code_digest"],
    )


def digest_tokenizer(path: str | None) -> str:
    """A short digest of a tokenizer's folder, or of its single file; "none" where there is none."""
    if path is None:
        return "none"
    place = Path(path)
    if not place.is_dir():
        return digest_files([place] if place.is_file() else [])
    others = _digest_named(place, _OTHER_FILES["other_tokenizer_digest"])
    return digest_files(_prompt_files(place)) + ("" if others == "none" else f" {others}")


def digest_prompts(prompts: Iterable[Sequence[int]]) -> str:
    """A short digest of rendered prompts, in order."""
    state = blake2b(digest_size=8)
    for ids in prompts:
        state.update(f"{' '.join(map(str, ids))}\n".encode())
    return state.hexdigest()


def digest_of(folder: Path) -> str:
    """A short digest of a model folder's configuration and weights."""
    return digest_files([folder / "config.json", *folder.glob("*.safetensors")])


def digest_files(files: Iterable[Path]) -> str:
    """A short digest of the contents of files, in the order of their names."""
    state = blake2b(digest_size=8)
    for file in sorted(files):
        with file.open("rb") as content:
            while block := content.read(1 << 20):
                state.update(block)
    return state.hexdigest()


def note_digests(folder: Path, files: Mapping[str, Path], *, growing: Sequence[str] = ()) -> None:
    """Keeps digests of files in the folder's ``digests.json``, beside those that are there.

    Args:
        files: by the name that each has in the folder, now or once it is renamed.
        growing: names of those of which only the bytes so far are meant.
    """
    entries = _read_digests(folder) | {name: _digest_whole(file) for name, file in files.items()}
    for name in growing:
        entries[name]["growing"] = True
    text = json.dumps({"schema": _SCHEMA, "files": entries}, indent=1, sort_keys=True)
    write_atomically(folder / DIGESTS_FILE, text + "\n")


def note_checkpoint(folder: Path) -> None:
    """Keeps the digests of all files of a checkpoint, and of its run's step log so far."""
    found = [file for file in folder.rglob("*") if file.is_file() and file.name != DIGESTS_FILE]
    files = {str(file.relative_to(folder)): file for file in found}
    growing = [STEP_LOG] if (folder / STEP_LOG).is_file() else []
    note_digests(folder, files | {name: folder / name for name in growing}, growing=growing)


def check_digests(
    folder: Path, names: Iterable[str] | None = None, *, but: Sequence[str] = ()
) -> None:
    """Holds files against ``digests.json``, where it is there and names them. It reads them whole:
    about a second a gigabyte.

    Args:
        names: None: all files of the folder itself, ``but`` these.
    Raises:
        DataError: a file is missing, or is not as it was written; says what to do.
    """
    entries = _read_digests(folder)
    own = [name for name in entries if "/.." not in f"/{name}" and name not in but]
    wanted = own if names is None else names
    for name in wanted:
        if name in entries and (found := _difference(folder / name, entries[name])):
            file = Path(os.path.normpath(folder / name))
            raise DataError(
                f"{file} {found}; restore it from a copy or, if it was changed on "
                f"purpose, delete {folder / DIGESTS_FILE}"
            )


def check_record_file(file: Path) -> None:
    """Holds a file of records against the digests beside it, or those of the run that it is of.

    Raises:
        DataError: as ``check_digests``.
    """
    check_digests(file.parent, [file.name])
    check_digests(file.parent.parent, [f"{file.parent.name}/{file.name}"])


def check_step_log(run: Path) -> None:
    """Holds a run's step log, up to its newest checkpoint, against the digest that is kept there.

    Raises:
        DataError: as ``check_digests``.
    """
    # Of a run that goes on, a checkpoint may be gone by the time it is looked at.
    files = run.glob(f"checkpoints/*/{DIGESTS_FILE}")
    folders = [file.parent for file in files if file.parent.suffix != ".tmp"]
    covered = {folder: _read_digests(folder).get(STEP_LOG, {"bytes": -1}) for folder in folders}
    if covered:
        check_digests(max(covered, key=lambda folder: int(covered[folder]["bytes"])), [STEP_LOG])


def _difference(file: Path, entry: Mapping[str, Any]) -> str | None:
    """How a file differs from what was written; None if it does not."""
    if not file.is_file():
        return "is missing"
    wanted_bytes, found_bytes = int(entry["bytes"]), file.stat().st_size
    if found_bytes < wanted_bytes and not entry.get("growing") and _is_torn_line(file):
        return None  # whoever reads it says so, and leaves the line out or makes it again
    if found_bytes < wanted_bytes or (found_bytes > wanted_bytes and not entry.get("growing")):
        return f"has {found_bytes:,} bytes, and {wanted_bytes:,} were written"
    if _digest_whole(file, first_bytes=wanted_bytes)["sha256"] != entry["sha256"]:
        return "is not as it was written: its SHA-256 differs"
    return None


def _is_torn_line(file: Path) -> bool:
    """Whether a file of JSON lines ends inside of one, as after a crash."""
    with file.open("rb") as content:
        content.seek(-min(1, file.stat().st_size), os.SEEK_END)
        return file.suffix == ".jsonl" and content.read() != b"\n"


def _digest_whole(file: Path, *, first_bytes: int | None = None) -> dict[str, Any]:
    """Size and SHA-256 of a file's first bytes, or of all."""
    state, left_bytes = sha256(), file.stat().st_size if first_bytes is None else first_bytes
    size_bytes = left_bytes
    with file.open("rb") as content:
        while left_bytes and (block := content.read(min(_BLOCK_BYTES, left_bytes))):
            state.update(block)
            left_bytes -= len(block)
    return {"bytes": size_bytes - left_bytes, "sha256": state.hexdigest()}


def _read_digests(folder: Path) -> dict[str, dict[str, Any]]:
    file = folder / DIGESTS_FILE
    try:
        content = parse_json(file.read_bytes())
        if content["schema"] != _SCHEMA:
            raise ValueError(f"schema {content['schema']!r}")
        entries = dict(content["files"])
        for entry in entries.values():
            int(entry["bytes"]), str(entry["sha256"])
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{file} is damaged ({error}); delete it to go on without checking what lies beside it"
        ) from error
    return entries


def _digest_named(folder: Path, patterns: Sequence[str]) -> str:
    """A short digest of names and contents of the files that match; "none" where none does."""
    found = sorted({file for p in patterns for file in folder.glob(p) if file.is_file()})
    state = blake2b(digest_size=8)
    for file in found:
        state.update(f"{file.relative_to(folder)}\x1f{digest_files([file])}\x1e".encode())
    return state.hexdigest() if found else "none"


def _prompt_files(folder: Path) -> list[Path]:
    found = (*folder.glob("tokenizer*"), *folder.glob("chat_template*"))
    return [file for file in found if file.is_file()]
