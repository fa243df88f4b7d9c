"""What a chat template may be given beside the messages, and whether it reads it."""

import re
import warnings
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from tersely.core.errors import ConfigError, TerselyWarning

# What apply_chat_template takes for itself; we set these, or they would change what comes back.
OURS = frozenset(
    {
        "messages",
        "conversation",
        "tokenize",
        "add_generation_prompt",
        "continue_final_message",
        "return_dict",
        "return_tensors",
        "return_assistant_tokens_mask",
        "padding",
        "truncation",
        "max_length",
        "tokenizer_kwargs",
    }
)
# Read by apply_chat_template itself, whatever the template mentions.
_NOT_IN_TEMPLATES = frozenset({"chat_template"})


def check_settings(settings: Mapping[str, Any], *, where: str) -> None:
    """Refuses settings that are the sampler's own, such as ``add_generation_prompt``.

    Args:
        where: the option or key that gives them.
    """
    own = sorted(OURS & settings.keys())
    if own:
        raise ConfigError(
            f"{where}: {own[0]} is set by whoever samples, and is no variable of a chat template; "
            "leave it out"
        )


def warn_unread(tokenizer: Any, settings: Mapping[str, Any], *, where: str) -> None:
    """Warns of settings that the chat template never mentions: it would ignore them silently.

    Args:
        where: the option or key that gives them.
    """
    written = settings.get("chat_template", tokenizer.chat_template)
    texts = [*written.values()] if isinstance(written, Mapping) else [written]
    words = set(re.findall(r"\w+", " ".join(map(str, texts))))
    for name in sorted(settings.keys() - words - _NOT_IN_TEMPLATES):
        near = get_close_matches(name, sorted(words), n=1)
        meant = f"did you mean {near[0]}?" if near else "leave it out"
        warnings.warn(
            f"{where}: the chat template never mentions {name}, so it changes nothing; {meant}",
            TerselyWarning,
            stacklevel=2,
        )
