"""What a sample needs of a reply's JSON, or in plain words what is odd about it."""

from typing import NamedTuple

from tersely.core.usage import Usage
from tersely.engines.http.reply_tokens import ReplyTokens, read_ids, read_tokens

LONGEST_COUNT = 18  # digits; Python refuses to read a number of thousands
_KINDS = {
    dict: "an object",
    list: "a list",
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "null",
}


class OddReply(ValueError):
    """A part that a sample needs is not what it should be."""


class ReplyChoice(NamedTuple):
    """One choice; ``place`` is its index, ``logprobs`` the tokens that have one, ``made`` what it
    tells of its tokens; None: not told."""

    place: int | None
    thinking: str
    content: str
    finish_reason: str | None
    logprobs: int | None
    made: ReplyTokens = ReplyTokens()


class Body(NamedTuple):
    """A reply. Where it holds an error, nothing else of it is read.

    ``odd_count`` says what stands in usage.completion_tokens, where that is no count.
    """

    choices: list[ReplyChoice]
    usage: Usage
    error: bool = False
    odd_count: str = ""
    prompt_ids: tuple[int, ...] | None = None


def read_body(found: object, *, of_texts: bool = False) -> Body:
    """The parts of a reply's JSON. What no sample needs is not looked at.

    Args:
        of_texts: the completions endpoint's, whose choices have a text and no message.
    Raises:
        OddReply: naming the part and what it is.
    """
    if not isinstance(found, dict):
        raise OddReply(f"it is {_kind(found)}, not an object")
    choices = found.get("choices")
    listed = choices if isinstance(choices, list) else []
    parts = [found, *(choice for choice in listed if isinstance(choice, dict))]
    if any(_says(part.get("error")) for part in parts):
        return Body([], Usage(None), error=True)
    if choices is not None and not isinstance(choices, list):
        raise OddReply(f"choices is {_kind(choices)}, not a list")
    try:
        read = [
            _choice(_as_chat(choice) if of_texts else choice, f"choices.{place}")
            for place, choice in enumerate(listed)
        ]
    except RecursionError:
        raise OddReply("it is nested too deeply") from None
    usage = found.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    # The completions endpoint tells the prompt's ids beside each choice.
    told = next((part["prompt_token_ids"] for part in parts if part.get("prompt_token_ids")), None)
    return Body(read, _usage(usage), odd_count=_odd_count(usage), prompt_ids=read_ids(told))


def _says(error: object) -> bool:
    """Whether anything stands in an error: servers also send null, or fields that are empty."""
    if isinstance(error, dict):
        return any(error.values())
    return bool(error)


def _kind(value: object) -> str:
    return _KINDS[type(value)]


def _as_chat(choice: object) -> object:
    if not isinstance(choice, dict) or "text" not in choice:
        return choice
    return {**choice, "message": {"content": choice["text"]}}


def _choice(found: object, where: str) -> ReplyChoice:
    if not isinstance(found, dict):
        raise OddReply(f"{where} is {_kind(found)}, not an object")
    message, finish = found.get("message"), found.get("finish_reason")
    if not isinstance(message, dict):
        is_there = "message" in found
        raise OddReply(f"{where}.message is {_kind(message) if is_there else 'missing'}")
    if not isinstance(finish, str | None):
        raise OddReply(f"{where}.finish_reason is {_kind(finish)}, not text")
    content, logprobs = message.get("content"), found.get("logprobs")
    listed = logprobs.get("content") if isinstance(logprobs, dict) else None
    return ReplyChoice(
        place=_count(found, "index"),
        thinking=_whole_text(_thinking(message, f"{where}.message")),
        content=_whole_text(_text(content, f"{where}.message.content")),
        finish_reason=finish,
        logprobs=len(listed) if isinstance(listed, list) else None,
        made=read_tokens(found),
    )


def _thinking(message: dict[str, object], where: str) -> str:
    for name in ("reasoning_content", "reasoning"):
        apart = _text(message.get(name), f"{where}.{name}")
        if apart:
            return apart
    content = message.get("content")
    parts = content if isinstance(content, list) else ()
    return "".join(_thought(part.get("thinking")) for part in parts if isinstance(part, dict))


def _thought(value: object) -> str:
    """Thinking in a part: text, or parts again."""
    if isinstance(value, list):
        return "".join(map(_thought, value))
    if isinstance(value, dict):
        return _thought(value.get("text")) or _thought(value.get("thinking"))
    return value if isinstance(value, str) else ""


def _text(value: object, where: str) -> str:
    """A text, which may be in parts; parts without any, such as images, are passed over."""
    if isinstance(value, list):
        each = (part.get("text") if isinstance(part, dict) else part for part in value)
        return "".join(_string(text, f"{where}.{place}") for place, text in enumerate(each))
    return _string(value, where)


def _string(value: object, where: str) -> str:
    if not isinstance(value, str | None):
        raise OddReply(f"{where} is {_kind(value)}, not text")
    return value or ""


def _whole_text(text: str) -> str:
    """Half of a surrogate pair is no character: U+FFFD. The halves of a pair become one."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _odd_count(usage: dict[str, object]) -> str:
    count = usage.get("completion_tokens")
    if count is None or _count(usage, "completion_tokens") is not None:
        return ""
    shown = count if isinstance(count, float) else _kind(count)
    return f"usage.completion_tokens is {shown}, not a whole number"


def _usage(usage: dict[str, object]) -> Usage:
    """The counts, wherever servers put them: SGLang's ``reasoning_tokens`` stand by themselves."""
    inside = _count(usage.get("completion_tokens_details"), "reasoning_tokens")
    cached = (
        _count(usage.get("prompt_tokens_details"), "cached_tokens"),
        _count(usage, "cache_read_input_tokens"),
        _count(usage, "cache_creation_input_tokens"),
    )
    return Usage(
        completion=_count(usage, "completion_tokens"),
        prompt=_count(usage, "prompt_tokens"),
        total=_count(usage, "total_tokens"),
        reasoning=_count(usage, "reasoning_tokens") if inside is None else inside,
        cached=sum(count or 0 for count in cached),
    )


def _whole(count: object) -> object:
    """A whole number, whichever way a server's JSON writes it."""
    if isinstance(count, float) and count.is_integer():
        return int(count)
    if isinstance(count, str) and count.isdecimal() and len(count) <= LONGEST_COUNT:
        return int(count)
    return count


def _count(of: object, name: str) -> int | None:
    found = _whole(of.get(name)) if isinstance(of, dict) else None
    return found if isinstance(found, int) and not isinstance(found, bool) else None
