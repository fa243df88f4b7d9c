"""Functions found by their file: file name = function name = the name in a recipe.

A parameter's type says what a recipe may set it to, bounds included:
``alpha: Annotated[float, Ge(0), Le(2)] = 0.4``. A float must be finite.
"""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Set
from decimal import Decimal
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from tersely.core.errors import ConfigError, no_such

# One function of these packages, and where a recipe names it.
_SAID = {
    "rewards": ("reward", "reward.name: "),
    "targets": ("target", "target.name: "),
    "advantages": ("advantage", "advantage.name: "),
    "credit": ("credit rule", "credit.name: "),
    "losses": ("loss", "loss.name: "),
    "aggregations": ("aggregation", "loss.aggregation: "),
    "formats": ("reader", "--from: "),
    "alarms": ("alarm", ""),
    "trackers": ("tracker", "track.to: "),
}
# No coefficient is larger, and sums of larger ones overflow.
MOST = 1e12
# What pydantic calls a broken bound: its key, how we say it, and what to set instead.
BROKEN = {
    "greater_than_equal": ("ge", "is below", ">="),
    "greater_than": ("gt", "is not above", ">"),
    "less_than_equal": ("le", "is above", "<="),
    "less_than": ("lt", "is not below", "<"),
}


def names(package: str) -> list[str]:
    """The names that a recipe may use: the files of the package, sorted."""
    return list(_files(package))


@cache
def _files(package: str) -> tuple[str, ...]:
    return tuple(sorted(m.name for m in iter_modules(import_module(package).__path__)))


def load(package: str, name: str) -> Callable[..., Any]:
    """The function of that name in the package's file of that name.

    Raises:
        ConfigError: there is no such file.
    """
    known = names(package)
    if name not in known:
        kind = package.rpartition(".")[2]
        what, key = _SAID.get(kind, (kind, ""))
        raise ConfigError(key + no_such(what, name, known))
    function: Callable[..., Any] = getattr(import_module(f"{package}.{name}"), name)
    return function


def declared(package: str, name: str, constant: str, default: Any) -> Any:
    """What the file of that name declares under ``constant``, else the default.

    Raises:
        ConfigError: there is no such file.
    """
    load(package, name)
    return getattr(import_module(f"{package}.{name}"), constant, default)


def check(package: str, name: str, settings: Mapping[str, object]) -> dict[str, object]:
    """The settings as the function of that name takes them; see ``check_settings``."""
    section = package.rpartition(".")[2].removesuffix("s")
    return check_settings(load(package, name), settings, section=section)


def check_settings(
    function: Callable[..., Any],
    settings: Mapping[str, object],
    *,
    section: str,
    given: Set[str] = frozenset(),
) -> dict[str, object]:
    """The settings as the function's keyword-only arguments: a recipe may write 1 for 1.0.

    Args:
        section: the recipe's section that holds them.
        given: arguments that no recipe sets.
    Raises:
        ConfigError: a setting is unknown, missing, of another type or out of its bounds.
    """
    name, known = function.__name__, parameters(function, given=given)
    for key, value in settings.items():
        if key not in known:
            of, fix = f"the {section} {name}", f"leave out {key} = {value!r}"
            raise ConfigError(no_such("parameter", key, known, of=of, fix=fix))
    taken = {
        key: _take(f"{section}.{key}", known[key].annotation, value)
        for key, value in settings.items()
    }
    for key, parameter in known.items():
        if parameter.default is inspect.Parameter.empty and key not in settings:
            raise ConfigError(f"{section} {name} needs {section}.{key}; set it")
    return taken


def parameters(
    function: Callable[..., Any], *, given: Set[str] = frozenset()
) -> dict[str, inspect.Parameter]:
    """What a recipe may set of a function: its keyword-only arguments, those ``given`` aside."""
    return {
        key: parameter
        for key, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and key not in given
    }


def describe(parameter: inspect.Parameter) -> str:
    """A parameter with its default and bounds: ``alpha = 0.4 (>= 0, <= 2)``."""
    said = "" if parameter.default is parameter.empty else f" = {parameter.default}"
    bounds = [
        f"{sign} {getattr(bound, key):g}"
        for bound in get_args(parameter.annotation)[1:]
        for key, _, sign in BROKEN.values()
        if getattr(bound, key, None) is not None
    ]
    return parameter.name + said + (f" ({', '.join(bounds)})" if bounds else "")


@cache
def _reader(wanted: Any) -> Callable[[object], object]:
    """Takes a value as that type, or raises pydantic's ValidationError."""
    strict = ConfigDict(strict=True, allow_inf_nan=False)
    return TypeAdapter[object](wanted, config=strict).validate_python


def _take(place: str, wanted: Any, value: object) -> object:
    for number in _numbers(value):
        if MOST < abs(number) < math.inf:
            # A whole number may be too large for a float.
            said = f"{number:g}" if isinstance(number, float) else f"{Decimal(number):.0e}"
            raise ConfigError(f"{place} = {said} is above {MOST:g} in size; set a smaller one")
    try:
        return _reader(wanted)(value)
    except ValidationError as error:
        raise ConfigError(_message(place, error.errors()[0])) from error


def _numbers(value: object) -> Iterator[float]:
    """The number, or those of a list or a table."""
    if isinstance(value, (int, float)):
        yield value
    elif isinstance(value, (list, tuple, Mapping)):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _numbers(each)


def _message(place: str, first: ErrorDetails) -> str:
    """What is wrong with a setting: its place and value, the bound and the fix."""
    place += "".join(f"[{part}]" for part in first["loc"])
    kind, value = first["type"], first["input"]
    if kind in BROKEN:
        key, broken, sign = BROKEN[kind]
        bound = f"{first['ctx'][key]:g}"
        return f"{place} = {value:g} {broken} {bound}; set {place} {sign} {bound}"
    if kind == "finite_number":
        return f"{place} = {value:g} is not finite; set a number"
    if kind.endswith("_type"):
        wanted = kind.removesuffix("_type").replace("string", "str")
        return f"{place} = {value!r} must be of type {wanted}"
    said = first["msg"].removeprefix("Value error, ")
    return f"{place} = {value!r}: {said[0].lower()}{said[1:]}"
