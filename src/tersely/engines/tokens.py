"""Counting tokens of text, for files that hold no counts of their own."""

from collections.abc import Callable
from pathlib import Path

from tersely.core.errors import ConfigError


def make_counter(folder: str) -> Callable[[str], int]:
    """Counts the tokens of a text with the tokenizer of a folder (or of one ``tokenizer.json``).

    What was generated may have been other tokens for the same text, and its stop token is not in
    the text, so such counts are close, not exact.

    Raises:
        ConfigError: there is no ``tokenizer.json``.
    """
    given = Path(folder)
    file = given / "tokenizer.json" if given.is_dir() else given
    if not file.is_file():
        raise ConfigError(f"--tokenizer {folder}: there is no {file}; give a folder that holds it")
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)
