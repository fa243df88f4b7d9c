"""The policy spreads over tokens that nothing rewards."""

from tersely.dynamics.alarms import Severity, see
from tersely.dynamics.log import StepLog

PLACE, SEVERITY = 30, Severity.ERROR
COLUMNS = ("entropy_mean",)
TIMES = 2.5
REASON = (
    "the policy spreads over tokens that nothing rewards: the end of the trap, or of many "
    "stale updates (arXiv:2602.20945, Sections 3.2 and 3.3)"
)
ADVICE = (
    "go back to the last checkpoint before it rose; lower learner.staleness or "
    "learner.learning_rate, leave loss.entropy_coef at 0"
)


def entropy_explosion(log: StepLog) -> str | None:
    """Entropy above 2.5 times its start."""
    entropy = see(log, "entropy_mean")
    if entropy is None or entropy.start <= 0 or entropy.recent < TIMES * entropy.start:
        return None
    return f"entropy {entropy.start:.3f} → {entropy.recent:.3f} nats a token"
