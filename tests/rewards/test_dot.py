"""DOT's outliers, worked out by hand."""

import statistics

import numpy as np
import pytest

from tersely.core.types import GroupView
from tersely.rewards import load

# Not solved: plain correctness. With solved = 0.5 (3 of 6 are right): lengths 40 80 120 60 160 200,
# mean 110, sample std sqrt(19000 / 5) = 61.644; T = floor(110 + 0) = 110, and 120 is 10 above it.
GOLDEN: tuple[dict[str, float], list[float]] = (
    {"solved": 0.5, "deviations": 0.0, "margin_tokens": 10},
    [1, 1, 0, 0, 0, 0],
)
DEGENERATE: tuple[float, list[float]] = (1, [0, 0])


def right(*tokens: int) -> GroupView:
    everyone_G = np.ones(len(tokens), dtype=np.bool_)
    return GroupView(
        correct_G=everyone_G,
        tokens_G=np.array(tokens),
        finished_G=everyone_G,
        formatted_G=everyone_G,
    )


def test_an_outlier_of_a_solved_group_gets_nothing_and_the_rest_all() -> None:
    # 15 times 100 and 1000: mean 156.25, sample std 225; T = floor(831.25), 1000 - 831 = 169.
    g = right(*[100] * 15, 1000)
    assert load("dot")(g).tolist() == [1.0] * 15 + [0.0]
    assert load("dot")(g, margin_tokens=169).tolist() == [1.0] * 15 + [0.0]
    assert load("dot")(g, margin_tokens=170).tolist() == [1.0] * 16


def test_one_wrong_rollout_and_the_group_is_left_alone() -> None:
    g = right(*[100] * 15, 1000)
    g.correct_G[0] = False
    assert load("dot")(g).tolist() == [0.0] + [1.0] * 15
    assert load("dot")(g, solved=0.9).tolist() == [0.0] + [1.0] * 14 + [0.0]


@pytest.mark.parametrize("samples", [2, 4, 8, 10])
def test_a_group_of_ten_or_fewer_has_no_outlier_of_three_deviations(samples: int) -> None:
    # The greatest possible: all alike but one, (n - 1) / sqrt(n) deviations; 10 give 2.85.
    assert load("dot")(right(*[1] * (samples - 1), 10**6)).tolist() == [1.0] * samples
    assert load("dot")(right(*[1] * 10, 10**6)).tolist() == [1.0] * 10 + [0.0]


def test_it_is_the_naive_loop_over_rollouts() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        tokens = [int(n) for n in rng.lognormal(5, 1, size=24)]
        limit = int(statistics.mean(tokens) + 1.5 * statistics.stdev(tokens))
        naive = [0.0 if n - limit >= 8 else 1.0 for n in tokens]
        assert load("dot")(right(*tokens), deviations=1.5, margin_tokens=8).tolist() == naive
