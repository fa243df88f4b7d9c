"""Floor 1: how an update's token losses become one number, one aggregation a file.

``loss = sum over rows i and loss tokens t of weight_i * loss_it / denominator``. Both are computed
from the whole update before it is cut into micro-batches, so cutting changes nothing. The weight
goes into a loss as ``weight_BT=weight_B[:, None]``. Rows without loss tokens are not counted: so it
is in verl, while TRL counts them. TRL's ``grpo`` and ``bnpo`` take means of each micro-batch, so
that their gradient depends on the cut.

An aggregation is found by its file, ``(tokens_B, group_B) -> Aggregation``: the loss tokens of each
row of the update, and any number that the rows of one prompt share. It may ask for
``tokens_per_row``, which is the recipe's cap. A file declares beside it

``EVEN: bool``
    Whether every token of an update weighs the same.
``VERL: str | None``
    verl's ``loss_agg_mode`` of the same mean over its own batch; None: we weigh the advantages.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from inspect import signature
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Int

from tersely.core import lookup


class Aggregation(NamedTuple):
    """A weight for each row of an update, and what the weighted sum is divided by, > 0."""

    weight_B: Float[np.ndarray, " B"]
    denominator: int


Aggregate: TypeAlias = Callable[[Int[np.ndarray, " B"], Int[np.ndarray, " B"]], Aggregation]


def available() -> list[str]:
    """The names of all aggregations, sorted: the files of this folder."""
    return lookup.names(__name__)


def load(name: str, *, cap_tokens: int) -> Aggregate:
    """The aggregation of the file ``name``, told of the cap; ConfigError if there is none."""
    function = lookup.load(__name__, name)
    if "tokens_per_row" in signature(function).parameters:
        return partial(function, tokens_per_row=cap_tokens)
    return function


def check(name: str) -> None:
    """ConfigError unless there is an aggregation of this name."""
    lookup.load(__name__, name)


def is_even(name: str) -> bool:
    """Whether every token weighs the same; ConfigError if the aggregation is unknown."""
    check(name)
    declared: bool = import_module(f"{__name__}.{name}").EVEN
    return declared


def in_verl(name: str) -> str | None:
    """verl's name of it, if it has it; ConfigError if the aggregation is unknown."""
    check(name)
    declared: str | None = import_module(f"{__name__}.{name}").VERL
    return declared


def require_tokens(tokens_B: Int[np.ndarray, " B"]) -> None:
    """ValueError if an update has no loss tokens."""
    if not tokens_B.any():
        raise ValueError("the update has no loss tokens, so there is no mean of them")
