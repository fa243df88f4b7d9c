"""What verl gives a chat template beside the messages."""

from typing import Any

from tersely.flows.recipe.recipe import Recipe
from tersely.flows.verl.given import TEMPLATE, given


def template_settings(recipe: Recipe) -> dict[str, Any]:
    """What verl gives the chat template beside the messages, a template of its own among it."""
    own, custom = given(recipe), "actor_rollout_ref.model.custom_chat_template"
    settings = {k.removeprefix(TEMPLATE): own[k] for k in own if k.startswith(TEMPLATE)}
    return {**settings, "chat_template": own[custom]} if own.get(custom) else settings
