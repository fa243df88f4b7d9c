"""Finding the final answer in a completion, outside its thinking."""

import re

END_THINK, THINK = "</think>", "<think>"
_BRACE = re.compile(r"\\boxed\{|[{}]")


def answer_part(text: str) -> str | None:
    """What follows the last ``</think>``; the whole text if no thinking was opened; None if
    thinking was opened after that and never closed."""
    after = text.rpartition(END_THINK)[2]
    return None if THINK in after else after.strip()


def last_boxed(text: str) -> str | None:
    """The content of the last closed ``\\boxed{...}``, nested braces kept; None without one.

    Of nested boxes that is the innermost. One pass, however many braces never close.
    """
    open_places: list[int] = []
    found = (-1, -1)
    for match in _BRACE.finditer(text):
        if match[0] != "}":
            # A brace of no box is only counted: its place is before any text.
            open_places.append(match.end() if len(match[0]) > 1 else -1)
        elif open_places and (begin := open_places.pop()) > found[0]:
            found = (begin, match.start())
    return text[slice(*found)].strip() if found[0] >= 0 else None
