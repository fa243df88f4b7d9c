"""The policy jumped away from the reference."""

import numpy as np

from tersely.dynamics.alarms import RECENT, Severity
from tersely.dynamics.log import StepLog

PLACE, SEVERITY = 100, Severity.WARNING
COLUMNS = ("kl_mean",)
LEAST_NATS, TIMES, STEP_TIMES, LARGEST_TIMES = 0.05, 5, 10, 3
REASON = "the policy jumped: a batch of odd rewards or too large a step"
ADVICE = "lower learner.learning_rate or learner.max_grad_norm, and read the step's rollouts"


def kl_spike(log: StepLog) -> str | None:
    """KL of the last five steps above 0.05 nats, and above the 50 before: five times their median
    for all five, or in one step ten times their median and three times their largest."""
    kl_N = log.get("kl_mean")
    known_N = np.array([]) if kl_N is None else kl_N[np.isfinite(kl_N)]
    if known_N.size < 3 * RECENT:
        return None
    before_K, last_K = known_N[-55:-5], known_N[-5:]
    usual, recent, peak = float(np.median(before_K)), float(np.median(last_K)), float(last_K.max())
    jumped = recent >= max(LEAST_NATS, TIMES * usual)
    if not jumped and peak < max(
        LEAST_NATS, STEP_TIMES * usual, LARGEST_TIMES * float(before_K.max())
    ):
        return None
    seen = f"{recent:.4f} nats a token" if jumped else f"{peak:.4f} nats a token in one step"
    return f"KL to the reference {usual:.4f} → {seen}, within the last five"
