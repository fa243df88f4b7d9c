"""Answer pairs of known truth: forms x values x spellings, built by rule.

sympy is the judge, on the values from which the texts were written; no grader is asked. A pair is
left out where its truth is not sure.
"""

import random
from pathlib import Path

from grading_corpus import expressions, formulas, gatherings, numbers, powers, quantities
from grading_corpus.boxes import boxes
from grading_corpus.endings import endings
from grading_corpus.judge import Pair, pairs, said
from grading_corpus.statements import figures, letters

EACH = 9
ENDINGS_EACH = 7
STATED = 40
_BY_HAND = Path(__file__).parent / "by_hand.tsv"


def corpus(*, seed: int = 0, each: int = EACH) -> list[Pair]:
    """The pairs of a seed, with ``each`` questions of every form."""
    rng = random.Random(seed)
    modules = (numbers, powers, quantities, expressions, formulas, gatherings)
    forms = [form for module in modules for form in module.FORMS]
    questions = (form(rng) for form in forms for _ in range(each))
    made = [*pairs(questions, rng), *boxes(rng, count=each * 4)]
    return [*made, *endings(rng, each=ENDINGS_EACH)]


def stated(*, seed: int = 0, count: int = STATED) -> dict[str, list[Pair]]:
    """Replies that state a letter, and replies that end in a number; by the name of their grader."""
    rng = random.Random(seed)
    return {
        "choice": list(letters(rng, count=count)),
        "number": list(figures(rng, count=count)),
    }


def judged_by_hand() -> list[Pair]:
    """Pairs whose truth was judged by a person, each once: a table of forms."""
    rng = random.Random(0)
    rows = [line.split("\t") for line in _BY_HAND.read_text(encoding="utf-8").splitlines()[1:]]
    return [
        Pair(f"by hand: {kind}", gold, said(answer, rng), right == "yes")
        for right, gold, answer, kind in rows
    ]
