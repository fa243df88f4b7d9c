"""The policy jumped away from the reference."""

import numpy as np
from jaxtyping import Int

from tersely.dynamics.alarms import Severity
from tersely.dynamics.log import StepLog
from tersely.dynamics.noise import NoisyLog
from tersely.dynamics.spikes import LATELY, jump_moments, jumped, spikes

PLACE, SEVERITY = 100, Severity.WARNING
COLUMNS: tuple[str, ...] = ("kl_mean",)
LEAST_NATS, TIMES, STEP_TIMES, SERIES_TIMES = 0.05, 5.0, 10.0, 1.8
REASON = "the policy jumped: a batch of odd rewards or too large a step"
ADVICE = "lower learner.learning_rate or learner.max_grad_norm, and read the step's rollouts"


def kl_spike(log: NoisyLog) -> str | None:
    """KL of five steps above 0.05 nats and five times the median of those before, or ten times in
    one step; or a series of at least 3 single steps above 1.8 times the median about them."""
    kl = log.get("kl_mean")
    if kl is None:
        return None
    last = jumped(kl.value_K, times=TIMES, step_times=STEP_TIMES, least=LEAST_NATS)
    if last is not None:
        return (
            f"KL to the reference {last[0]:.4f} → {last[1]:.4f} nats a token, within the last five"
        )
    found_K = spikes(kl.value_K, times=SERIES_TIMES)
    if not found_K.size:
        return None
    steps = ", ".join(f"{step:.0f}" for step in kl.step_K[-LATELY:][found_K][-5:])
    largest = float(np.max(kl.value_K[-LATELY:][found_K]))
    return (
        f"{found_K.size} steps with a spike of KL, up to {largest:.4f} nats a token; the last are "
        f"{steps}"
    )


def moments(log: StepLog) -> Int[np.ndarray, " M"]:
    """After how many records a jump comes to be seen, which is seen for five."""
    return jump_moments(log, "kl_mean", times=TIMES, step_times=STEP_TIMES, least=LEAST_NATS)
