"""Requests that have the model go on from the beginning of an answer, and what servers take."""

from enum import StrEnum
from typing import NamedTuple

from tersely.core.types import Problem


class Way(StrEnum):
    """How a server is given the beginning of an answer.

    ``IDS`` and ``TEXT`` go to the completions endpoint, with the prompt through the model's chat
    template; ``CHAT`` to chat completions, as the last message, which is to be continued.
    """

    IDS = "completions with token ids"
    TEXT = "completions with a text"
    CHAT = "chat completions with continue_final_message"


class Prefix(NamedTuple):
    """What the model goes on from.

    Args:
        ids: prompt and beginning, for ``IDS``.
        text: prompt and beginning for ``TEXT``, the beginning alone for ``CHAT``.
        tokens: of prompt and beginning, which the server's own count is held against; None where
            they are not known.
        flags: ask to continue the message; without, only to see what difference that makes.
    """

    way: Way
    ids: tuple[int, ...] = ()
    text: str = ""
    tokens: int | None = None
    flags: bool = True


PATHS = {Way.IDS: "completions", Way.TEXT: "completions", Way.CHAT: "chat/completions"}
CHAT_PATH = "chat/completions"


def path_of(prefix: Prefix | None) -> str:
    """Where a request goes, below the server's url."""
    return CHAT_PATH if prefix is None else PATHS[prefix.way]


def asked_of(problem: Problem, prefix: Prefix | None) -> dict[str, object]:
    """The part of a request that says what is to be answered, or gone on from."""
    if prefix is None:
        return {"messages": problem.chat}
    if prefix.way is Way.IDS:
        return {"prompt": list(prefix.ids)}
    if prefix.way is Way.TEXT:
        return {"prompt": prefix.text}
    messages = [*problem.chat, {"role": "assistant", "content": prefix.text}]
    # Some servers know the second flag alone: they end the message and add nothing.
    flags = {"continue_final_message": True} if prefix.flags else {}
    return {"messages": messages, "add_generation_prompt": False, **flags}
