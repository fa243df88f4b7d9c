"""The least quantile of right lengths of each prompt that is solved, worked out by hand."""

import numpy as np
import pytest

SETTINGS = {"share": 0.5}


def test_golden_history_quantile(group, run):
    # a: medians 20, then 35 (kept at 20), then 15; half right at first, so solved. b: one of three
    # right, .333 < .4, no target; then .9 * .333 + .1 * 1 = .4, just solved: its least median is 8
    # of 8 and 30. c: never right, and so never known.
    steps = [
        [
            group([10, 20, 30, 5], [1, 1, 1, 0], problem="a"),
            group([8, 3, 3], [1, 0, 0], problem="b"),
            group([9], [0], problem="c"),
        ],
        [
            group([30, 40], [1, 1], problem="a"),
            group([30, 30], [1, 1], problem="b"),
            group([9], [0], problem="c"),
        ],
        [group([15], [1], problem="a")] * 1 + [group([2], [0], problem="b")],
    ]
    targets, state = run("history_quantile", steps, solved=0.39)
    assert [t.tokens_P.tolist() for t in targets] == [
        [20, np.inf, np.inf],
        [20, 8, np.inf],
        [15, np.inf],  # b: .9 * .4 = .36
    ]
    assert state["tokens"] == {"a": 15, "b": 8}
    # .75, then .1 * 1 + .9 * it, twice; 1/3, .4, .36
    assert state["right"] == pytest.approx({"a": 0.7975, "b": 0.36})


def test_a_share_of_nothing_is_the_shortest_right_rollout(group, run):
    targets, _ = run("history_quantile", [[group([10, 20, 5], [1, 1, 0])]], share=0.0, solved=0.5)
    assert targets[0].tokens_P.tolist() == [10]
