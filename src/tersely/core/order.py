"""Natural sort order for names that contain numbers."""

import re
from functools import lru_cache

_DIGITS = re.compile(r"([0-9]+)")


# A benchmark's name stands beside each of its problems, and a problem in every run of a comparison.
@lru_cache(maxsize=2**14)
def natural(name: str) -> str:
    """A sort key under which ``q2`` comes before ``q10``; names that differ have keys that differ.

    Runs of digits compare as whole numbers of any length, the text between them as text.
    """
    # One string compares fastest. A text's end is less than any character, and what ends the name
    # less than a number, which begins with its length.
    parts = _DIGITS.split(name.replace("\0", "\0\1"))
    digits = (part.lstrip("0") for part in parts[1::2])
    parts[1::2] = [f"\0\0{len(part):08d}{part}" for part in digits]
    return "".join(parts) + "\0\0\0" + name


def natural_pair(pair: tuple[str, str]) -> tuple[str, str]:
    """The same for (benchmark, problem)."""
    return natural(pair[0]), natural(pair[1])
