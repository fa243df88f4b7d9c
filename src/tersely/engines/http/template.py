"""What a served model's own tokenizer says of the prompts and the ends of its completions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tersely.core.types import Message
from tersely.engines.local.jobs import prompt_opens_thinking

SETTINGS = "chat_template_kwargs"


class Template(NamedTuple):
    """None means unknown.

    Args:
        opens_thinking: the chat template ends prompts inside the thinking.
        stop_text: the text of the stop token.
    """

    opens_thinking: bool | None = None
    stop_text: str | None = None


def read_template(
    tokenizer: str | None,
    *,
    prompt: str,
    extra_body: Mapping[str, object],
    earlier: Sequence[Message] = (),
) -> Template:
    """Reads the template with a question; nothing is known of a tokenizer that cannot be loaded.

    Args:
        tokenizer: its folder; None or a single ``tokenizer.json`` tells nothing.
        extra_body: a request's, whose ``chat_template_kwargs`` the template gets too.
        earlier: the messages before the question.
    """
    loaded = load_served(tokenizer)
    if loaded is None:
        return Template()
    if not loaded.chat_template:
        return Template(stop_text=loaded.eos_token)
    opens = prompt_opens_thinking(loaded, prompt, earlier=earlier, settings=settings_of(extra_body))
    return Template(opens, loaded.eos_token)


def load_served(tokenizer: str | None) -> Any | None:
    """The tokenizer in a folder, with its template; None where it cannot be loaded."""
    if tokenizer is None or not Path(tokenizer).is_dir():
        return None
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(tokenizer)
    except (OSError, ValueError, KeyError):
        return None


def settings_of(extra_body: Mapping[str, object]) -> Mapping[str, Any]:
    """What requests have the server give the template beside the messages."""
    settings = extra_body.get(SETTINGS)
    return settings if isinstance(settings, dict) else {}
