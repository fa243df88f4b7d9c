"""SQLite files of other tools, opened to read and never to write."""

import sqlite3
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

from tersely.core.contents import kind_of
from tersely.core.errors import DataError

_START = b"SQLite format 3\x00"


def open_database(file: Path, *, needs: Collection[str], give: str) -> sqlite3.Connection:
    """A connection that cannot write; a database that its tool has open is read all the same.

    Args:
        needs: tables that the tool makes.
        give: what to give instead of another file.
    Raises:
        DataError: it is no SQLite file, or has not these tables.
    """
    if not is_database(file):
        kind = kind_of(file.read_bytes()) or "no SQLite database"
        raise DataError(f"{file} is {kind}; {give}")
    if lacking := sorted({*needs} - tables(file)):
        raise DataError(f"{file} is an SQLite database without the table {lacking[0]!r}; {give}")
    return _connect(file)


def _connect(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)


def is_database(file: Path) -> bool:
    """Whether it begins as SQLite files do."""
    with file.open("rb") as opened:
        return opened.read(len(_START)) == _START


def tables(file: Path) -> set[str]:
    """The names of its tables; none of a file that is no database or damaged."""
    if not is_database(file):
        return set()
    try:
        with closing(_connect(file)) as database:
            return {name for (name,) in database.execute("select name from sqlite_master")}
    except sqlite3.DatabaseError:
        return set()
