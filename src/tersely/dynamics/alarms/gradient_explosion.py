"""The gradient grows out of bounds."""

from typing import Any

import numpy as np
from jaxtyping import Int

from tersely.dynamics.alarms import Severity
from tersely.dynamics.log import StepLog
from tersely.dynamics.noise import NoisyLog
from tersely.dynamics.spikes import LATELY, jump_moments, jumped, spikes

PLACE, SEVERITY = 102, Severity.WARNING
COLUMNS: tuple[str, ...] = ("grad_norm",)
TIMES, STEP_TIMES, SERIES_TIMES, LEVEL_TIMES = 8.0, 30.0, 8.0, 30.0
REASON = (
    "a batch of odd rewards or a step that is too large; clipped gradients survive it, but the "
    "optimizer's averages stay spoilt for many steps"
)
ADVICE = (
    "lower learner.learning_rate or learner.max_grad_norm, read the step's rollouts, and go back "
    "to the checkpoint before it if accuracy fell since"
)


def gradient_explosion(log: NoisyLog) -> str | None:
    """Gradient norm of five steps eight times the median of those before, or 30 times in one step;
    lately 30 times its start; or at least 3 single steps above eight times the median about
    them."""
    norm = log.get("grad_norm")
    if norm is None:
        return None
    last = jumped(norm.value_K, times=TIMES, step_times=STEP_TIMES, least=0.0)
    if last is not None:
        return f"gradient norm {last[0]:.3g} → {last[1]:.3g}, within the last five"
    level = log.logarithm("grad_norm")
    rise = level and level.rose(_exploded, from_start=True)
    if level and rise and _exploded(rise.before, level.recent()):
        before, lately = np.exp(rise.before), np.exp(level.recent())
        return f"gradient norm {before:.3g} → {lately:.3g}, step after step"
    found_K = spikes(norm.value_K, times=SERIES_TIMES)
    if not found_K.size:
        return None
    largest = float(np.max(norm.value_K[-LATELY:][found_K]))
    return f"{found_K.size} steps with a spike of the gradient norm, up to {largest:.3g}"


def _exploded(before: Any, after: Any) -> Any:
    """Of logarithms."""
    return after - before >= np.log(LEVEL_TIMES)


def moments(log: StepLog) -> Int[np.ndarray, " M"]:
    """After how many records a jump comes to be seen, which is seen for five."""
    return jump_moments(log, "grad_norm", times=TIMES, step_times=STEP_TIMES, least=0.0)
