"""The files of a folder where one file is meant."""

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from tersely.readers.packing import ENDINGS

# Whatever may be a table.
TABLES = ("*.parquet", "*.jsonl", "*.json", "*.csv")
MOST_NAMED = 4


def files_like(folder: Path, patterns: Sequence[str]) -> Iterator[Path]:
    """Files with such names, in the folder and those in it; no hidden ones."""
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            plain = name.removesuffix(Path(name).suffix) if name.endswith(ENDINGS) else name
            if any(fnmatch(plain, pattern) for pattern in patterns):
                yield Path(place, name)


def ask_for_one(folder: Path, found: Sequence[Path]) -> str:
    """The sentence that names a folder's files and asks for one of them."""
    if not found:
        return (
            f"{folder} holds no file that a tool is known to write and no table (.parquet, .jsonl, "
            ".json, .csv); give the file itself"
        )
    named = ", ".join(str(file.relative_to(folder)) for file in found[:MOST_NAMED])
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    count = f"{len(found)} files" if len(found) > 1 else "1 file"
    return f"{folder} holds {count}, {named}{more}; give {'one of them' if found[1:] else 'that'}"
