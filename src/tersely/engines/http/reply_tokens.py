"""The tokens of a reply, where a server tells them: as ids, or as texts beside their log-probs."""

import codecs
from collections.abc import Iterator
from typing import NamedTuple

# Tokens in which a mark stands that was sampled, whatever a token is.
_LONGEST_BEGINNING = 32


class ReplyTokens(NamedTuple):
    """What a choice tells of its tokens, the stop token included; None where it tells nothing."""

    ids: tuple[int, ...] | None = None
    pieces: tuple[str, ...] | None = None


def read_tokens(choice: dict[str, object]) -> ReplyTokens:
    """Of vLLM's ``token_ids`` and of ``logprobs.content``, which several servers know."""
    logprobs = choice.get("logprobs")
    listed = logprobs.get("content") if isinstance(logprobs, dict) else None
    return ReplyTokens(
        ids=read_ids(choice.get("token_ids")),
        pieces=_pieces(listed) if isinstance(listed, list) else None,
    )


def read_ids(listed: object) -> tuple[int, ...] | None:
    """A list of token ids; None where it is none."""
    if not isinstance(listed, list) or not listed:
        return None
    whole = all(isinstance(one, int) and not isinstance(one, bool) for one in listed)
    return tuple(listed) if whole else None


def with_thinking_mark(pieces: tuple[str, ...], text: str) -> tuple[str, ...]:
    """The pieces of a text that begins with ``<think>`` though none was sampled.

    The mark is put back before what a server's parser took out; one that the prompt held counts
    as no token of its own.
    """
    mark = "<think>"
    begun = "".join(pieces[:_LONGEST_BEGINNING]).lstrip()
    if not pieces or not text.startswith(mark) or begun.startswith(mark):
        return pieces
    return (mark + pieces[0], *pieces[1:])


def without_extra_mark(pieces: tuple[str, ...], *, tokens: int) -> tuple[str, ...]:
    """A text's pieces, where its ``<think>`` is one token more than were sampled: the prompt's."""
    if len(pieces) > max(tokens, 1) and pieces[0] == "<think>":
        return (pieces[0] + pieces[1], *pieces[2:])
    return pieces


def _pieces(listed: list[object]) -> tuple[str, ...] | None:
    if not listed or not all(isinstance(one, dict) for one in listed):
        return None
    return tuple(_texts(listed))


def _texts(listed: list[object]) -> Iterator[str]:
    """A token that ends inside a character adds nothing; the one that completes it adds it."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for one in listed:
        assert isinstance(one, dict)
        token, raw = one.get("token"), one.get("bytes")
        if isinstance(raw, list) and all(isinstance(b, int) and 0 <= b < 256 for b in raw):
            yield decoder.decode(bytes(raw))
        else:
            yield token if isinstance(token, str) else ""
