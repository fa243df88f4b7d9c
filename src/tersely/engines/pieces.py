"""The text that each token of a completion adds."""

from collections.abc import Sequence
from typing import Any

from tokenizers.decoders import DecodeStream

# A character has at most four bytes: after so many tokens without one, what is there is no text.
_LONGEST_WAIT = 8
_BROKEN = "\ufffd"


def split_text(tokenizer: Any, ids: Sequence[int]) -> tuple[str, ...]:
    """One piece a token; joined they are the decoded completion, special tokens included.

    A token that ends inside a character adds nothing; the one that completes it adds it whole.
    Where bytes make no character, the pieces hold the replacement sign, and may hold another
    number of them than the text decoded at once.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        pieces = _stream(backend, ids)
        if pieces is not None:
            return pieces
    return _decode_windows(tokenizer, ids)


def _stream(backend: Any, ids: Sequence[int]) -> tuple[str, ...] | None:
    """The fast way; None where bytes make no character, which it cannot do or only slowly."""
    stream = DecodeStream(skip_special_tokens=False)
    pieces: list[str] = []
    waiting = 0
    for token in ids:
        try:
            piece = stream.step(backend, int(token))
        except Exception:  # the library's own type: what it gave out before does not fit any more
            return None
        waiting = 0 if piece else waiting + 1
        if waiting > _LONGEST_WAIT:
            return None
        pieces.append(piece or "")
    return tuple(pieces)


def _decode_windows(tokenizer: Any, ids: Sequence[int]) -> tuple[str, ...]:
    """Decodes the last few tokens together, and gives out what the newest one added."""
    pieces: list[str] = []
    before, given = 0, 0  # tokens before the window's start; tokens whose text was given out
    for end in range(1, len(ids) + 1):
        shown = _decode(tokenizer, ids[before:given])
        whole = _decode(tokenizer, ids[before:end])
        complete = len(whole) > len(shown) and not whole.endswith(_BROKEN)
        if complete or end - given > _LONGEST_WAIT or end == len(ids):
            pieces.append(whole[len(shown) :])
            before, given = given, end
        else:
            pieces.append("")
    return tuple(pieces)


def _decode(tokenizer: Any, ids: Sequence[int]) -> str:
    text: str = tokenizer.decode(
        list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
    return text
