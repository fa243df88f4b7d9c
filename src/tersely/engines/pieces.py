"""The text that each token of a completion adds."""

from collections.abc import Sequence
from typing import Any

from tokenizers.decoders import DecodeStream


def split_text(tokenizer: Any, ids: Sequence[int]) -> tuple[str, ...]:
    """One piece a token; joined they are the decoded completion, special tokens included.

    A token that ends inside a character adds nothing; the one that completes it adds it whole.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return tuple(tokenizer.decode([i]) for i in ids)
    stream = DecodeStream(skip_special_tokens=False)
    return tuple(stream.step(backend, int(i)) or "" for i in ids)
