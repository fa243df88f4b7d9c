"""Accuracy goes while the length stays."""

from tersely.dynamics.alarms import Severity
from tersely.dynamics.alarms.reasoning_collapse import TOKENS_LEFT
from tersely.dynamics.alarms.reward_hacking import reward_hacking
from tersely.dynamics.noise import NoisyLog
from tersely.dynamics.purpose import accuracy_fall, cannot_tell, left

PLACE, SEVERITY, FEWEST = 12, Severity.ERROR, 20
COLUMNS: tuple[str, ...] = ("accuracy",)
REASON = (
    "the policy unlearns what it could do; the length is no cause, as it is about what it was: too "
    "large a step, a wrong reward, or damaged weights"
)
ADVICE = (
    "go back to the checkpoint before it, compare it with the base (tersely compare), lower "
    "learner.learning_rate, and read which rollouts are rewarded"
)


def accuracy_falling(log: NoisyLog) -> str | None:
    """Accuracy 12% below its start or best, at a length above 0.7 of its start; where reward rose
    meanwhile, that is said instead."""
    fall = accuracy_fall(log)
    if fall is None or left(log, "tokens_mean") <= TOKENS_LEFT or reward_hacking(log) is not None:
        return None
    return (
        f"accuracy {fall.before:.3f} → {fall.after:.3f} (standard error {fall.error:.3f}), length "
        f"did not fall with it{cannot_tell(log)}"
    )
