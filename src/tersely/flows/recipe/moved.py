"""Settings of older recipes that stand elsewhere now."""

import warnings
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from tersely.core.errors import ConfigError, TerselyWarning

# Where an engine's section may have what a chat template is given; it is the model's now.
_TEMPLATE = "chat_template_kwargs"
_OLD_TEMPLATES = {"trl": (_TEMPLATE,), "verl": ("data", "apply_chat_template_kwargs")}


def move_templates(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with what an engine's own section gives the chat template as the model's.

    Raises:
        ConfigError: the model's section says something else.
    """
    for section, keys in _OLD_TEMPLATES.items():
        settings = _move_template(settings, section, keys)
    return settings


def _move_template(settings: dict[str, Any], section: str, keys: Sequence[str]) -> dict[str, Any]:
    """The settings with the table at ``section.keys`` in the model's section, if there is one.

    Raises:
        ConfigError: the model's section says something else.
    """
    settings = deepcopy(settings)
    *outer, last = (section, *keys)
    tables, model = [settings], settings.setdefault("model", {})
    for key in outer:
        # What is no table is said where it is used.
        if not isinstance(inner := tables[-1].get(key), dict):
            return settings
        tables.append(inner)
    if not (isinstance(tables[-1].get(last), dict) and isinstance(model, dict)):
        return settings
    given, name = tables[-1].pop(last), ".".join((section, *keys))
    # A table that held nothing else would be an empty setting; the section itself may be empty.
    for table, key in zip(tables[1:-1], outer[1:], strict=True):
        if not table[key]:
            del table[key]
    if model.setdefault(_TEMPLATE, given) != given:
        raise ConfigError(
            f"{name} = {given} contradicts model.{_TEMPLATE} = {model[_TEMPLATE]}; leave it out"
        )
    warnings.warn(
        f"{name} is model.{_TEMPLATE} now, and holds wherever the model is used; write it there",
        TerselyWarning,
        stacklevel=2,
    )
    return settings
