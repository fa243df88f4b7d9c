"""A loss was written as NaN or infinite."""

import numpy as np
from jaxtyping import Int

from tersely.dynamics.alarms import Severity
from tersely.dynamics.log import StepLog
from tersely.dynamics.noise import NoisyLog

# A log that does not say what it has no value for is silent here, not lacking.
PLACE, SEVERITY, FEWEST = 44, Severity.WARNING, 1
COLUMNS: tuple[str, ...] = ()
REASON = (
    "a loss that is no number gives every weight a gradient that is none; where later losses are "
    "finite, the trainer left that update out, or its figure alone is wrong, and the next one may "
    "end the run"
)
ADVICE = (
    "read that step's rollouts and log-probabilities for an empty batch, a division by zero or "
    "-inf, see whether the trainer skips such updates, and lower learner.learning_rate or "
    "learner.max_grad_norm if the gradient grew before it"
)


def loss_not_finite(log: NoisyLog) -> str | None:
    """From 1 record on whose loss the log gives as NaN or infinite; a missing one is none."""
    step_W = _steps(log.log)
    step_W = step_W[step_W <= log.step_N[-1]]
    if not step_W.size:
        return None
    more = f" and {step_W.size - 5} more" if step_W.size > 5 else ""
    return (
        "the loss is written as NaN or infinite at step "
        f"{', '.join(f'{step:.0f}' for step in step_W[:5])}{more}"
    )


def moments(log: StepLog) -> Int[np.ndarray, " M"]:
    """After how many records the first such loss was there."""
    return np.searchsorted(log.step_N, _steps(log)[:1]) + 1


def _steps(log: StepLog) -> np.ndarray:
    return log.not_finite.get("loss", np.zeros(0))
