"""Hardly a token is left."""

import numpy as np

from tersely.dynamics.alarms import Severity
from tersely.dynamics.noise import NoisyLog

PLACE, SEVERITY = 65, Severity.WARNING
COLUMNS: tuple[str, ...] = ("tokens_mean",)
LEFT, ACCURACY_LEFT = 0.15, 0.9
REASON = (
    "answers became so short that hardly any reasoning is left, and nothing in the log shows that "
    "they are still right; a loss averaged over each rollout favours short ones by itself"
)
ADVICE = (
    "evaluate a checkpoint (tersely eval), raise target.tokens, and see whether the loss is "
    "divided by each rollout's own length (loss.aggregation)"
)


def length_collapse(log: NoisyLog) -> str | None:
    """Length below 0.15 of its start, unless accuracy is known to stand or what is paid rose."""
    tokens = log.logarithm("tokens_mean")
    fall = tokens and tokens.fell(lambda b, a: a - b <= np.log(LEFT), from_start=True)
    if not fall:
        return None
    for name in ("accuracy", "positive_share", "reward_mean"):
        column = log.get(name)
        change = None if column is None else column.over(fall)
        if change is None:
            continue
        bound = (
            ACCURACY_LEFT * change.before
            if name == "accuracy"
            else change.before + 2 * change.error
        )
        if change.after >= bound:
            return None
        break
    return f"length {np.exp(fall.before):,.0f} → {np.exp(fall.after):,.0f} tokens"
