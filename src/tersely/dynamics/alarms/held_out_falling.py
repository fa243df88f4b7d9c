"""What is learned does not hold for other problems."""

import numpy as np

from tersely.dynamics.alarms import Severity
from tersely.dynamics.noise import ERRORS_OF_REST, NoisyLog
from tersely.dynamics.purpose import GIVEN

PLACE, SEVERITY = 16, Severity.ERROR
COLUMNS: tuple[str, ...] = ("eval_accuracy",)
FEWEST_EVALUATIONS, FALL, LEAST_FALL = 4, 0.08, 0.04
# The noise of an evaluation before it is known, and how many evaluations that is worth.
USUAL_NOISE, KNOWN, ERRORS = 0.02, 3, 5.0
REASON = (
    "accuracy on problems that are not trained on is what counts: the training set is learned by "
    "heart, or the reward pays for something else"
)
ADVICE = (
    "take the checkpoint with the best evaluation, train on more problems, and compare "
    "reward with accuracy on both sets"
)


def held_out_falling(log: NoisyLog) -> str | None:
    """Held-out accuracy 8% and 4 points below its best mean of up to four evaluations, by 5
    standard errors, in the last one, two or three; the noise is that of second differences, which
    no trend enters, and three more of a usual evaluation."""
    held_out = log.get("eval_accuracy")
    if held_out is None or held_out.size < FEWEST_EVALUATIONS:
        return None
    value_K, count = held_out.value_K, held_out.size
    # The noise of few evaluations is itself hardly known.
    square = np.sum(np.diff(value_K, n=2) ** 2) / 6
    noise = ((square + KNOWN * USUAL_NOISE**2) / (count - 2 + KNOWN)) ** 0.5
    for lately in (1, 2, 3):
        recent = float(value_K[-lately:].mean())
        for window in range(lately, min(4, count - lately) + 1):
            starts = range(count - lately - window + 1)
            best = max(float(value_K[at : at + window].mean()) for at in starts)
            error = float((1 / window + 1 / lately) ** 0.5 * noise)
            beyond_given = GIVEN * best + ERRORS_OF_REST * error
            if best - recent >= max(FALL * best, LEAST_FALL, ERRORS * error, beyond_given):
                return f"held-out accuracy {best:.3f} → {recent:.3f} (standard error {error:.3f})"
    return None
