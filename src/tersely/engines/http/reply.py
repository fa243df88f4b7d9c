"""What a chat-completions server answers, checked before it counts as samples."""

import codecs
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Annotated, NamedTuple

from pydantic import BaseModel, BeforeValidator, StrictInt, ValidationError

from tersely.core.errors import EngineError
from tersely.core.parsing import parse_json
from tersely.core.types import Finish
from tersely.core.usage import Counted, Received, Usage, completion_tokens, least_tokens
from tersely.engines.http.stream import is_stream, joined

MESSAGE_CHARS = 200
FINISHES = {
    "stop": Finish.STOP,
    "eos": Finish.STOP,
    "eos_token": Finish.STOP,
    "stop_sequence": Finish.STOP,
    "length": Finish.LENGTH,
    "max_tokens": Finish.LENGTH,
}
# The server did not get to the end, and may the next time.
BROKEN_OFF = ("error", "abort", "aborted", "cancelled", "timeout")


class Transient(Exception):
    """A failure that the same request may not meet again; ``asked_wait_s`` is Retry-After."""

    def __init__(self, reason: str, *, asked_wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.asked_wait_s = asked_wait_s


class Said(NamedTuple):
    """One choice of a reply; ``tokens`` counts thinking and answer together.

    ``counted`` says how, where the server's own count is not it; ``failure`` why it does not count,
    where it ended neither by a stop token nor at the cap.
    """

    reasoning: str
    content: str
    tokens: int
    finish: Finish
    counted: str = ""
    failure: str | None = None


class _Part(BaseModel):
    """A part of a content: text, or thinking, which may be a list of parts again."""

    type: str = "text"
    text: str | None = None
    thinking: "str | list[_Part] | None" = None


class _Message(BaseModel):
    content: str | list[_Part] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class _ReplyChoice(BaseModel):
    index: int | None = None
    message: _Message
    finish_reason: str | None = None
    logprobs: object = None


def _whole(count: object) -> object:
    """A whole number, whichever way a server's JSON writes it."""
    if isinstance(count, float) and count.is_integer():
        return int(count)
    return int(count) if isinstance(count, str) and count.isdecimal() else count


class _Usage(BaseModel):
    """Only the completion's count must be a number; any other that is none is as if not there."""

    completion_tokens: Annotated[StrictInt | None, BeforeValidator(_whole)] = None
    prompt_tokens: object = None
    total_tokens: object = None
    reasoning_tokens: object = None
    completion_tokens_details: object = None
    prompt_tokens_details: object = None
    cache_read_input_tokens: object = None
    cache_creation_input_tokens: object = None


class _Reply(BaseModel):
    choices: list[_ReplyChoice] | None = None
    usage: _Usage | None = None
    error: object = None


class _Model(BaseModel):
    id: str


class _Models(BaseModel):
    data: list[_Model]


def excerpt(text: str, *, secret: str | None = None) -> str:
    """One line of at most 200 characters, without the secret."""
    shown = text.replace(secret, "***") if secret else text
    return " ".join(shown.split())[:MESSAGE_CHARS]


def read_models(body: bytes) -> list[str] | None:
    """The ids that GET /models lists; None if the body is no such list."""
    try:
        return [model.id for model in _Models.model_validate_json(body).data]
    except ValidationError:
        return None


def read_reply(
    body: bytes,
    *,
    choices: int,
    cap_tokens: int,
    prompt: str = "",
    count_text: Callable[[str], int] | None = None,
    secret: str | None = None,
) -> list[Said]:
    """The choices of a reply, in the order of their indices.

    Args:
        choices: how many were asked for.
        cap_tokens: the cap that was asked for, on the tokens of each choice.
        prompt: where a content repeats it, it is not of the tokens.
        count_text: counts the tokens of a text, where the server's counts cannot be right.
        secret: kept out of the messages that quote the body.
    Raises:
        Transient: the body is no JSON, as when it was cut off, or says that an error came between.
        EngineError: the reply lacks what a sample needs, or is not what was asked for.
    """
    try:
        body = body.removeprefix(codecs.BOM_UTF8)
        reply = _parse(joined(body) if is_stream(body) else body)
    except ValidationError as error:
        raise _unreadable(error, body, secret=secret) from None
    shown = excerpt(body.decode("utf-8", errors="replace"), secret=secret)
    if reply.error and not reply.choices:
        raise Transient(f"HTTP 200 with an error: {shown}")
    found = _in_order(reply.choices or [], choices=choices, shown=shown)
    usage = _usage_of(reply.usage or _Usage())
    received = [_received(choice, usage, prompt=prompt, count=count_text) for choice in found]
    together = completion_tokens(usage, received=_sum(received, cap_tokens=cap_tokens))
    if together.tokens is None:
        raise EngineError(
            f"the server's reply is no chat completion with token counts: {together.how}; use a "
            "server that reports usage.completion_tokens with the thinking, or give the model's "
            "tokenizer with --tokenizer FOLDER to count the text, and another --out where samples "
            f"are kept already (got: {shown})"
        )
    counts = _token_counts(found, together)
    return [
        _said(choice, tokens=tokens, cap_tokens=cap_tokens, counted=together.how)
        for choice, tokens in zip(found, counts, strict=True)
    ]


def _parse(body: bytes) -> _Reply:
    """The reply; half of a surrogate pair, which is no character, is read as U+FFFD."""
    try:
        return _Reply.model_validate_json(body)
    except ValidationError:
        with suppress(ValueError):
            text = json.dumps(parse_json(body), ensure_ascii=False)
            whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            if whole != text:
                return _Reply.model_validate_json(whole)
        raise


def _in_order(found: list[_ReplyChoice], *, choices: int, shown: str) -> list[_ReplyChoice]:
    """As many choices as were asked for; those without an index stand as they come."""
    if found and all(choice.index is None for choice in found):
        places = list(range(len(found)))
    else:
        found = sorted(found, key=lambda choice: -1 if choice.index is None else choice.index)
        places = [-1 if choice.index is None else choice.index for choice in found]
    if choices == len(found) == 1:  # whatever its index is
        places = [0]
    if not found:
        raise Transient(f"the reply has no choices (got: {shown})")
    if places != list(range(choices)):
        fix = "use --per-request 1" if choices > 1 else "use a server or proxy that keeps to n"
        raise EngineError(
            f"asked the server for n={choices} and got choices {places}; it ignores n: {fix}"
        )
    broken = [choice.finish_reason for choice in found if choice.finish_reason in BROKEN_OFF]
    if broken:
        raise Transient(f"the server broke off with finish_reason {broken[0]!r} (got: {shown})")
    return found


def _usage_of(usage: _Usage) -> Usage:
    """The counts, wherever servers put them: SGLang's ``reasoning_tokens`` stand by themselves."""
    inside = _count(usage.completion_tokens_details, "reasoning_tokens")
    cached = (
        _count(usage.prompt_tokens_details, "cached_tokens"),
        _count(usage, "cache_read_input_tokens"),
        _count(usage, "cache_creation_input_tokens"),
    )
    return Usage(
        completion=usage.completion_tokens,
        prompt=_count(usage, "prompt_tokens"),
        total=_count(usage, "total_tokens"),
        reasoning=_count(usage, "reasoning_tokens") if inside is None else inside,
        cached=sum(count or 0 for count in cached),
    )


def _count(of: object, name: str) -> int | None:
    found = of.get(name) if isinstance(of, Mapping) else getattr(of, name, None)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def _received(
    choice: _ReplyChoice, usage: Usage, *, prompt: str, count: Callable[[str], int] | None
) -> Received:
    """What one choice brought. Thinking that the server keeps back cannot be counted."""
    thinking = _thinking(choice.message)
    content = _content(choice.message).replace(prompt, "", 1)
    stopped = _finish(choice) is Finish.STOP
    # Without its end, what was cut may be thinking and no answer.
    answer = content.rpartition("</think>")[2]
    answered = thinking or "</think>" in content or (stopped and "<think>" not in content)
    text = f"<think>{thinking}</think>{content}" if thinking else content
    visible = thinking or "</think>" in content or not usage.reasoning
    return Received(
        least=least_tokens(thinking) + least_tokens(content),
        least_answer=least_tokens(answer) if answered else 0,
        own=count(text) + stopped if count and visible else None,
    )


def _sum(received: list[Received], *, cap_tokens: int) -> Received:
    """A text may be split into a few more tokens than it was sampled as: never above the cap."""
    owns = [one.own for one in received if one.own is not None]
    return Received(
        least=sum(one.least for one in received),
        least_answer=sum(one.least_answer for one in received),
        own=sum(min(own, cap_tokens) for own in owns) if len(owns) == len(received) else None,
    )


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
        return Transient(f"malformed JSON: {excerpt(first['msg'])}")
    where = ".".join(str(part) for part in first["loc"]) or "the reply"
    shown = excerpt(body.decode("utf-8", errors="replace"), secret=secret)
    return EngineError(
        f"the server's reply is no chat completion with token counts: {where}: {first['msg']}; "
        f"use a server that reports usage.completion_tokens (got: {shown})"
    )


def _token_counts(choices: list[_ReplyChoice], together: Counted) -> list[int]:
    assert together.tokens is not None
    if len(choices) == 1:
        return [together.tokens]
    lists = [_logprobs(choice) for choice in choices]
    counts = [len(content) for content in lists if content is not None]
    if len(counts) < len(choices) or sum(counts) != together.tokens:
        raise EngineError(
            f"the tokens of each of {len(choices)} choices cannot be told: logprobs count "
            f"{counts}, usage says {together.tokens} in all; use --per-request 1"
        )
    return counts


def _logprobs(choice: _ReplyChoice) -> list[object] | None:
    found = choice.logprobs.get("content") if isinstance(choice.logprobs, Mapping) else None
    return found if isinstance(found, list) else None


def _content(message: _Message) -> str:
    if isinstance(message.content, list):
        return "".join(part.text or "" for part in message.content)
    return message.content or ""


def _thinking(message: _Message) -> str:
    apart = message.reasoning_content or message.reasoning
    if apart or not isinstance(message.content, list):
        return apart or ""
    return "".join(_thought(part) for part in message.content)


def _thought(part: _Part) -> str:
    if isinstance(part.thinking, list):
        return "".join(inner.text or _thought(inner) for inner in part.thinking)
    return part.thinking or ""


def _said(choice: _ReplyChoice, *, tokens: int, cap_tokens: int, counted: str) -> Said:
    if choice.finish_reason is None:
        raise EngineError(
            "the server's reply has no finish_reason, so truncation cannot be told; "
            "use a server that reports it"
        )
    if tokens > cap_tokens:
        whole = f" ({counted})" if counted else ""
        raise EngineError(
            f"the server ignores max_tokens: {tokens} > {cap_tokens}{whole}; "
            "use a server that keeps it"
        )
    message, finish = choice.message, _finish(choice)
    ended = f"the server ended it with finish_reason {choice.finish_reason!r}"
    return Said(
        reasoning=_thinking(message),
        content=_content(message),
        tokens=tokens,
        finish=finish,
        counted=counted,
        failure=ended if finish is Finish.ERROR else None,
    )


def _finish(choice: _ReplyChoice) -> Finish:
    """Proxies of Gemini's API write it in capitals."""
    return FINISHES.get((choice.finish_reason or "").lower(), Finish.ERROR)
