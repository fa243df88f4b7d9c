"""A reply that was sent in pieces, as server-sent events, put together as if sent whole."""

from collections.abc import Iterator
from typing import Any

from tersely.core.parsing import parse_json

_BEGINS = (b"data:", b"event:", b"id:", b"retry:", b":")
_DONE = b"[DONE]"
TEXTS = ("content", "reasoning_content", "reasoning")


class EndedEarly(ValueError):
    """A stream without its last event."""


def is_stream(body: bytes) -> bool:
    """Whether a body is a stream of events and no JSON."""
    return body.lstrip().startswith(_BEGINS)


def joined(body: bytes) -> dict[str, Any]:
    """The chat completion that a stream of chunks is.

    Raises:
        EndedEarly: neither [DONE] nor both finish_reason and usage, nor an error, came.
        ValueError: an event is not JSON.
    """
    choices: dict[int, dict[str, Any]] = {}
    rest: dict[str, Any] = {}
    events = list(_events(body))
    done = _DONE in events
    for data in events:
        if data == _DONE:
            continue
        try:
            chunk = parse_json(data)
        except ValueError:
            if data is events[-1]:
                raise EndedEarly("the stream ended early") from None
            raise
        if not isinstance(chunk, dict):
            raise ValueError("an event of the stream is not an object")
        for key in ("usage", "error"):
            rest[key] = chunk.get(key) or rest.get(key)
        pieces = chunk.get("choices")
        for piece in pieces if isinstance(pieces, list) else ():
            if isinstance(piece, dict):
                _add(piece, choices)
    finished = choices and all(choice["finish_reason"] for choice in choices.values())
    if not (done or rest.get("error") or (finished and rest.get("usage"))):
        raise EndedEarly("the stream ended early")
    return {**rest, "choices": list(choices.values())}


def _events(body: bytes) -> Iterator[bytes]:
    for line in body.splitlines():
        name, _, data = line.partition(b":")
        if name.strip() == b"data" and data.strip():
            yield data.strip()


def _add(piece: dict[str, Any], choices: dict[int, dict[str, Any]]) -> None:
    """A piece of a choice to what there is of it; its texts are parts of one."""
    index = piece.get("index")
    index = index if isinstance(index, int) else 0
    choice = choices.setdefault(index, {"index": index, "finish_reason": None, "message": {}})
    choice["finish_reason"] = piece.get("finish_reason") or choice["finish_reason"]
    choice["error"] = piece.get("error") or choice.get("error")
    said = piece.get("delta") or piece.get("message")
    said = said if isinstance(said, dict) else {}
    for key in TEXTS:
        if said.get(key) is not None:
            value = said[key]
            parts = choice["message"].setdefault(key, [])
            parts += value if isinstance(value, list) else [value]
    if isinstance(piece.get("text"), str):
        choice["text"] = choice.get("text", "") + piece["text"]
    logprobs = piece.get("logprobs")
    if isinstance(logprobs, dict) and isinstance(logprobs.get("content"), list):
        tokens = choice.setdefault("logprobs", {"content": []})["content"]
        tokens += logprobs["content"]
