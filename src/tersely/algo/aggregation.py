"""How an update's token losses become one number: a weight for each row and one denominator.

``loss = sum over rows i and loss tokens t of weight_i * loss_it / denominator``. Both are computed
from the whole update before it is cut into micro-batches, so cutting changes nothing. The weight
goes into a loss as ``weight_BT=weight_B[:, None]``. Rows without loss tokens are not counted: so it
is in verl, while TRL counts them. TRL's ``grpo`` and ``bnpo`` take means of each micro-batch, so
that their gradient depends on the cut.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Int


class Aggregation(NamedTuple):
    """A weight for each row of an update, and what the weighted sum is divided by, > 0."""

    weight_B: Float[np.ndarray, " B"]
    denominator: int


# ``(tokens_B, group_B) -> Aggregation`` over all rows of an update.
Aggregate: TypeAlias = Callable[[Int[np.ndarray, " B"], Int[np.ndarray, " B"]], Aggregation]


def token_mean(tokens_B: Int[np.ndarray, " B"]) -> Aggregation:
    """Every token weighs the same: ``sum / loss tokens``. DAPO's (arXiv:2503.14476), and ours.

    A long rollout pulls harder than a short one, in proportion.

    Args:
        tokens_B: loss tokens of each row of the update.
    Raises:
        ValueError: if the update has no loss tokens.
    """
    _check(tokens_B)
    return Aggregation(np.ones(len(tokens_B)), int(tokens_B.sum()))


def sequence_mean(tokens_B: Int[np.ndarray, " B"]) -> Aggregation:
    """Every row weighs the same: ``mean over rows of the mean over its tokens``. GRPO's.

    Source: arXiv:2402.03300. A token of a long rollout weighs less, so long wrong answers are
    punished less per token than short ones.

    Raises:
        ValueError: if the update has no loss tokens.
    """
    _check(tokens_B)
    weight_B = np.where(tokens_B > 0, 1 / np.maximum(tokens_B, 1), 0.0)
    return Aggregation(weight_B, int((tokens_B > 0).sum()))


def prompt_mean(tokens_B: Int[np.ndarray, " B"], group_B: Int[np.ndarray, " B"]) -> Aggregation:
    """Every prompt weighs the same: ``mean over prompts of the mean over all its tokens``.

    Within a prompt it is ``token_mean``: a hard prompt with long rollouts does not drown the
    easy ones. For one row a prompt it is ``sequence_mean``, for a single prompt ``token_mean``.
    Neither TRL 1.16 nor verl 0.9.1 has it.

    Args:
        tokens_B: loss tokens of each row of the update.
        group_B: any number that the rows of one prompt share.
    Raises:
        ValueError: if the update has no loss tokens.
    """
    _check(tokens_B)
    _, place_B = np.unique(group_B, return_inverse=True)
    tokens_P = np.bincount(place_B, weights=tokens_B)
    weight_B = np.where(tokens_B > 0, 1 / np.maximum(tokens_P, 1)[place_B], 0.0)
    return Aggregation(weight_B, int((tokens_P > 0).sum()))


def constant(tokens_B: Int[np.ndarray, " B"], *, tokens_per_row: int) -> Aggregation:
    """``sum / (rows * tokens_per_row)``: Dr. GRPO's.  Source: arXiv:2503.20783.

    No length in the denominator, so the gradient's scale does not move with the lengths of the
    batch. It is ``token_mean`` where every row has ``tokens_per_row`` tokens.

    Args:
        tokens_per_row: the same for the whole run, > 0; TRL and Dr. GRPO take the cap L_R.
    Raises:
        ValueError: if ``tokens_per_row`` is not positive or the update has no loss tokens.
    """
    _check(tokens_B)
    if not tokens_per_row > 0:
        raise ValueError(f"tokens_per_row must be positive, got {tokens_per_row}")
    return Aggregation(np.ones(len(tokens_B)), int((tokens_B > 0).sum()) * tokens_per_row)


def _check(tokens_B: Int[np.ndarray, " B"]) -> None:
    if not tokens_B.any():
        raise ValueError("the update has no loss tokens, so there is no mean of them")
