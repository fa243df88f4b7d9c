"""A target by the level that a prompt asks for."""

import numpy as np
import pytest

from tersely.core.errors import ConfigError
from tersely.targets import check

SETTINGS = {"tokens": {"low": 10, "high": 20}}


def test_each_group_is_held_to_its_level_and_one_without_an_entry_to_none(group, run):
    groups = [group([5], [1])._replace(effort=level) for level in ("low", "high", "medium", "low")]
    (target,), _ = run("by_effort", [groups], tokens={"low": 24, "medium": 60})
    np.testing.assert_array_equal(target.tokens_P, [24.0, np.nan, 60.0, 24.0])


def test_lengths_that_are_none_are_refused():
    for settings, message in [
        ({}, "by_effort needs target.tokens; set it"),
        ({"tokens": {}}, "target.tokens = {}"),
        ({"tokens": {"low": 0}}, r"target.tokens\[low\] = 0 is below 1; set"),
        ({"tokens": 30}, "target.tokens = 30"),
    ]:
        with pytest.raises(ConfigError, match=message):
            check("by_effort", settings)
