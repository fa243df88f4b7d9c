"""The fixed target, and how targets are found and checked."""

import numpy as np
import pytest

from tersely.core.errors import ConfigError
from tersely.core.types import GroupView
from tersely.targets import available, check, load

GROUP = GroupView(
    correct_G=np.array([True, False]),
    tokens_G=np.array([10, 90]),
    finished_G=np.array([True, True]),
    formatted_G=np.array([True, True]),
    target_tokens=float("nan"),
)


def test_fixed_is_its_tokens_for_every_group_and_keeps_the_state() -> None:
    for state in ({}, {"step": 7}):
        target = load("fixed")(state, [GROUP, GROUP, GROUP], tokens=40)
        assert target.tokens_P.tolist() == [40.0, 40.0, 40.0]
        assert target.state == state


def test_an_unknown_target_lists_the_known_ones() -> None:
    assert "fixed" in available()
    with pytest.raises(ConfigError, match=r"'nope' is none of the targets: .*fixed"):
        load("nope")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"token": 4}, "has no parameter token = 4; it has: tokens"),
        ({}, "needs target.tokens"),
        ({"tokens": "4"}, "target.tokens = '4' must be of type int"),
        ({"tokens": True}, "target.tokens = True must be of type int"),
        ({"tokens": 0}, "target.tokens = 0 is below 1"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused_before_the_run(
    settings: dict[str, object], message: str
) -> None:
    check("fixed", {"tokens": 4})
    with pytest.raises(ConfigError, match=message):
        check("fixed", settings)
