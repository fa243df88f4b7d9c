"""Tokens of text: counted, cut and decoded, without a model."""

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tersely.core.errors import ConfigError, shortened

# Texts that are split at once: their offsets are tuples of Python numbers.
_BATCH = 32


class TokenCounter:
    """The tokens of texts by one tokenizer, without special tokens added."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def __call__(self, text: str) -> int:
        """How many tokens the text has."""
        return self.count_all([text])[0]

    def count_all(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has; several processors share the work."""
        encoded = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [len(one) for one in encoded]

    def split_all(self, texts: Sequence[str]) -> Iterator[tuple[str, ...]]:
        """The text of each token of each text, in order; together they are the text.

        Where several tokens make one character, it is the last one's.
        """
        for first in range(0, len(texts), _BATCH):
            batch = texts[first : first + _BATCH]
            encoded = self._tokenizer.encode_batch(batch, add_special_tokens=False)
            for text, one in zip(batch, encoded, strict=True):
                starts = [begin for begin, _ in one.offsets]
                cuts = [0, *starts[1:], len(text)] if starts else []
                yield tuple(text[a:b] for a, b in itertools.pairwise(cuts))

    def split_ids(self, ids: Sequence[int]) -> tuple[str, ...]:
        """The text that each of these tokens adds, as :mod:`tersely.engines.pieces` has it."""
        from tersely.engines.pieces import split_text

        return split_text(_Decoder(self._tokenizer), ids)


class _Decoder:
    """A bare tokenizer, decoding as those of transformers do."""

    def __init__(self, tokenizer: Any) -> None:
        self.backend_tokenizer = tokenizer

    def decode(self, ids: Sequence[int], **settings: Any) -> str:
        """Special tokens included."""
        return str(self.backend_tokenizer.decode(list(ids), skip_special_tokens=False))


def make_counter(folder: str) -> TokenCounter:
    """Counts the tokens of a text with the tokenizer of a folder (or of one ``tokenizer.json``).

    What was generated may have been other tokens for the same text, and its stop token is not in
    the text, so such counts are close, not exact.

    Raises:
        ConfigError: there is no ``tokenizer.json``, or it cannot be read.
    """
    given = Path(folder)
    file = given / "tokenizer.json" if given.is_dir() else given
    if not file.is_file():
        raise ConfigError(f"--tokenizer {folder}: there is no {file}; give a folder that holds it")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    from tokenizers import Tokenizer

    try:
        return TokenCounter(Tokenizer.from_file(str(file)))
    except Exception as error:  # it raises no other kind
        raise ConfigError(
            f"--tokenizer {folder}: {file} is no tokenizer ({shortened(error)}); give one that "
            "save_pretrained wrote"
        ) from error


def decode_whole(tokenizer: Any, ids: Sequence[int]) -> str:
    """Token ids as text, special tokens included, just as they are."""
    return str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))
