"""ACOER's bonus, worked out by hand; how weight and budget move is tested with their rule."""

import math

import numpy as np
import pytest

from tersely.core.types import GroupView
from tersely.rewards import load

# Target 80, weight 0.001, scale 5. s = 1 - L / 80: a 0.5, b and c 0; log 3.5 / log 6 = 0.699181.
GOLDEN: tuple[dict[str, float], list[float]] = ({}, [1.000699, 1, 1, 0, 0, 0])
# Weight 0.5, s = 0.5: 1 + 0.5 * 0.699181.
DEGENERATE: tuple[float, list[float]] = (1.349591, [0, 0])


def right(*tokens: int, target: float = 100.0, weight: float = 0.5) -> GroupView:
    everyone_G = np.ones(len(tokens), dtype=np.bool_)
    return GroupView(
        correct_G=everyone_G,
        tokens_G=np.array(tokens),
        finished_G=everyone_G,
        formatted_G=everyone_G,
        target_tokens=target,
        weight=weight,
    )


def test_the_bonus_is_the_naive_loop_over_rollouts() -> None:
    g = right(1, 20, 99, 100, 400)
    paid = []
    for tokens in (1, 20, 99, 100, 400):
        efficiency = math.log(1 + 5 * (1 - min(tokens / 100, 1))) / math.log(6)
        paid.append(1 + 0.5 * efficiency)
    np.testing.assert_allclose(load("acoer")(g), paid)
    assert load("acoer")(g)[3:].tolist() == [1, 1]


def test_without_a_weight_it_is_plain_correctness_and_a_vast_budget_pays_all_of_it() -> None:
    assert load("acoer")(right(5, 50, weight=0.0)).tolist() == [1, 1]
    np.testing.assert_allclose(load("acoer")(right(5, 50, target=np.inf)), [1.5, 1.5])


def test_an_infinite_weight_is_refused() -> None:
    with pytest.raises(ValueError, match="finite weight"):
        load("acoer")(right(5, weight=np.inf))
