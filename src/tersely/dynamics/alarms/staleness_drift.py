"""Entropy rises under many updates a batch."""

from tersely.dynamics.alarms import Severity, see
from tersely.dynamics.log import StepLog

PLACE, SEVERITY = 50, Severity.WARNING
COLUMNS = ("entropy_mean",)
STALE, TIMES = 4, 1.4
REASON = (
    "in the paper 16 updates a batch adapt fastest, then entropy rises for hundreds of steps "
    "and length comes back (arXiv:2602.20945, Section 3.3)"
)
ADVICE = "lower learner.staleness to 1 or 2 once length has adapted"


def staleness_drift(log: StepLog) -> str | None:
    """With four updates a batch or more, entropy above 1.4 times its start."""
    entropy = see(log, "entropy_mean")
    if entropy is None or not log.staleness >= STALE or entropy.recent < TIMES * entropy.start:
        return None
    return f"entropy {entropy.start:.3f} → {entropy.recent:.3f} at S = {log.staleness:.0f}"
