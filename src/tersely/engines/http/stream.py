"""A reply that was sent in pieces, as server-sent events, put together as if sent whole."""

import json
from collections.abc import Iterator
from typing import Any

from tersely.core.parsing import parse_json

_BEGINS = (b"data:", b"event:", b"id:", b"retry:", b":")
TEXTS = ("content", "reasoning_content", "reasoning")


def is_stream(body: bytes) -> bool:
    """Whether a body is a stream of events and no JSON."""
    return body.lstrip().startswith(_BEGINS)


def joined(body: bytes) -> bytes:
    """The chat completion that a stream of chunks is, as JSON.

    A stream that broke off lacks its ``finish_reason``: what is left is the error that it ended
    with, or text that is no JSON, as of one with an event that is no JSON object.
    """
    choices: dict[int, dict[str, Any]] = {}
    rest: dict[str, Any] = {}
    for data in _events(body):
        try:
            chunk = parse_json(data)
        except ValueError:
            return b"an event is no JSON: " + data
        if not isinstance(chunk, dict):
            return b"an event is no JSON object: " + data
        for key in ("usage", "error"):
            rest[key] = chunk.get(key) or rest.get(key)
        pieces = chunk.get("choices")
        for piece in pieces if isinstance(pieces, list) else ():
            if isinstance(piece, dict):
                _add(piece, choices)
    unfinished = any(choice["finish_reason"] is None for choice in choices.values())
    if unfinished and rest.get("error"):
        return json.dumps({"error": rest["error"]}).encode()
    if unfinished:
        return b"the stream broke off"
    return json.dumps({**rest, "choices": list(choices.values())}).encode()


def _events(body: bytes) -> Iterator[bytes]:
    for line in body.splitlines():
        name, _, data = line.partition(b":")
        if name.strip() == b"data" and data.strip() not in (b"", b"[DONE]"):
            yield data.strip()


def _add(piece: dict[str, Any], choices: dict[int, dict[str, Any]]) -> None:
    """A piece of a choice to what there is of it."""
    index = piece.get("index")
    index = index if isinstance(index, int) else 0
    choice = choices.setdefault(index, {"index": index, "finish_reason": None, "message": {}})
    choice["finish_reason"] = piece.get("finish_reason") or choice["finish_reason"]
    said = piece.get("delta") or piece.get("message")
    said = said if isinstance(said, dict) else {}
    for key in TEXTS:
        value = said.get(key)
        if isinstance(value, list):
            value = "".join(str(part.get("text", "")) for part in value if isinstance(part, dict))
        if isinstance(value, str):
            choice["message"][key] = choice["message"].get(key, "") + value
    logprobs = piece.get("logprobs")
    if isinstance(logprobs, dict) and isinstance(logprobs.get("content"), list):
        tokens = choice.setdefault("logprobs", {"content": []})["content"]
        tokens += logprobs["content"]
