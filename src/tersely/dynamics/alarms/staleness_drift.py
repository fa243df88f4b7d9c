"""Entropy rises under many updates a batch."""

import numpy as np

from tersely.dynamics.alarms import Severity
from tersely.dynamics.noise import NoisyLog

PLACE, SEVERITY = 50, Severity.WARNING
COLUMNS: tuple[str, ...] = ("entropy_mean", "staleness")
STALE, TIMES = 4, 1.4
REASON = (
    "in the paper 16 updates a batch adapt fastest, then entropy rises for hundreds of steps "
    "and length comes back (arXiv:2602.20945, Section 3.3)"
)
ADVICE = "lower learner.staleness to 1 or 2 once length has adapted"


def staleness_drift(log: NoisyLog) -> str | None:
    """With four updates a batch or more, entropy above 1.4 times its start."""
    entropy = log.logarithm("entropy_mean")
    if entropy is None or not log.staleness >= STALE:
        return None
    rise = entropy.rose(lambda b, a: a - b >= np.log(TIMES), from_start=True)
    if rise is None:
        return None
    return (
        f"entropy {np.exp(rise.before):.3f} → {np.exp(rise.after):.3f} at S = {log.staleness:.0f}"
    )
