"""What is learned does not hold for other problems."""

import numpy as np

from tersely.dynamics.alarms import Severity
from tersely.dynamics.noise import NoisyLog
from tersely.dynamics.purpose import GIVEN, LEAST_FALL

PLACE, SEVERITY = 16, Severity.ERROR
COLUMNS: tuple[str, ...] = ("eval_accuracy",)
FEWEST_EVALUATIONS, FALL = 4, 0.08
REASON = (
    "accuracy on problems that are not trained on is what counts: the training set is learned by "
    "heart, or the reward pays for something else"
)
ADVICE = (
    "take the checkpoint with the best evaluation, train on more problems, and compare "
    "reward with accuracy on both sets"
)


def held_out_falling(log: NoisyLog) -> str | None:
    """Held-out accuracy 8% and 4 points below its best, 3% of it given."""
    held_out = log.get("eval_accuracy")
    if held_out is None or held_out.size < FEWEST_EVALUATIONS:
        return None
    fall = held_out.fell(
        lambda b, a: b - a >= np.maximum(FALL * b, LEAST_FALL), shortest=(1, 1), given=GIVEN
    )
    if fall is None:
        return None
    return (
        f"held-out accuracy {fall.before:.3f} → {fall.after:.3f} (standard error {fall.error:.3f})"
    )
