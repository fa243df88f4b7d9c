"""The tokens of served samples: kept for their prefixes, and held against the server's counts."""

import itertools
import logging
from collections.abc import Sequence

from tersely.core.errors import ConfigError
from tersely.core.forcing import TokenRecord
from tersely.core.types import Completion, Finish

# A tokenizer that splits the texts into so many more or fewer tokens is another model's.
MOST_DIFFERENCE = 0.1
NO_TOKENS = (
    "the server at {url} does not tell the tokens of its replies (neither return_token_ids nor "
    "logprobs), and this protocol cuts between them; give the model's tokenizer with --tokenizer "
    "FOLDER and another --out, or use --protocol finished"
)
log = logging.getLogger(__name__)


def tokens_of(completion: Completion) -> TokenRecord:
    """What is kept of a served sample for its prefixes."""
    pieces = completion.pieces or ()
    return TokenRecord(
        problem=completion.problem_id,
        sample=completion.sample,
        prompt_ids=completion.prompt_ids or (),
        completion_ids=completion.completion_ids or (),
        finish=completion.finish,
        thinking_open=completion.thinking_open,
        text="".join(pieces),
        piece_chars=tuple(map(len, pieces)),
        tokens=completion.tokens,
        prompt_tokens=completion.prompt_tokens,
    )


def pieces_of(made: TokenRecord) -> tuple[str, ...]:
    """The text of each token."""
    text, ends = made.text or "", itertools.accumulate(made.piece_chars, initial=0)
    return tuple(text[a:b] for a, b in itertools.pairwise(ends))


def beginning_of(made: TokenRecord, budget_tokens: int) -> str:
    """The text of a served sample up to a budget."""
    return (made.text or "")[: sum(made.piece_chars[:budget_tokens])]


def check_splits(made: Sequence[TokenRecord], *, warn: bool) -> None:
    """Holds the tokens that samples are cut at against the server's counts of them.

    Args:
        warn: say in a line how many samples are split otherwise than they were sampled.
    Raises:
        ConfigError: they are more than a tenth apart in all.
    """
    counted = sum(_length(one) for one in made)
    stated = sum(one.tokens or 0 for one in made)
    if abs(counted - stated) > MOST_DIFFERENCE * max(stated, 1) + len(made):
        raise ConfigError(
            f"the texts of {len(made):,} samples are split into {counted:,} tokens and the server "
            f"counts {stated:,}, more than {MOST_DIFFERENCE:.0%} apart: budgets would be cut in "
            "the wrong places; give the model's own tokenizer with --tokenizer and another --out, "
            "or use --protocol finished"
        )
    off = [abs(_length(one) - (one.tokens or 0)) for one in made]
    differing = sum(map(bool, off))
    if warn and differing:
        log.warning(
            "%s of %s samples are split into another number of tokens than the server counts, by "
            "at most %s: their prefixes are as much longer or shorter",
            f"{differing:,}",
            f"{len(made):,}",
            f"{max(off):,}",
        )


def _length(made: TokenRecord) -> int:
    """The pieces; a tokenizer's have none for the stop token, which is no text."""
    counted = len(made.piece_chars)
    stopped = made.finish is Finish.STOP and counted + 1 == made.tokens
    return counted + stopped
