"""The paper's Table 1: each cell's value or mask, and what is refused."""

import math

import numpy as np
import pytest

from tersely.algo.advantages import MaskScope
from tersely.algo.advantages.group_normalised import group_normalised
from tersely.algo.masks import MASKED, NO_LONG_CORRECT, STRATEGIES, VANILLA, Cells, treat
from tersely.algo.ragged import Ragged
from tersely.core.errors import ConfigError
from tersely.core.types import GroupView
from tersely.rewards import load

# Target 100. Correct at 100 (short, on the boundary) and 101, wrong at 100 and 101, and one that
# reads as correct but was cut at 80: wrong and short.
GROUP = GroupView(
    correct_G=np.array([True, True, False, False, True]),
    tokens_G=np.array([100, 101, 100, 101, 80]),
    finished_G=np.array([True, True, True, True, False]),
    formatted_G=np.array([True] * 5),
    target_tokens=100.0,
)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        # Table 1, top to bottom: correct short, correct long, wrong short, wrong long.
        ("vanilla", (1, 0, 0, 0)),
        ("no-wrong", (1, 0, None, None)),
        ("no-long-correct", (1, None, 0, 0)),
        ("no-long-correct-no-short-wrong", (1, None, None, 0)),
        ("no-long-correct-no-long-wrong", (1, None, 0, None)),
    ],
)
def test_the_five_strategies_are_the_rows_of_the_table(name: str, row: tuple) -> None:
    treated = treat(GROUP, STRATEGIES[name])
    by_rollout = [row[0], row[1], row[2], row[3], row[2]]
    assert treated.keep_G.tolist() == [value is not None for value in by_rollout]
    assert treated.reward_G.tolist() == [1, 0, 0, 0, 0]


def test_there_are_five_strategies() -> None:
    assert len(STRATEGIES) == 5
    assert len(set(STRATEGIES.values())) == 5


def test_vanilla_is_truncation() -> None:
    for group in (GROUP, GROUP._replace(pay_unfinished=True)):
        treated = treat(group, VANILLA)
        np.testing.assert_array_equal(treated.reward_G, load("truncation")(group))
        assert treated.keep_G.all()


def test_each_cell_has_its_own_value() -> None:
    treated = treat(GROUP, Cells(4.0, 3.0, 2.0, 1.0))
    assert treated.reward_G.tolist() == [4, 3, 2, 1, 2]


def test_an_unfinished_rollout_changes_cells_when_it_may_be_right() -> None:
    cells = Cells(4.0, 3.0, 2.0, 1.0)
    assert treat(GROUP._replace(pay_unfinished=True), cells).reward_G[4] == 4


def test_a_masked_rollout_counts_in_the_mean_at_its_truncation_reward_or_not_at_all() -> None:
    # Correct short, correct long (masked), two wrong: {1, 0, 0} left out, {1, 0, 0, 0} counted.
    group = GroupView(*(values_G[:4] for values_G in GROUP[:4]), target_tokens=100.0)
    treated = treat(group, NO_LONG_CORRECT)
    layout = Ragged(np.array([len(treated.keep_G)]))
    left_out_G = group_normalised(*treated, layout)
    np.testing.assert_allclose(left_out_G, [2**0.5, 0, -(0.5**0.5), -(0.5**0.5)])
    counted_G = group_normalised(*treated, layout, mask_scope=MaskScope.LOSS_ONLY)
    np.testing.assert_allclose(counted_G, [3**0.5, 0, -(3**-0.5), -(3**-0.5)])


@pytest.mark.parametrize("correct_short", [1.0, MASKED])
def test_masking_all_wrong_and_the_long_correct_ones_is_refused(correct_short) -> None:
    with pytest.raises(ConfigError, match="learn that short is correct, the trap"):
        Cells(correct_short, MASKED, MASKED, MASKED)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_cell_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match=r"cell wrong_short is (nan|inf); give a finite number"):
        Cells(1.0, 0.0, value, 0.0)


def test_short_and_long_need_a_target() -> None:
    with pytest.raises(ConfigError, match="give the recipe a target"):
        treat(GROUP._replace(target_tokens=math.nan), VANILLA)


def test_the_order_of_rollouts_goes_along_and_inputs_stay() -> None:
    order = np.array([3, 0, 4, 2, 1])
    moved = GroupView(*(values_G[order] for values_G in GROUP[:4]), target_tokens=100.0)
    treated, expected = treat(moved, NO_LONG_CORRECT), treat(GROUP, NO_LONG_CORRECT)
    np.testing.assert_array_equal(treated.keep_G, expected.keep_G[order])
    np.testing.assert_array_equal(treated.reward_G, expected.reward_G[order])
    assert GROUP.tokens_G.tolist() == [100, 101, 100, 101, 80]
