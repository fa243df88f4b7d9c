"""The items of a list, and their order, must be those of the gold answer.

Items are numbers (2, 2.0 and 4/2 are equal) or texts (case, quotes and white space aside), parted
by commas, semicolons or newlines, or by spaces where there are none of these. A list may stand in
brackets and its items may be lists. It is looked for in the last ``\\boxed{}``; without a box,
after the last ``####``; without that, the whole answer is the list.
"""

import re
from fractions import Fraction

from tersely.core.types import Grade, Verdict
from tersely.tasks.grading.answer import after_hashes, answer_part, last_boxed

OrderedItem = Fraction | str | tuple["OrderedItem", ...]

MOST_CHARS = 20_000
_OPENING, _CLOSING = "([{", ")]}"
_NUMBER = re.compile(r"[-+]?(?:\d{1,40}(?:\.\d{1,40})?|\.\d{1,40})(?:/\d{1,40})?")
_LATEX = re.compile(
    r"\\(?:left|right|,|;|!|quad|ldots|displaystyle)(?![a-zA-Z])|\\(?:text|mathrm|textbf)(?=\s*\{)"
    r"|\\(?=[{}])|\$"
)


def grade(text: str, answer: str) -> Verdict:
    """CORRECT if the list found is the gold one; UNPARSED if there is none."""
    part = answer_part(text) or ""
    boxed = last_boxed(part)
    found = [*after_hashes(part), part][0] if boxed is None else boxed
    if not found:
        return Verdict(grade=Grade.UNPARSED)
    if len(found) > max(MOST_CHARS, 2 * len(answer)):
        return Verdict(grade=Grade.UNGRADED)
    given = _items(_LATEX.sub(" ", found))
    if not given:
        return Verdict(grade=Grade.UNPARSED, extracted=found)
    same = given == _items(_LATEX.sub(" ", answer))
    return Verdict(grade=Grade.CORRECT if same else Grade.WRONG, extracted=found)


def _items(text: str) -> tuple[OrderedItem, ...]:
    """The items of a list; brackets around the whole of it, or around a text, mean nothing.

    One pass with the open lists on a stack: as deep as it may be.
    """
    whole = _split(text)
    while len(whole) == 1 and isinstance(whole[0], tuple):
        whole = whole[0]
    return whole


def _split(text: str) -> tuple[OrderedItem, ...]:
    stack: list[tuple[list[OrderedItem], list[str]]] = [([], [])]
    by_space = not re.search(r"[,;\n]", text)
    for character in text:
        items, letters = stack[-1]
        if character in _OPENING:
            stack.append(([], []))
        elif character in _CLOSING:
            if len(stack) > 1:
                stack.pop()
                _end(items, letters)
                stack[-1][0].append(tuple(items))
        elif character in ",;\n" or (by_space and character.isspace()):
            _end(items, letters)
        else:
            letters.append(character)
    while len(stack) > 1:
        items, letters = stack.pop()
        _end(items, letters)
        stack[-1][0].append(tuple(items))
    _end(*stack[0])
    return tuple(stack[0][0])


def _end(items: list[OrderedItem], letters: list[str]) -> None:
    word = " ".join("".join(letters).split()).strip("'\"` ").casefold()
    letters.clear()
    if word:
        items.append(_item(word))


def _item(word: str) -> OrderedItem:
    if _NUMBER.fullmatch(word) and not re.search(r"/0+\Z", word):
        top, _, bottom = word.partition("/")
        return Fraction(top) / Fraction(bottom or 1)
    return word
