"""One text in two spellings, and near texts that are others."""

import unicodedata

import pytest

from tersely.core.types import Grade
from tersely.tasks.grading.exact import grade

SAME = [
    ("7", r"\(7\)"),
    ("7", "$7$"),
    ("7", r"\[ 7 \]"),
    ("7", "$$7$$"),
    ("Paris", r"\(\text{Paris}\)"),
]
SAME += [("7.0", "7.00"), ("7", "7.000"), ("-7.00", "−7"), ("x + 1", r"\(x + 1\)")]
SAME += [(unicodedata.normalize(form, "Café Zoë"), "Café Zoë") for form in ("NFC", "NFD")]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_one_text_in_two_spellings_is_right_either_way(one: str, other: str) -> None:
    for gold, found in ((one, other), (other, one)):
        assert grade(found, gold).grade is Grade.CORRECT
        assert grade(f"\\boxed{{{found}}}", gold).grade is Grade.CORRECT


@pytest.mark.parametrize(
    ("gold", "found"),
    [
        *(("7", "7.01"), ("7.0", "7.10"), ("70", "7.0"), ("7", r"\(8\)"), ("7", r"\(7\) or \(8\)")),
        *(("7.5", "7.50"), ("Cafe", "Café"), ("²", "2"), ("Paris", "Paris."), ("7", r"\(-7\)")),
        *(("Paris", '"Paris"'), ("7", "7."), ("7", "$7$ or $8$")),
    ],
)
def test_a_near_text_is_another(gold: str, found: str) -> None:
    assert grade(found, gold).grade is Grade.WRONG
    assert grade(gold, found).grade is Grade.WRONG
