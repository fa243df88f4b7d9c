"""From loaded evaluations to measured ones: what ``tersely report`` and ``compare`` show."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tersely.adapters.evaluations import Loaded
from tersely.core.errors import ConfigError
from tersely.metrics.budgets import spectrum
from tersely.metrics.comparison import Comparison, ProblemChange, compare, list_changes, pair
from tersely.metrics.measures import Evaluation, measure

BOOTSTRAP_SEED = 0


class Compared(NamedTuple):
    """A comparison with the problems behind it; both sides hold the shared problems only."""

    before: Loaded
    after: Loaded
    comparison: Comparison
    changes: list[ProblemChange]


def default_ks(samples: int) -> tuple[int, ...]:
    """1, 2, 4, ... up to the samples a problem, and these."""
    powers = {1 << power for power in range(samples.bit_length())}
    return tuple(sorted({k for k in powers if k <= samples} | {samples}))


def measure_loaded(loaded: Loaded, *, ks: Sequence[int] = ()) -> Evaluation:
    """Every figure of an evaluation at its budgets.

    Raises:
        ConfigError: a budget is above the cap or was not graded, or a k above the samples.
    """
    return measure(
        loaded.table,
        title=loaded.name,
        budgets=loaded.budgets,
        ks=ks or default_ks(loaded.table.tokens_PS.shape[1]),
        protocol=loaded.protocol,
        rng=np.random.default_rng(BOOTSTRAP_SEED),
    )


def compare_loaded(
    before: Loaded, after: Loaded, *, budgets: Sequence[int] = (), ks: Sequence[int] = ()
) -> Compared:
    """Both evaluations over the problems they share, at the budgets they share.

    Raises:
        ConfigError: they were loaded under different protocols, or as ``measure_loaded``.
        DataError: they share no problem.
    """
    if before.protocol is not after.protocol:
        raise ConfigError(
            f"{before.name} was evaluated under the protocol {before.protocol!s}, {after.name} "
            f"under {after.protocol!s}; compare both under one with --protocol"
        )
    left, right, notes = pair(before.table, after.table)
    cap_tokens = left.cap_tokens
    shared = [b for b in before.budgets if b in after.budgets and b <= cap_tokens]
    chosen = tuple(budgets) or tuple(shared) or spectrum(cap_tokens)
    fewest = min(left.tokens_PS.shape[1], right.tokens_PS.shape[1])
    comparison = compare(
        f"{before.name} → {after.name}",
        left,
        right,
        budgets=chosen,
        ks=ks or default_ks(fewest),
        protocol=before.protocol,
        rng=np.random.default_rng(BOOTSTRAP_SEED),
    )
    said = [
        *notes,
        *(f"{side.name}: {note}" for side in (before, after) for note in side.notes),
    ]
    return Compared(
        before._replace(table=left),
        after._replace(table=right),
        comparison._replace(notes=tuple(said)),
        list_changes(left, right, budget_tokens=max(chosen), protocol=before.protocol),
    )
