"""Functions found by their file: file name = function name = the name in a recipe."""

import inspect
from collections.abc import Callable, Mapping, Set
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, get_origin

from tersely.core.errors import ConfigError


def names(package: str) -> list[str]:
    """The names that a recipe may use: the files of the package, sorted."""
    return sorted(module.name for module in iter_modules(import_module(package).__path__))


def load(package: str, name: str) -> Callable[..., Any]:
    """The function of that name in the package's file of that name.

    Raises:
        ConfigError: there is no such file.
    """
    known = names(package)
    if name not in known:
        kind = package.rpartition(".")[2]
        raise ConfigError(f"{name!r} is none of the {kind}: {', '.join(known)}; use one of them")
    function: Callable[..., Any] = getattr(import_module(f"{package}.{name}"), name)
    return function


def check(package: str, name: str, settings: Mapping[str, object]) -> None:
    """Whether the function of that name takes these settings as its keyword-only arguments.

    Raises:
        ConfigError: the function or a setting is unknown, or one is missing or of another type.
    """
    section = package.rpartition(".")[2].removesuffix("s")
    check_settings(load(package, name), settings, section=section)


def check_settings(
    function: Callable[..., Any],
    settings: Mapping[str, object],
    *,
    section: str,
    given: Set[str] = frozenset(),
) -> None:
    """Whether the function takes these settings as its keyword-only arguments.

    Args:
        section: the recipe's section that holds them.
        given: arguments that no recipe sets.
    Raises:
        ConfigError: a setting is unknown, missing or of another type.
    """
    name = function.__name__
    known = {
        key: parameter
        for key, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and key not in given
    }
    for key, value in settings.items():
        if key not in known:
            listed = ", ".join(known) or "none"
            raise ConfigError(
                f"{section} {name} has no parameter {key} = {value!r}; it has: {listed}"
            )
        wanted = known[key].annotation
        accepted = (int, float) if wanted is float else get_origin(wanted) or wanted
        if not isinstance(value, accepted) or (isinstance(value, bool) and wanted is not bool):
            raise ConfigError(f"{section}.{key} = {value!r} must be of type {wanted.__name__}")
    for key, parameter in known.items():
        if parameter.default is inspect.Parameter.empty and key not in settings:
            raise ConfigError(f"{section} {name} needs {section}.{key}; set it")
