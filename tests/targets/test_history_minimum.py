"""The shortest right rollout ever seen of each prompt, worked out by hand."""

import numpy as np

SETTINGS = {}


def test_golden_history_minimum(group, run):
    # unknown: no target. After a right 30 and a right 20: 20; a longer one later changes nothing;
    # the other problem stays unknown, since only a wrong one was short
    steps = [
        [group([30, 20, 5], [1, 1, 0], problem="a"), group([3], [0], problem="b")],
        [group([50], [1], problem="a"), group([60], [1], problem="b")],
        [group([9], [0], problem="a"), group([9], [0], problem="b")],
    ]
    targets, state = run("history_minimum", steps)
    assert [t.tokens_P.tolist() for t in targets] == [[np.inf, np.inf], [20, np.inf], [20, 60]]
    assert state == {"tokens": {"a": 20, "b": 60}}
