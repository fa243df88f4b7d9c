"""A price for length that follows accuracy, worked out by hand."""

import pytest

SETTINGS = {"accuracy": 0.5}


def test_golden_dual_weight(group, run):
    # .001 at first; accuracy 3/4 above 1/2: + .001 * .25; then 0: - .001 * .5, twice: not below 0
    steps = [[group([1] * 4, [1, 1, 1, 0])], *[[group([1] * 4, [0] * 4)]] * 3]
    targets, _ = run("dual_weight", steps)
    assert [t.weight for t in targets] == pytest.approx([0.001, 0.00125, 0.00075, 0.00025])
    _, state = run("dual_weight", [*steps, steps[-1]])
    assert state == {"weight": 0.0}
