"""Sampler and learner are not one policy."""

import numpy as np

from tersely.dynamics.alarms import Severity
from tersely.dynamics.noise import NoisyLog

PLACE, SEVERITY = 130, Severity.WARNING
COLUMNS: tuple[str, ...] = ("sampler_mismatch",)
FEWEST = 10
MOST_NATS, LEAST_NATS, TIMES = 0.1, 0.05, 3
# Of a divergence, which is the square of a difference, or where the start was small.
SMALL_NATS, MANY_TIMES = 0.01, 10
REASON = "the rollouts are of another policy than the one that is trained"
ADVICE = "set loss.importance_cap = 2, or find which side has stale or coarser weights"


def sampler_mismatch(log: NoisyLog) -> str | None:
    """Sampler and learner differ by 0.1 nats a token, by 0.05 and three times their start, or by
    0.01 and ten times their start."""
    gap = log.get("sampler_mismatch")
    if gap is None or gap.size < FEWEST:
        return None
    recent = float(np.median(gap.value_K[-20:]))
    rise = gap.rose(
        lambda b, a: (
            a
            >= np.minimum(np.maximum(LEAST_NATS, TIMES * b), np.maximum(SMALL_NATS, MANY_TIMES * b))
        ),
        from_start=True,
    )
    if recent < MOST_NATS and rise is None:
        return None
    return (
        f"|learner - sampler| log-probability {recent:.4f} nats a token, {gap.start():.4f} at the "
        "start"
    )
