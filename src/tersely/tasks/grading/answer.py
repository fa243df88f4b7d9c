"""Finding the final answer in a completion, outside its thinking."""

import re
from typing import NamedTuple

END_THINK, THINK = "</think>", "<think>"
_HASHES = re.compile(r"(?<!#)####(?!#)[ \t]*+(\S[^\n]{0,200})")
_BRACE = re.compile(r"\\boxed\s*+\{|[{}]")


def answer_part(text: str) -> str | None:
    """What follows the last ``</think>``; the whole text if no thinking was opened; None if
    thinking was opened after that and never closed."""
    after = text.rpartition(END_THINK)[2]
    return None if THINK in after else after.strip()


def has_thought(text: str) -> bool:
    """Whether there is more than white space before the answer, between the thinking's marks.

    A text without any mark has not thought; one whose thinking never closed has.
    """
    before, closed, _ = text.partition(END_THINK)
    thinking = before.partition(THINK)
    return bool((thinking[2] or (before if closed and not thinking[1] else "")).strip())


class Boxed(NamedTuple):
    """Where the content of a closed ``\\boxed{...}`` begins and ends in its text."""

    begin: int
    end: int


def all_boxed(text: str) -> list[Boxed]:
    """Every closed ``\\boxed{...}``, in the order in which they close, nested braces kept.

    One pass, however many braces never close.
    """
    open_places: list[int] = []
    found = []
    for match in _BRACE.finditer(text):
        if match[0] != "}":
            # A brace of no box is only counted: its place is before any text.
            open_places.append(match.end() if len(match[0]) > 1 else -1)
        elif open_places and (begin := open_places.pop()) >= 0:
            found.append(Boxed(begin, match.start()))
    return found


def last_boxed(text: str) -> str | None:
    """The content of the closed ``\\boxed{...}`` that begins last; None without one.

    Of nested boxes that is the innermost.
    """
    found = all_boxed(text)
    return text[slice(*max(found))].strip() if found else None


def after_hashes(text: str) -> list[str]:
    """What stands on a line after ``####``, where GSM8K has its answers; the last one first."""
    return [found.strip() for found in reversed(_HASHES.findall(text))]
