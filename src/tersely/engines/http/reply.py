"""What a chat-completions server answers, checked before it counts as samples."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ValidationError

from tersely.core.contents import as_utf8
from tersely.core.errors import EngineError
from tersely.core.finishes import find_finish, is_broken_off
from tersely.core.parsing import parse_json
from tersely.core.types import Finish
from tersely.core.usage import Counted, Received, Usage, completion_tokens, least_tokens
from tersely.engines.http.body import Body, OddReply, ReplyChoice, read_body
from tersely.engines.http.reply_tokens import ReplyTokens
from tersely.engines.http.stream import EndedEarly, is_stream, joined

MESSAGE_CHARS = 200


class Transient(Exception):
    """A failure that the same request may not meet again.

    ``asked_wait_s`` is Retry-After; ``is_lost``: nobody answered for the server;
    ``is_busy``: it is there and asks for patience.
    """

    def __init__(
        self,
        reason: str,
        *,
        asked_wait_s: float = 0.0,
        is_lost: bool = False,
        is_busy: bool = False,
    ) -> None:
        super().__init__(reason)
        self.asked_wait_s = asked_wait_s
        self.is_lost, self.is_busy = is_lost, is_busy


class Said(NamedTuple):
    """One choice of a reply; ``tokens`` counts thinking and answer together.

    ``counted`` says how, where the server's own count is not it; ``failure`` why it does not count,
    where it ended neither by a stop token nor at the cap; ``beside`` counts choices that came with
    it unasked; ``reasoning_tokens`` is the server's own count of the thinking. ``prompt_tokens``,
    ``prompt_ids`` and ``made``: what the server tells of the prompt's tokens and of those it made;
    ``endpoint``: the server.
    """

    reasoning: str
    content: str
    tokens: int
    finish: Finish
    counted: str = ""
    failure: str | None = None
    beside: int = 0
    reasoning_tokens: int | None = None
    prompt_tokens: int | None = None
    prompt_ids: tuple[int, ...] | None = None
    made: ReplyTokens = ReplyTokens()
    endpoint: str = ""


class ListedModel(BaseModel):
    """A model as GET /models lists it; servers of vLLM say what it is loaded from, and how long
    prompt and completion together may be."""

    id: str
    root: str | None = None
    max_model_len: int | None = None


class _Models(BaseModel):
    data: list[ListedModel]


def excerpt(text: str, *, secret: str | None = None) -> str:
    """One line of at most 200 characters that a terminal can show, without the secret."""
    shown = " ".join((text.replace(secret, "***") if secret else text).split())
    shown = "".join(c if c.isprintable() else "\ufffd" for c in shown[: MESSAGE_CHARS + 1])
    return shown if len(shown) <= MESSAGE_CHARS else shown[: MESSAGE_CHARS - 1] + "…"


def read_listed(body: bytes) -> list[ListedModel] | None:
    """The models that GET /models lists; None if the body is no such list."""
    try:
        return _Models.model_validate_json(body).data
    except ValidationError:
        return None


def read_models(body: bytes) -> list[str] | None:
    """Their ids."""
    models = read_listed(body)
    return None if models is None else [model.id for model in models]


def may_serve(model: str, listed: Collection[str]) -> bool:
    """Whether a server with this list of models may be asked for one: no list says nothing, and
    `transformers serve` loads a folder, but lists the models of its cache only."""
    return not listed or model in listed or Path(model).is_dir()


def read_reply(
    body: bytes,
    *,
    choices: int,
    cap_tokens: int,
    prompt: str = "",
    count_text: Callable[[str], int] | None = None,
    secret: str | None = None,
    of_texts: bool = False,
) -> list[Said]:
    """The choices of a reply, in the order of their indices.

    Args:
        choices: how many were asked for.
        cap_tokens: the cap that was asked for, on the tokens of each choice.
        prompt: where a content repeats it, it is not of the tokens.
        count_text: counts the tokens of a text, where the server's counts cannot be right.
        secret: kept out of the messages that quote the body.
        of_texts: it is the completions endpoint's.
    Raises:
        Transient: the body is no JSON, as when it was cut off, or says that an error came between.
        EngineError: the reply lacks what a sample needs, or is not what was asked for.
    """
    reply = _parse(body, secret=secret, of_texts=of_texts)
    shown = _shown(body, secret=secret)
    if reply.error:
        raise Transient(f"HTTP 200 with an error: {shown}")
    found, usage = _in_order(reply.choices, choices=choices, shown=shown), reply.usage
    beside = len(found) - choices
    if beside:
        found, usage = _first(found, usage, can_count=count_text is not None)
    received = [_received(choice, usage, prompt=prompt, count=count_text) for choice in found]
    together = completion_tokens(usage, received=_sum(received, cap_tokens=cap_tokens))
    if together.tokens is None:
        why = reply.odd_count or together.how
        raise EngineError(
            f"the server's reply is no chat completion with token counts: {why}; use a "
            "server that reports usage.completion_tokens with the thinking, or give the model's "
            "tokenizer with --tokenizer FOLDER to count the text, and another --out where samples "
            f"are kept already (got: {shown})"
        )
    counts = _token_counts(found, together)
    saids = [
        _said(choice, tokens=tokens, cap_tokens=cap_tokens, counted=together.how, beside=beside)
        for choice, tokens in zip(found, counts, strict=True)
    ]
    prompt_ids, prompt_tokens = reply.prompt_ids, reply.usage.prompt
    # Of several choices, the server counts the thinking together.
    reasoning = usage.reasoning if len(saids) == 1 else None
    return [
        said._replace(
            prompt_ids=prompt_ids, prompt_tokens=prompt_tokens, reasoning_tokens=reasoning
        )
        for said in saids
    ]


def _parse(body: bytes, *, secret: str | None, of_texts: bool) -> Body:
    """The reply, sent whole or as a stream."""
    if not body.strip():
        raise Transient("the server sent an empty reply")
    shown = _shown(body, secret=secret)
    try:
        text = as_utf8(body)
        whole = joined(text) if is_stream(text) else parse_json(text)
        return read_body(whole, of_texts=of_texts)
    except EndedEarly as error:
        raise Transient(f"{error} (got: {shown})") from None
    except OddReply as error:
        raise EngineError(
            f"the server's reply is no chat completion: {error}; see that --endpoint is the url of "
            "a server that speaks OpenAI's chat completions, and that no proxy changes its replies "
            f"(got: {shown})"
        ) from None
    except ValueError as error:
        raise Transient(f"{_tell_no_json(body, error)} (got: {shown})") from None


def _tell_no_json(body: bytes, error: ValueError) -> str:
    """What a body is instead, and what that points to."""
    if body.lstrip().startswith(b"<"):
        return (
            "the reply is HTML, not JSON: --endpoint may be the wrong url, or a proxy or a login "
            "page answers in the server's place"
        )
    if isinstance(error, UnicodeDecodeError):
        return (
            "the reply is not text in UTF-8: the server or a proxy damages it, or compresses it "
            "although not asked to"
        )
    return f"malformed JSON: {excerpt(str(error))}"


def _shown(body: bytes, *, secret: str | None) -> str:
    try:
        text = as_utf8(body)
    except ValueError:
        text = body
    return excerpt(text.decode("utf-8", errors="replace"), secret=secret)


def _in_order(found: list[ReplyChoice], *, choices: int, shown: str) -> list[ReplyChoice]:
    """The choices by index, as many as were asked for; of one, those that came with it too."""
    if not found:
        raise Transient(f"the reply has no choices (got: {shown})")
    if any(choice.place is not None for choice in found):
        found = sorted(found, key=lambda choice: -1 if choice.place is None else choice.place)
        places = [-1 if choice.place is None else choice.place for choice in found]
    else:  # they stand as they come
        places = list(range(len(found)))
    if choices > 1 and places != list(range(choices)):
        raise EngineError(
            f"asked the server for n={choices} and got choices {places}; "
            "it ignores n: use --per-request 1"
        )
    broken = [end for end in (choice.finish_reason for choice in found) if is_broken_off(end)]
    if broken:
        raise Transient(f"the server broke off with finish_reason {broken[0]!r} (got: {shown})")
    return found


def _first(
    found: list[ReplyChoice], usage: Usage, *, can_count: bool
) -> tuple[list[ReplyChoice], Usage]:
    """The first of several choices where one was asked for, and what counts its tokens.

    The server's usage counts several together; of one that came more than once it is taken.
    """
    first = found[0]
    if all((c.thinking, c.content) == (first.thinking, first.content) for c in found):
        return [first], usage
    if not can_count:
        raise EngineError(
            f"asked the server for n=1 and got choices {[choice.place for choice in found]}; it "
            "ignores n: use a server or proxy that keeps to n, for usage counts their tokens "
            "together, or give the model's tokenizer with --tokenizer FOLDER to count the first"
        )
    return [first], Usage(None)


def _received(
    choice: ReplyChoice, usage: Usage, *, prompt: str, count: Callable[[str], int] | None
) -> Received:
    """What one choice brought. Thinking that the server keeps back cannot be counted."""
    thinking = choice.thinking
    content = choice.content.replace(prompt, "", 1)
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


def _token_counts(choices: list[ReplyChoice], together: Counted) -> list[int]:
    assert together.tokens is not None
    if len(choices) == 1:
        return [together.tokens]
    counts = [choice.logprobs for choice in choices if choice.logprobs is not None]
    if len(counts) < len(choices) or sum(counts) != together.tokens:
        raise EngineError(
            f"the tokens of each of {len(choices)} choices cannot be told: logprobs count "
            f"{counts}, usage says {together.tokens} in all; use --per-request 1"
        )
    return counts


def _said(choice: ReplyChoice, *, tokens: int, cap_tokens: int, counted: str, beside: int) -> Said:
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
    finish = _finish(choice)
    ended = f"the server ended it with finish_reason {choice.finish_reason!r}"
    return Said(
        reasoning=choice.thinking,
        content=choice.content,
        tokens=tokens,
        finish=finish,
        counted=counted,
        failure=ended if finish is Finish.ERROR else None,
        beside=beside,
        made=choice.made,
    )


def _finish(choice: ReplyChoice) -> Finish:
    return find_finish(choice.finish_reason) or Finish.ERROR
