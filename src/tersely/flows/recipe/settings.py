"""Two recipes setting by setting."""

import os
from typing import Any

from tersely.flows.recipe.recipe import Recipe


def differences(ours: Recipe, theirs: Recipe) -> list[tuple[str, Any, Any]]:
    """The settings in which two recipes differ, by name, each with both values; ``[track]``, on
    which no step depends, is none of them, and two names of one file are one value."""
    left, right = (flat_settings(without_tracking(each).model_dump()) for each in (ours, theirs))
    return [
        (key, left.get(key), right.get(key))
        for key in sorted(left.keys() | right.keys())
        if not _same(left.get(key), right.get(key))
    ]


def _same(ours: Any, theirs: Any) -> bool:
    """Equal, or two names of one file or folder."""
    if ours == theirs:
        return True
    try:
        return isinstance(ours, str) and isinstance(theirs, str) and os.path.samefile(ours, theirs)
    except (OSError, ValueError):
        return False


def value_of(recipe: Recipe, key: str) -> Any:
    """A setting by its dotted name; None where the recipe has no such setting."""
    return flat_settings(recipe.model_dump()).get(key)


def flat_settings(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """All settings by their dotted names."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            flat |= flat_settings(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def without_tracking(recipe: Recipe) -> Recipe:
    """The recipe as far as its steps depend on it."""
    return recipe.model_copy(update={"track": None})
