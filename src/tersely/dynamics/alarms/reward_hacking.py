"""Reward rises while accuracy falls."""

from tersely.dynamics.alarms import Severity
from tersely.dynamics.noise import NoisyLog
from tersely.dynamics.purpose import accuracy_fall, cannot_tell, target_moved

PLACE, SEVERITY, FEWEST = 14, Severity.ERROR, 20
COLUMNS: tuple[str, ...] = ("accuracy",)
EITHER = ("reward_mean", "positive_share")
ERRORS = 3
REASON = (
    "the policy is paid for something else than right answers: a format, a length, a hole in the "
    "grader"
)
ADVICE = (
    "read the rewarded rollouts that are wrong (rollouts/), close what pays them, and go back to "
    "the checkpoint before it"
)


def reward_hacking(log: NoisyLog) -> str | None:
    """Accuracy 12% below its start or best while reward rose by three standard errors."""
    fall = accuracy_fall(log)
    if fall is None or target_moved(log, fall) > 0:
        return None
    for name in EITHER:
        paid = log.get(name)
        change = None if paid is None else paid.over(fall)
        if change is not None and change.after - change.before >= ERRORS * change.error > 0:
            return (
                f"accuracy {fall.before:.3f} → {fall.after:.3f} (standard error {fall.error:.3f}) "
                f"while {name} rose {change.before:.3f} → {change.after:.3f}{cannot_tell(log)}"
            )
    return None
