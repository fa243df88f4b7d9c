r"""Finding the final answer in a completion, outside its thinking.

The answer stands in a box: ``\boxed{7}``, ``\fbox{7}``, ``\framebox{7}``, or without braces
``\boxed 7``. Braces that are escaped, ``\{`` and ``\}``, are text and close no box. Of nested boxes
the innermost counts.

Which boxes are the answer: the last one, and with it those before it that it continues as a list.
It continues one where they do not touch and nothing stands between the two but

- marks of maths and space (``$``, ``\(``, ``\quad``, a new line), a comma, a semicolon, "and",
  "or", and with "and" or "or" a few words such as "the other root is";
- a label in front of the later one: ``y =``, ``(b)``, ``2.``.

So ``\boxed{3}, \boxed{5}`` and "x = ``\boxed{3}`` or x = ``\boxed{5}``" are the list ``3, 5``, and
a box written twice is one. Any other word or the end of a sentence starts a new answer, which
replaces the earlier: "``\boxed{3}``. Wait, it is ``\boxed{5}``" is ``5``, and so is
"not ``\boxed{3}``, ``\boxed{5}`` instead".

Where the answer part has ``<answer>…</answer>``, as R1-Zero's prompt asks for, it is what the last
of these holds, unless a box follows. A tag that does not close, or in a block of code, is text.
"""

import re
from typing import NamedTuple

END_THINK, THINK = "</think>", "<think>"
_TAGGED = re.compile(r"```|<answer>(?P<held>(?:[^<]|<(?!/?answer>))*+)</answer>", re.IGNORECASE)
# In a tag more than this, or several lines, is a solution, and no answer by itself.
_MOST_TAGGED = 200
# What a box without braces holds: a number, a command with its braces, one letter, a pair, a set. A
# word is no content: "put it into \boxed form". Bounded, so that the whole text takes one pass.
_HASHES = re.compile(r"(?<!#)####(?!#)[ \t]*+(\S[^\n]{0,200})")
_BOX = r"(?:boxed|fbox|framebox)(?![a-zA-Z])"
_BARE = (
    rf"(?!\\{_BOX})(?=[-+]?\.?\d|[-+]?\\[a-zA-Z]|\([-+\dA-Z\\]|[b-zA-HJ-Z](?![a-zA-Z']))"
    rf"(?:\{{(?:[^{{}}]|\{{[^{{}}]{{0,99}}+\}}){{0,99}}+\}}|\\[{{}}]|[^\s{{}}$\\]"
    rf"|\\(?![)\]\[(]|{_BOX})){{1,199}}+"
    r"|\\\{[^{}$\n]{0,199}\\\}"
)
_MARK = re.compile(
    rf"(?<!\\)\\++{_BOX}\s*+(?:(?P<open>\{{)|(?P<bare>{_BARE}))"
    r"|(?<!\\)(?P<slashes>\\*+)(?P<brace>[{}])"
)
# Longer texts between two boxes are no list.
_MOST_BETWEEN = 80
_SPACE = r"(?:\s|\\[ ,;:!]|~|\$|\\[()\[\]]|\\q?quad\b|\\\\|\*|&|\\ldots|…)"
_LABEL = (
    r"(?:(?:[Pp]art\s*)?(?:\([a-z\d]{1,4}\)|[a-z\d]{1,2}[).])[:=]?|[-•]"
    r"|(?:\\[a-z]+|[a-zA-Z])(?:_\{?\w{1,3}\}?|')?(?:\([a-z\d]\))?" + _SPACE + r"*+(?:=|:|\\in\b))"
)
_JOIN = r"(?:\\text\s*\{\s*(?:and|or)\s*\}|(?:and|or)\b|[,;/])"
_FILLER = (
    r"(?:the|other|another|first|second|third|next|smaller|larger|greater|root|solution|value"
    r"|one|is|are|for|also|part|respectively)\b"
)
_BETWEEN = re.compile(
    rf"{_SPACE}*+(?:[,;]{_SPACE}*+)?(?:{_JOIN}{_SPACE}*+(?:{_FILLER}{_SPACE}*+)*+)?"
    rf"(?:\.?{_SPACE}*+{_LABEL}{_SPACE}*+){{0,2}}"
)


# Said before a box or after it: it does not go on with the one before.
_REFUSED = re.compile(rf"(?:\bnot|n't|\bthan|\binstead of)\b{_SPACE}*+\Z", re.IGNORECASE)
_INSTEAD = re.compile(rf"{_SPACE}*+,?\s*(?:instead|rather)\b")


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


def reply(text: str) -> str | None:
    """What follows the last ``</think>``; the whole text if no thinking was opened; None if
    thinking was opened after that and never closed."""
    after = text.rpartition(END_THINK)[2]
    return None if THINK in after else after.strip()


def answer_part(text: str) -> str | None:
    """The reply, or of it what its last ``<answer>`` holds."""
    after = reply(text)
    held = None if after is None else _tagged(after)
    return after if held is None else held.strip()


def _tagged(after: str) -> str | None:
    """What the last ``<answer>…</answer>`` outside of code holds; None without one, or where a box
    follows it."""
    found, in_code = None, False
    for match in _TAGGED.finditer(after):
        if match["held"] is None:
            in_code = not in_code
        elif not in_code:
            found = match
    return None if found is None or all_boxed(after[found.end() :]) else found["held"]


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
    r"""Where a closed box stands in its text, and where the content of it does.

    Attributes:
        begin: where the content begins.
        end: where it ends.
        start: where the box begins, with its command.
        stop: where it ends, with its brace.
    """

    begin: int
    end: int
    start: int
    stop: int


def all_boxed(text: str) -> list[Boxed]:
    """Every closed box, in the order in which they close, nested braces kept.

    One pass, however many braces never close.
    """
    open_places: list[tuple[int, int]] = []
    found = []
    for match in _MARK.finditer(text):
        if match["bare"]:
            begin = match.start("bare")
            end = begin + len(match["bare"].rstrip(".,;:!?*"))
            found.append(Boxed(begin, end, match.start(), end))
        elif match["open"]:
            open_places.append((match.end(), match.start()))
        elif len(match["slashes"]) % 2:
            continue
        elif match["brace"] == "{":
            # A brace of no box is only counted: its place is before any text.
            open_places.append((-1, -1))
        elif open_places and (place := open_places.pop())[0] >= 0:
            begin, start = place
            end = match.start("brace")
            found.append(Boxed(begin, end, start, match.end()))
    return found


def final_boxes(text: str) -> list[str]:
    """The contents of the boxes that are the answer, in the order written; empty without one.

    They are more than one where boxes stand as a list; see above.
    """
    found = sorted(all_boxed(text))
    if not found:
        return []
    boxes = [found.pop()]
    while found and not _INSTEAD.match(text, boxes[0].stop):
        before = found.pop()
        # One around the others is not before them.
        if before.stop > boxes[-1].start:
            continue
        between = text[before.stop : boxes[-1].start]
        if not 0 < len(between) <= _MOST_BETWEEN or not _BETWEEN.fullmatch(between):
            break
        if _REFUSED.search(text, max(0, before.start - _MOST_BETWEEN), before.start):
            break
        boxes.append(before)
    contents = [text[box.begin : box.end].strip() for box in reversed(boxes)]
    return list(dict.fromkeys(contents))


def last_boxed(text: str) -> str | None:
    """The answer in the last box, or the list that the last boxes are; None without a box."""
    contents = final_boxes(text)
    return ", ".join(contents) if contents else None


def boxed_or_tagged(text: str) -> str | None:
    """The answer in the last box after the thinking; where an ``<answer>`` without a box stands
    there, its one line; None without either."""
    part = answer_part(text)
    boxed = last_boxed(part) if part else None
    if boxed is not None or not part or len(part) > _MOST_TAGGED or "\n" in part:
        return boxed
    return part if _tagged(text.rpartition(END_THINK)[2]) else None


def after_hashes(text: str) -> list[str]:
    """What stands on a line after ``####``, where GSM8K has its answers; the last one first."""
    return [found.strip() for found in reversed(_HASHES.findall(text))]
