"""A curve of the run ends while the run goes on."""

import numpy as np
from jaxtyping import Float

from tersely.dynamics.alarms import Severity
from tersely.dynamics.log import StepLog
from tersely.dynamics.noise import NoisyLog

PLACE, SEVERITY = 40, Severity.ERROR
# Any of several will do.
COLUMNS: tuple[str, ...] = ()
LEAST_RECORDS, LEAST_AFTER_GAPS, GAP_TIMES = 5, 10, 5
MOST_GAPS = 0.05
FEWEST = LEAST_RECORDS + 1
# Not lengths of parts of the rollouts: such a part may come to be empty.
CURVES = (
    "loss",
    "grad_norm",
    "entropy_mean",
    "kl_mean",
    "reward_mean",
    "tokens_mean",
    "accuracy",
    "positive_share",
    "truncated_share",
    "clip_share",
)
# Every step that learns has these.
ALWAYS = ("loss", "grad_norm")
REASON = (
    "one loss or gradient that is NaN makes the weights NaN, and every later step is lost; and "
    "where another curve ends, the alarms that read it are silent"
)
ADVICE = (
    "read the log at that step; where loss or gradient became NaN, go back to the last checkpoint "
    "before it and lower learner.learning_rate or learner.max_grad_norm"
)


def curve_ended(log: NoisyLog) -> str | None:
    """A curve without gaps has had no finite value for 5 records, or one with gaps for 10 records
    and five times its longest gap."""
    return say_ended(log.log)


def say_ended(log: StepLog) -> str | None:
    """``loss and grad_norm have no finite value from step 21``; None where no curve ended."""
    # Where no group has a signal nothing is learned: such a step has no loss, and is healthy.
    learned_N = np.asarray(log.columns.get("update_tokens", np.ones(log.step_N.size))) != 0
    step_K = log.step_N[learned_N]
    ended: dict[int, list[str]] = {}
    for name in CURVES:
        values_N = log.columns.get(name)
        if values_N is None:
            continue
        at = _end(values_N[learned_N], always=name in ALWAYS)
        if at is not None:
            ended.setdefault(at, []).append(name)
    parts = []
    for at, names in sorted(ended.items()):
        *others, last = names
        said = f"{', '.join(others)} and {last} have" if others else f"{last} has"
        parts.append(f"{said} no finite value from step {step_K[at]:.0f}")
    return ", and ".join(parts) or None


def _end(values_N: Float[np.ndarray, " N"], *, always: bool) -> int | None:
    """The record from which a column has no value any more, or the first where it never had one
    and always should."""
    (known_K,) = np.nonzero(np.isfinite(values_N))
    if not known_K.size:
        return 0 if always and values_N.size >= LEAST_RECORDS else None
    at = int(known_K[-1]) + 1
    longest_gap = int(np.diff(known_K).max(initial=1)) - 1
    least = max(LEAST_AFTER_GAPS, GAP_TIMES * longest_gap)
    if known_K.size > 1 and not longest_gap:
        least = LEAST_RECORDS
    return at if values_N.size - at >= least else None


def say_gaps(log: StepLog) -> str | None:
    """``loss has no finite value at step 57``: of curves that nearly every record has."""
    learned_N = np.asarray(log.columns.get("update_tokens", np.ones(log.step_N.size))) != 0
    parts = []
    for name in CURVES:
        bad_N = ~np.isfinite(np.asarray(log.columns.get(name, np.zeros(log.step_N.size))))
        bad_N &= learned_N
        if 0 < bad_N.sum() <= MOST_GAPS * bad_N.size and not bad_N[-1]:
            steps = ", ".join(f"{step:.0f}" for step in log.step_N[bad_N][:5])
            parts.append(f"{name} at step {steps}")
    return f"No finite value, alone: {'; '.join(parts)}." if parts else None
