"""What a chat-completions server answers, checked before it counts as samples."""

from typing import NamedTuple

from pydantic import BaseModel, StrictInt, ValidationError

from tersely.core.errors import EngineError
from tersely.core.types import Finish

MESSAGE_CHARS = 200
FINISHES = {
    "stop": Finish.STOP,
    "eos": Finish.STOP,
    "eos_token": Finish.STOP,
    "stop_sequence": Finish.STOP,
    "length": Finish.LENGTH,
    "max_tokens": Finish.LENGTH,
}


class Transient(Exception):
    """A failure that the same request may not meet again; ``asked_wait_s`` is Retry-After."""

    def __init__(self, reason: str, *, asked_wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.asked_wait_s = asked_wait_s


class Said(NamedTuple):
    """One choice of a reply; ``tokens`` counts thinking and answer together."""

    reasoning: str
    content: str
    tokens: int
    finish: Finish


class _Message(BaseModel):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class _Logprobs(BaseModel):
    content: list[object] | None = None


class _Choice(BaseModel):
    index: int
    message: _Message
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Usage(BaseModel):
    completion_tokens: StrictInt


class _Reply(BaseModel):
    choices: list[_Choice]
    usage: _Usage


class _Model(BaseModel):
    id: str


class _Models(BaseModel):
    data: list[_Model]


def shortened(text: str, *, secret: str | None = None) -> str:
    """One line of at most 200 characters, without the secret."""
    shown = text.replace(secret, "***") if secret else text
    return " ".join(shown.split())[:MESSAGE_CHARS]


def read_models(body: bytes) -> list[str]:
    """The ids that GET /models lists; none if the body is no such list."""
    try:
        return [model.id for model in _Models.model_validate_json(body).data]
    except ValidationError:
        return []


def read_reply(
    body: bytes, *, choices: int, max_tokens: int, secret: str | None = None
) -> list[Said]:
    """The choices of a reply, in the order of their indices.

    Args:
        choices: how many were asked for.
        max_tokens: the cap that was asked for, on the tokens of each choice.
        secret: kept out of the messages that quote the body.
    Raises:
        Transient: the body is no JSON, as when it was cut off.
        EngineError: the reply lacks what a sample needs, or is not what was asked for.
    """
    try:
        reply = _Reply.model_validate_json(body)
    except ValidationError as error:
        raise _unreadable(error, body, secret=secret) from None
    found = sorted(reply.choices, key=lambda choice: choice.index)
    if [choice.index for choice in found] != list(range(choices)):
        raise EngineError(
            f"asked the server for n={choices} and got choices {[c.index for c in found]}; "
            "it ignores n: use samples_per_request 1"
        )
    counts = _token_counts(found, total_tokens=reply.usage.completion_tokens)
    return [
        _said(choice, tokens=tokens, max_tokens=max_tokens)
        for choice, tokens in zip(found, counts, strict=True)
    ]


def text_of(said: Said, *, stop_texts: tuple[str, ...] = ()) -> str:
    """``<think>reasoning</think>content``, as the model wrote it, or content alone.

    Thinking that the cap cut off stays open: ``<think>reasoning``. Reasoning that the content
    repeats in its tags is not doubled. Of ``stop_texts``, the first that ends it is taken off.
    """
    content = said.content
    stop = next((s for s in stop_texts if s and content.endswith(s)), "")
    content = content.removesuffix(stop)
    opened = content.lstrip().removeprefix("<think>")
    repeated = opened != content.lstrip() and opened.lstrip().startswith(said.reasoning.strip())
    if not said.reasoning or repeated:
        return content
    if not content and said.finish is Finish.LENGTH:
        return f"<think>{said.reasoning}"
    return f"<think>{said.reasoning}</think>{content}"


def _unreadable(error: ValidationError, body: bytes, *, secret: str | None) -> Exception:
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return Transient(f"malformed JSON: {shortened(first['msg'])}")
    where = ".".join(str(part) for part in first["loc"]) or "the reply"
    shown = shortened(body.decode("utf-8", errors="replace"), secret=secret)
    return EngineError(
        f"the server's reply is no chat completion with token counts: {where}: {first['msg']}; "
        f"use a server that reports usage.completion_tokens (got: {shown})"
    )


def _token_counts(choices: list[_Choice], *, total_tokens: int) -> list[int]:
    if len(choices) == 1:
        return [total_tokens]
    lists = [choice.logprobs.content if choice.logprobs else None for choice in choices]
    counts = [len(content) for content in lists if content is not None]
    if len(counts) < len(choices) or sum(counts) != total_tokens:
        raise EngineError(
            f"the tokens of each of {len(choices)} choices cannot be told: logprobs count "
            f"{counts}, usage.completion_tokens says {total_tokens} in all; "
            "use samples_per_request 1"
        )
    return counts


def _said(choice: _Choice, *, tokens: int, max_tokens: int) -> Said:
    if choice.finish_reason is None:
        raise EngineError(
            "the server's reply has no finish_reason, so truncation cannot be told; "
            "use a server that reports it"
        )
    if tokens < 0:
        raise EngineError(f"the server counts {tokens} completion tokens; use another server")
    if tokens > max_tokens:
        raise EngineError(
            f"the server ignores max_tokens: {tokens} > {max_tokens}; use a server that keeps it"
        )
    message = choice.message
    return Said(
        reasoning=message.reasoning_content or message.reasoning or "",
        content=message.content or "",
        tokens=tokens,
        finish=FINISHES.get(choice.finish_reason, Finish.ERROR),
    )
