"""Rollouts of a prompt become one before the task is learned."""

from tersely.dynamics.alarms import Severity, see
from tersely.dynamics.log import StepLog

PLACE, SEVERITY = 40, Severity.WARNING
COLUMNS = ("entropy_mean", "accuracy")
LEFT, LEARNED_ACCURACY = 0.1, 0.9
REASON = "rollouts of a prompt become one: groups lose their signal before the task is learned"
ADVICE = "raise loss.clip_high or sampling.temperature, or set a small loss.entropy_coef"


def entropy_collapse(log: StepLog) -> str | None:
    """Entropy below a tenth of its start with accuracy still below 0.9."""
    entropy, accuracy = see(log, "entropy_mean"), see(log, "accuracy")
    if entropy is None or accuracy is None or accuracy.recent >= LEARNED_ACCURACY:
        return None
    if entropy.recent > LEFT * entropy.start:
        return None
    return (
        f"entropy {entropy.start:.3f} → {entropy.recent:.3f} nats a token at accuracy "
        f"{accuracy.recent:.2f}"
    )
