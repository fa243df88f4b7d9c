"""A target length that never moves, worked out by hand."""

import pytest

SETTINGS = {"tokens": 20}


@pytest.mark.parametrize("state", [{}, {"step": 7}])
def test_fixed_is_its_tokens_for_every_group_and_keeps_the_state(group, run, state):
    (target,), after = run("fixed", [[group([10, 90], [1, 0])] * 3], state=state, tokens=40)
    assert target.tokens_P.tolist() == [40.0, 40.0, 40.0]
    assert after == state
