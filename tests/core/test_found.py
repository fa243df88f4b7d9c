"""Functions found by their file, and the settings they take."""

from typing import Annotated

import pytest
from annotated_types import Ge, Gt, Le, Lt, MinLen

from tersely.core import lookup
from tersely.core.errors import ConfigError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"token": 4}, "no parameter 'token' of the target fixed; did you mean 'tokens'"),
        ({}, "target fixed needs target.tokens; set it"),
        ({"tokens": 4.5}, r"target.tokens = 4.5 must be of type int"),
        ({"tokens": True}, "target.tokens = True must be of type int"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        lookup.check("tersely.targets", "fixed", settings)


def draw(
    *,
    share: Annotated[float, Gt(0), Le(1)] = 0.5,
    below: Annotated[float, Lt(1)] = 0.0,
    tokens: Annotated[list[Annotated[int, Ge(1)]], MinLen(1)],
    free: float = 1.0,
    flag: bool = False,
    word: str = "a",
) -> None:
    """Takes a setting of each kind."""


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("share", 0.0, r"draw.share = 0 is not above 0; set draw.share > 0"),
        ("share", 1.5, r"draw.share = 1.5 is above 1; set draw.share <= 1"),
        ("below", 1.0, r"draw.below = 1 is not below 1; set draw.below < 1"),
        ("tokens", [3, 0], r"draw.tokens\[1\] = 0 is below 1; set draw.tokens\[1\] >= 1"),
        ("tokens", [3, 0.5], r"draw.tokens\[1\] = 0.5 must be of type int"),
        ("tokens", 3, r"draw.tokens = 3 must be of type list"),
        ("tokens", [], r"draw.tokens = \[\]: list should have at least 1 item"),
        ("free", float("inf"), "draw.free = inf is not finite; set a number"),
        ("free", True, "draw.free = True must be of type float"),
        ("flag", 1, "draw.flag = 1 must be of type bool"),
        ("word", 1, "draw.word = 1 must be of type str"),
    ],
)
def test_a_broken_bound_is_named_with_value_and_fix(key: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        lookup.check_settings(draw, {"tokens": [1], key: value}, section="draw")


def test_settings_are_taken_as_the_type_that_the_function_names() -> None:
    taken = lookup.check_settings(draw, {"tokens": [2], "share": 1}, section="draw")
    assert taken == {"tokens": [2], "share": 1.0}
    assert type(taken["share"]) is float
    assert "free" not in lookup.parameters(draw, given=frozenset({"free"}))


def test_a_parameter_is_described_with_default_and_bounds() -> None:
    said = {key: lookup.describe(each) for key, each in lookup.parameters(draw).items()}
    assert said["share"] == "share = 0.5 (> 0, <= 1)"
    assert said["free"] == "free = 1.0"
    assert said["tokens"] == "tokens"


def test_an_unknown_name_lists_the_files() -> None:
    names = lookup.names("tersely.targets")
    assert names == sorted(names)
    assert "fixed" in names
    with pytest.raises(ConfigError, match=f"no target 'nope'; choose one of {', '.join(names)}"):
        lookup.load("tersely.targets", "nope")
