"""Golden numbers of truncation and correctness."""

import numpy as np

from tersely.core.types import GroupView
from tersely.rewards import load

# Target 100. By hand, Eq. 2 (Eq. 1):
#   correct 99 -> 1 (1) · correct 100, on the boundary -> 1 (1) · correct 101 -> 0 (1)
#   wrong 50 -> 0 (0) · wrong 150 -> 0 (0) · read as correct but cut off at 80 -> 0 (0)
GROUP = GroupView(
    correct_G=np.array([True, True, True, False, False, True]),
    tokens_G=np.array([99, 100, 101, 50, 150, 80]),
    finished_G=np.array([True, True, True, True, True, False]),
    formatted_G=np.array([True, True, True, True, False, True]),
    target_tokens=100.0,
)


def test_truncation_pays_correct_answers_up_to_and_at_the_target() -> None:
    assert load("truncation")(GROUP).tolist() == [1, 1, 0, 0, 0, 0]


def test_correctness_ignores_length_but_not_the_cap() -> None:
    assert load("correctness")(GROUP).tolist() == [1, 1, 1, 0, 0, 0]


def test_truncation_is_correctness_when_the_target_is_above_every_length() -> None:
    roomy = GROUP._replace(target_tokens=150.0)
    assert load("truncation")(roomy).tolist() == load("correctness")(roomy).tolist()


def test_a_fractional_target_admits_only_whole_tokens_below_it() -> None:
    assert load("truncation")(GROUP._replace(target_tokens=99.5)).tolist() == [1, 0, 0, 0, 0, 0]
