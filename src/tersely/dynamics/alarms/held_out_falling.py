"""What is learned does not hold for other problems."""

import numpy as np

from tersely.dynamics.alarms import Severity
from tersely.dynamics.noise import NoisyLog

PLACE, SEVERITY = 16, Severity.ERROR
COLUMNS: tuple[str, ...] = ("eval_accuracy",)
FEWEST_EVALUATIONS, WINDOW, FALL, LEAST_FALL, ERRORS = 4, 2, 0.08, 0.03, 4
REASON = (
    "accuracy on problems that are not trained on is what counts: the training set is learned by "
    "heart, or the reward pays for something else"
)
ADVICE = (
    "take the checkpoint with the best evaluation, train on more problems, and compare "
    "reward with accuracy on both sets"
)


def held_out_falling(log: NoisyLog) -> str | None:
    """Held-out accuracy of two evaluations 8%, 3 points and four standard errors below its best."""
    held_out = log.get("eval_accuracy")
    if held_out is None or held_out.size < FEWEST_EVALUATIONS:
        return None
    means = [held_out.mean(at, at + WINDOW) for at in range(held_out.size - WINDOW + 1)]
    best, recent = max(means[:-WINDOW]), means[-1]
    error = float(np.sqrt(2 / WINDOW) * held_out.noise)
    if best - recent < max(FALL * best, LEAST_FALL, ERRORS * error):
        return None
    return f"held-out accuracy {best:.3f} → {recent:.3f} (standard error {error:.3f})"
