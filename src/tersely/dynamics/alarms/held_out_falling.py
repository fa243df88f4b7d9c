"""What is learned does not hold for other problems."""

import numpy as np

from tersely.dynamics.alarms import Severity
from tersely.dynamics.noise import NoisyLog

PLACE, SEVERITY = 16, Severity.ERROR
COLUMNS: tuple[str, ...] = ("eval_accuracy",)
FEWEST_EVALUATIONS, FALL, LEAST_FALL = 4, 0.08, 0.04
# Standard errors of the fall of one evaluation, or of the mean of two; and the least standard
# deviation of an evaluation that is believed.
ERRORS, LEAST_NOISE = {1: 5.5, 2: 4.75}, 0.015
REASON = (
    "accuracy on problems that are not trained on is what counts: the training set is learned by "
    "heart, or the reward pays for something else"
)
ADVICE = (
    "take the checkpoint with the best evaluation, train on more problems, and compare "
    "reward with accuracy on both sets"
)


def held_out_falling(log: NoisyLog) -> str | None:
    """Held-out accuracy 8% and 4 points below its best, by 5.5 standard errors in one evaluation
    or 4.75 in two; the noise is that of second differences, which no trend enters."""
    held_out = log.get("eval_accuracy")
    if held_out is None or held_out.size < FEWEST_EVALUATIONS:
        return None
    value_K, count = held_out.value_K, held_out.size
    noise = max(float(np.sqrt(np.mean(np.diff(value_K, n=2) ** 2) / 6)), LEAST_NOISE)
    # The noise of few evaluations is itself hardly known.
    noise *= 1 + 2 / (count - 2)
    for window, errors in ERRORS.items():
        means = [float(value_K[at : at + window].mean()) for at in range(count - window + 1)]
        best, recent = max(means[:-window]), means[-1]
        error = float((2 / window) ** 0.5 * noise)
        if best - recent >= max(FALL * best, LEAST_FALL, errors * error):
            return f"held-out accuracy {best:.3f} → {recent:.3f} (standard error {error:.3f})"
    return None
