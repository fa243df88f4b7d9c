"""Rollouts of a prompt become one before the task is learned."""

import numpy as np

from tersely.dynamics.alarms import Severity
from tersely.dynamics.noise import NoisyLog

PLACE, SEVERITY = 46, Severity.WARNING
COLUMNS: tuple[str, ...] = ("entropy_mean",)
LEFT, LEARNED_ACCURACY = 0.15, 0.9
REASON = "rollouts of a prompt become one: groups lose their signal before the task is learned"
ADVICE = "raise loss.clip_high or sampling.temperature, or set a small loss.entropy_coef"


def entropy_collapse(log: NoisyLog) -> str | None:
    """Entropy below 0.15 of its start with accuracy, where it is known, still below 0.9."""
    entropy, accuracy = log.logarithm("entropy_mean"), log.get("accuracy")
    if entropy is None or (accuracy is not None and accuracy.recent() >= LEARNED_ACCURACY):
        return None
    fall = entropy.fell(lambda b, a: a - b <= np.log(LEFT), from_start=True)
    if fall is None:
        return None
    known = "is not in the log" if accuracy is None else f"stands at {accuracy.recent():.2f}"
    before, after = np.exp(fall.before), np.exp(fall.after)
    return f"entropy {before:.3f} → {after:.3f} nats a token; accuracy {known}"
