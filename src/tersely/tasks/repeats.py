"""Repeated problems: within a set, and between training and test.

Within a set two problems are the same where their whole chats are, but for white space and case:
the model is given something else under another system message, or after other turns. Between
training and test the question decides alone: who trained on it knows it, whatever stood before.
Random numbers belong to a problem's id, so that a prompt that stands twice is sampled twice and
counts twice.
"""

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from tersely.core.errors import DataError
from tersely.core.types import Problem

# Above these shares of a set, figures would say something else than what they are called.
MOST_REPEATED = 0.2
MOST_CONTRADICTED = 0.01
MOST_TRAINED_ON = 0.01
# Answers of these graders are one right answer; those of others may be one of many, or tests.
_ONE_ANSWER = ("exact", "number", "math", "choice", "ordered")
_SHOWN_CHARACTERS = 60
_DRESSING = re.compile(r"[\s$]|\\(?:left|right|[,;!])|\.$|(?<=\d),(?=\d{3})")
# No exponents and few digits: an answer such as 1e999999999 would be written out.
_NUMBER = re.compile(r"(?P<above>[-+]?\d{1,20}(?:\.\d{1,20})?)(?:/(?P<below>\d{1,20}))?", re.ASCII)
_FRACTION = re.compile(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}")


class Repeat(NamedTuple):
    """A problem, and the first one with the same prompt."""

    problem: Problem
    first: Problem


def normal_answer(answer: str) -> str:
    """An answer without white space, case and LaTeX's dressing; numbers as reduced fractions."""
    plain = _FRACTION.sub(r"\1/\2", _DRESSING.sub("", answer)).casefold()
    number = _NUMBER.fullmatch(plain)
    if number is None or (number["below"] or "1").strip("0") == "":
        return plain
    return str(Fraction(number["above"]) / int(number["below"] or 1))


def prompt_key(prompt: str) -> str:
    """What two prompts share that are the same but for white space and case."""
    return " ".join(prompt.casefold().split())


def chat_key(problem: Problem) -> tuple[tuple[str, str], ...]:
    """What two problems share whose chats are the same but for white space and case."""
    return tuple((said["role"], prompt_key(said["content"])) for said in problem.chat)


def find_repeats(problems: Sequence[Problem]) -> list[Repeat]:
    """Each problem whose chat stands before it, with the first such; in order."""
    first: dict[tuple[tuple[str, str], ...], Problem] = {}
    found = []
    for problem in problems:
        known = first.setdefault(chat_key(problem), problem)
        if known is not problem:
            found.append(Repeat(problem, known))
    return found


def find_shared(problems: Sequence[Problem], others: Sequence[Problem]) -> list[Repeat]:
    """Each problem whose question stands among the others, with the first such; in order."""
    first: dict[str, Problem] = {}
    for other in others:
        first.setdefault(prompt_key(other.prompt), other)
    keys = [prompt_key(problem.prompt) for problem in problems]
    return [Repeat(p, first[key]) for p, key in zip(problems, keys, strict=True) if key in first]


def contradicts(repeat: Repeat) -> bool:
    """Whether the same chat, to the letter of its case, has another right answer."""
    one, other = repeat
    words = [[said["content"].split() for said in problem.chat] for problem in repeat]
    return (
        words[0] == words[1]
        and one.grader in _ONE_ANSWER
        and other.grader in _ONE_ANSWER
        and normal_answer(one.answer) != normal_answer(other.answer)
    )


def check_set(
    problems: Sequence[Problem], *, name: str, most_repeated: float = MOST_REPEATED
) -> str | None:
    """What to say of prompts that stand twice in a set; None if none does.

    Args:
        name: what to call the set in messages.
        most_repeated: share of the problems that may repeat another one; 1.0 where they are left
            out afterwards.
    Raises:
        DataError: more than ``most_repeated`` of the problems repeat another one, or more than
            ``MOST_CONTRADICTED`` do so with another answer.
    """
    repeats = find_repeats(problems)
    if not repeats:
        return None
    wrong = [repeat for repeat in repeats if contradicts(repeat)]
    if len(wrong) > MOST_CONTRADICTED * len(problems):
        raise DataError(
            f"{name}: {_share(wrong, problems)} have the prompt of another one and another answer, "
            f"above the {MOST_CONTRADICTED:.0%} that is allowed: {_both(wrong[0])}, with the "
            f"answers {_short(wrong[0].first.answer)} and {_short(wrong[0].problem.answer)}; "
            "correct or remove one of each"
        )
    said = f"{name}: {_share(repeats, problems)} have the prompt of another one"
    if len(repeats) > most_repeated * len(problems):
        raise DataError(
            f"{said}, above the {most_repeated:.0%} that is let pass: {_both(repeats[0])}; remove "
            f"them or ask for fewer problems, there are {len(problems) - len(repeats):,} "
            "different ones (tersely curate leaves the others out)"
        )
    also = f"; {len(wrong):,} of them with another answer" if wrong else ""
    example = wrong[0] if wrong else repeats[0]
    return f"{said}, such as {_both(example)}{also}. Each counts as a problem of its own."


def check_apart(test: Sequence[Problem], training: Sequence[Problem]) -> str | None:
    """What to say of test problems that are trained on; None if none is.

    Raises:
        DataError: they are more than ``MOST_TRAINED_ON`` of the test problems.
    """
    shared = find_shared(test, training)
    said = _tell_shared(shared, test)
    if len(shared) > MOST_TRAINED_ON * len(test):
        raise DataError(
            f"{said}, above the {MOST_TRAINED_ON:.0%} that is let pass; leave them out of the "
            "training problems (tersely curate --against TEST) or out of the test problems"
        )
    return f"{said}." if said else None


class Rest(NamedTuple):
    """The problems that are left, and what to say of the others; None if there are none."""

    problems: list[Problem]
    said: str | None


def leave_out_shared(test: Sequence[Problem], training: Sequence[Problem]) -> Rest:
    """The test problems that are not trained on.

    Raises:
        DataError: fewer than half of them.
    """
    shared = find_shared(test, training)
    if not shared:
        return Rest(list(test), None)
    dropped = {repeat.problem.id for repeat in shared}
    rest = [problem for problem in test if problem.id not in dropped]
    said = _tell_shared(shared, test)
    if 2 * len(rest) < len(test):
        raise DataError(
            f"{said}, and only {len(rest):,} others are left; give the task a larger range of "
            "problems, or train on fewer of them"
        )
    return Rest(rest, f"{said}; they are left out, and {len(rest):,} test problems remain.")


def say_shared(test: Sequence[Problem], training: Sequence[Problem]) -> str | None:
    """How many test problems are trained on, with the first of them; None if none is."""
    return _tell_shared(find_shared(test, training), test)


def _tell_shared(shared: Sequence[Repeat], test: Sequence[Problem]) -> str | None:
    if not shared:
        return None
    return (
        f"{_share(shared, test)} have the prompt of a training problem, such as {_both(shared[0])}"
    )


def _share(found: Sequence[Repeat], problems: Sequence[Problem]) -> str:
    return f"{len(found):,} of {len(problems):,} problems ({len(found) / len(problems):.1%})"


def _both(repeat: Repeat) -> str:
    places = (_place(repeat.first), _place(repeat.problem))
    return f"{' and '.join(places)} ({_short(repeat.problem.prompt)})"


def _place(problem: Problem) -> str:
    return f"{problem.id} ({problem.place})" if problem.place else problem.id


def _short(text: str) -> str:
    line = " ".join(text.split())
    cut = line[: _SHOWN_CHARACTERS - 3] + "..." if len(line) > _SHOWN_CHARACTERS else line
    return repr(cut)
