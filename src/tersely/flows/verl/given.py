"""What ``[verl]`` of a recipe gives, by verl's dotted keys."""

from collections.abc import Mapping
from typing import Any

from tersely.flows.recipe.recipe import Recipe

# What verl gives a chat template beside the messages.
TEMPLATE = "data.apply_chat_template_kwargs."


def given(recipe: Recipe) -> dict[str, Any]:
    """``[verl]`` as verl's dotted keys, and what the model's chat template is given."""
    ours = {f"{TEMPLATE}{key}": each for key, each in recipe.model.chat_template_kwargs.items()}
    return _flat(ours) | (_flat(recipe.verl.settings) if recipe.verl else {})


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        inner = _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {}
        flat |= inner or {f"{prefix}{key}": value}
    return flat
