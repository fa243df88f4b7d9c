"""A curve of the run ends while the run goes on."""

import numpy as np
from jaxtyping import Bool, Float, Int

from tersely.dynamics.alarms import Severity
from tersely.dynamics.log import StepLog
from tersely.dynamics.noise import NoisyLog

PLACE, SEVERITY = 40, Severity.ERROR
# Any of several will do.
COLUMNS: tuple[str, ...] = ()
LEAST_RECORDS, LEAST_AFTER_GAPS, GAP_TIMES = 5, 10, 5
MOST_GAPS, MOST_SAID = 0.05, 5
FEWEST = LEAST_RECORDS + 1
EVERY_RECORD = True
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


def moments(log: StepLog) -> Int[np.ndarray, " M"]:
    """After how many records a curve comes to be seen as ended."""
    (learned_K,) = np.nonzero(_learned(log))
    stands_K = np.zeros(learned_K.size, dtype=bool)
    for name in CURVES:
        if name in log.columns:
            known_K = np.isfinite(log.columns[name][learned_K])
            stands_K |= _since(known_K, always=name in ALWAYS) >= 0
    return np.asarray(learned_K[stands_K & ~np.append(False, stands_K)[:-1]] + 1)


def say_ended(log: StepLog) -> str | None:
    """``loss and grad_norm have no finite value from step 21``; None where no curve ended."""
    learned_N = _learned(log)
    step_K = log.step_N[learned_N]
    ended: dict[int, list[str]] = {}
    for name in CURVES:
        if name not in log.columns or not step_K.size:
            continue
        known_K = np.isfinite(log.columns[name][learned_N])
        at = int(_since(known_K, always=name in ALWAYS)[-1])
        if at >= 0:
            ended.setdefault(at, []).append(name)
    parts = []
    for at, names in sorted(ended.items()):
        *others, last = names
        said = f"{', '.join(others)} and {last} have" if others else f"{last} has"
        parts.append(f"{said} no finite value from step {step_K[at]:.0f}")
    return ", and ".join(parts) or None


def _learned(log: StepLog) -> Bool[np.ndarray, " N"]:
    """Where no group has a signal nothing is learned: such a step has no loss, and is healthy."""
    learned_N: Bool[np.ndarray, " N"] = (
        log.columns.get("update_tokens", np.ones(log.step_N.size)) != 0
    )
    return learned_N


def _since(known_K: Bool[np.ndarray, " K"], *, always: bool) -> Int[np.ndarray, " K"]:
    """At each record, the one from which the column has no value any more, or the first where it
    never had one and always should; -1 where it goes on."""
    place_K = np.arange(1, known_K.size + 1)
    count_K = np.cumsum(known_K)
    last_K = np.maximum.accumulate(np.where(known_K, place_K, 0))
    gap_K = place_K - last_K
    closed_K = np.where(known_K & (count_K > 1), np.append(0, gap_K)[:-1], 0)
    longest_K = np.maximum.accumulate(closed_K)
    least_K = np.maximum(LEAST_AFTER_GAPS, GAP_TIMES * longest_K)
    least_K[(count_K > 1) & (longest_K == 0)] = LEAST_RECORDS
    never_K = (count_K == 0) & always & (place_K >= LEAST_RECORDS)
    ended_K = np.where(count_K == 0, never_K, gap_K >= least_K)
    return np.asarray(np.where(ended_K, last_K, -1))


def say_gaps(log: StepLog) -> list[str]:
    """``loss has no finite value at step 57``: of curves that nearly every record has; and where
    the log itself says NaN or infinite."""
    learned_N = _learned(log)
    written, missing = [], []
    for name in CURVES:
        bad_N = ~np.isfinite(log.columns.get(name, np.zeros(log.step_N.size))) & learned_N
        said_N = bad_N & np.isin(log.step_N, log.not_finite.get(name, ()))
        if said_N.any():
            written.append(_say_steps(name, log.step_N[said_N]))
        bad_N &= ~said_N
        if 0 < bad_N.sum() <= MOST_GAPS * bad_N.size and not bad_N[-1]:
            missing.append(_say_steps(name, log.step_N[bad_N]))
    parts = (("Written as NaN or infinite", written), ("No finite value, alone", missing))
    return [f"{what}: {'; '.join(said)}." for what, said in parts if said]


def _say_steps(name: str, step_K: Float[np.ndarray, " K"]) -> str:
    more = f" and {step_K.size - MOST_SAID} more" if step_K.size > MOST_SAID else ""
    return f"{name} at step {', '.join(f'{step:.0f}' for step in step_K[:MOST_SAID])}{more}"
