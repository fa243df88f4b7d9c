"""ExpThink: right and within the prompt's own length; the length is tested with its rule."""

import numpy as np

from tersely.core.types import GroupView
from tersely.rewards import load

GOLDEN: tuple[dict[str, float], list[float]] = ({}, [1, 1, 0, 0, 0, 0])
DEGENERATE: tuple[float, list[float]] = (1, [0, 0])


def test_a_prompt_that_is_not_solved_yet_is_paid_by_correctness() -> None:
    g = GroupView(
        correct_G=np.array([True, True, False]),
        tokens_G=np.array([10, 10**6, 10]),
        finished_G=np.ones(3, dtype=np.bool_),
        formatted_G=np.ones(3, dtype=np.bool_),
        target_tokens=np.inf,
    )
    assert load("expthink")(g).tolist() == [1, 1, 0]
    assert load("expthink")(g._replace(target_tokens=10.0)).tolist() == [1, 0, 0]
