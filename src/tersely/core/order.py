"""Natural sort order for names that contain numbers."""

import re
from functools import lru_cache

_DIGITS = re.compile(r"([0-9]+)")


# A benchmark's name stands beside each of its problems, and a problem in every run of a comparison.
@lru_cache(maxsize=2**14)
def natural(name: str) -> tuple[tuple[str | tuple[int, str], ...], str]:
    """A sort key under which ``q2`` comes before ``q10``; names that differ have keys that differ.

    Runs of digits compare as whole numbers of any length, the text between them as text.
    """
    parts = _DIGITS.split(name)
    numbers = [(len(part.lstrip("0")), part.lstrip("0")) for part in parts[1::2]]
    merged: list[str | tuple[int, str]] = [*parts]
    merged[1::2] = numbers
    return tuple(merged), name


def natural_pair(pair: tuple[str, str]) -> tuple[object, object]:
    """The same for (benchmark, problem)."""
    return natural(pair[0]), natural(pair[1])
