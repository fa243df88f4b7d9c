"""Functions found by their file, and the settings they take."""

import pytest

from tersely.core import lookup
from tersely.core.errors import ConfigError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"token": 4}, "target fixed has no parameter token = 4; it has: tokens"),
        ({}, "target fixed needs target.tokens; set it"),
        ({"tokens": 4.5}, r"target.tokens = 4.5 must be of type int"),
        ({"tokens": True}, "target.tokens = True must be of type int"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        lookup.check("tersely.targets", "fixed", settings)


def test_an_unknown_name_lists_the_files() -> None:
    names = lookup.names("tersely.targets")
    assert names == sorted(names)
    assert "fixed" in names
    with pytest.raises(ConfigError, match=f"'nope' is none of the targets: {', '.join(names)}"):
        lookup.load("tersely.targets", "nope")
