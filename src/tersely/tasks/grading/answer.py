"""Finding the final answer in a completion, outside its thinking."""

import re
from typing import NamedTuple

END_THINK, THINK = "</think>", "<think>"
_BRACE = re.compile(r"\\boxed\s*+\{|[{}]")


def opens_thinking(prompt: str, *, asked: str = "") -> bool:
    """Whether a prompt, as the chat template wrote it, ends inside the thinking.

    It does where it ends in ``<think>`` and white space, or where the template wrote ``<think>``
    after the question and did not close it, as to begin the thinking itself. Marks in the
    question are the user's words.

    Args:
        asked: the question.
    """
    if prompt.rstrip().endswith(THINK):
        return True
    _, found, after = prompt.rpartition(asked.strip()) if asked.strip() else ("", "", "")
    return bool(found) and THINK in after.rpartition(END_THINK)[2]


def closes_thinking(prompt: str) -> bool:
    """Whether a prompt, as the chat template wrote it, ends in closed thinking: no thinking is
    wanted."""
    return prompt.rstrip().endswith(END_THINK)


def opened(text: str, *, thinking_open: bool) -> str:
    """The text to grade of a completion, or of its beginning: whose prompt ended inside the
    thinking begins there, without a mark of its own."""
    return THINK + text if thinking_open else text


def answer_part(text: str) -> str | None:
    """What follows the last ``</think>``; the whole text if no thinking was opened; None if
    thinking was opened after that and never closed."""
    after = text.rpartition(END_THINK)[2]
    return None if THINK in after else after.strip()


def has_thought(text: str) -> bool:
    """Whether there is more than white space before the answer, between the thinking's marks.

    A text without any mark has not thought; one whose thinking never closed has. Where the prompt
    may have opened the thinking, ask about the ``opened`` text.
    """
    before, closed, _ = text.partition(END_THINK)
    _, marked, thinking = before.partition(THINK)
    # A model may repeat the mark that its prompt ended in.
    return bool((thinking.replace(THINK, "") if marked else before if closed else "").strip())


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
