"""The policy spreads over tokens that nothing rewards."""

import numpy as np

from tersely.dynamics.alarms import Severity
from tersely.dynamics.noise import NoisyLog

PLACE, SEVERITY = 30, Severity.ERROR
COLUMNS: tuple[str, ...] = ("entropy_mean",)
TIMES = 2.5
REASON = (
    "the policy spreads over tokens that nothing rewards: the end of the trap, or of many "
    "stale updates (arXiv:2602.20945, Sections 3.2 and 3.3)"
)
ADVICE = (
    "go back to the last checkpoint before it rose; lower learner.staleness or "
    "learner.learning_rate, leave loss.entropy_coef at 0"
)


def entropy_explosion(log: NoisyLog) -> str | None:
    """Entropy above 2.5 times its start."""
    entropy = log.logarithm("entropy_mean")
    rise = entropy and entropy.rose(lambda b, a: a - b >= np.log(TIMES), from_start=True)
    if not rise:
        return None
    return f"entropy {np.exp(rise.before):.3f} → {np.exp(rise.after):.3f} nats a token"
