"""Sampler and learner are not one policy."""

from tersely.dynamics.alarms import Severity, see
from tersely.dynamics.log import StepLog

PLACE, SEVERITY = 130, Severity.WARNING
COLUMNS = ("sampler_mismatch",)
LEAST_NATS, TIMES = 0.05, 3
REASON = "the rollouts are of another policy than the one that is trained"
ADVICE = "set loss.importance_cap = 2, or find which side has stale or coarser weights"


def sampler_mismatch(log: StepLog) -> str | None:
    """Sampler and learner differ by more than 0.05 nats a token, and three times their start."""
    gap = see(log, "sampler_mismatch")
    if gap is None or gap.recent < LEAST_NATS or gap.recent < TIMES * gap.start:
        return None
    return f"|learner - sampler| log-probability {gap.start:.4f} → {gap.recent:.4f} nats a token"
