"""The policy walks away from the reference, step after step."""

from typing import Any

import numpy as np

from tersely.dynamics.alarms import Severity
from tersely.dynamics.noise import FEW, RECENT, NoisyColumn, NoisyLog
from tersely.dynamics.purpose import PAID, rose

PLACE, SEVERITY = 101, Severity.WARNING
COLUMNS: tuple[str, ...] = ("kl_mean",)
TIMES, LEAST_NATS, FAR_NATS, LOST_NATS = 10.0, 0.1, 0.3, 1.0
# A line from near 0 has 1.5 times of what it had at two thirds.
FASTER, EARLIER = 2.5, 2 / 3
REASON = (
    "KL grows from about 0 in every run, in return for what is learned; so far, and for nothing "
    "that the log shows, the policy drifts, and its texts with it"
)
ADVICE = (
    "lower learner.learning_rate, add or raise the KL term (loss.kl_coef), and compare a "
    "checkpoint with the base (tersely compare)"
)


def kl_growth(log: NoisyLog) -> str | None:
    """KL ten times its start and 1 nat a token; or, where neither accuracy nor reward rose, 0.3
    nats, or 0.1 and 2.5 times what it was at two thirds of the run."""
    kl = log.logarithm("kl_mean")
    rise = kl and kl.rose(_grew, from_start=True)
    if not kl or not rise:
        return None
    # A jump of the last few records is a spike.
    if not _grew(rise.before, float(np.median(kl.value_K[-kl.records(RECENT) :]))):
        return None
    nats = float(np.exp(rise.after))
    # The clearest window may be half of the run: whether it grows faster now, the last tenth says.
    lately = kl.recent(min(RECENT, max(FEW, kl.size // 10)))
    grows = nats >= FAR_NATS or _accelerates(kl, lately)
    gained = [name for name in PAID if rose(log, name, rise)]
    if nats < LOST_NATS and (gained or not grows):
        return None
    known = any(log.get(name) is not None for name in PAID)
    paid = f"while {gained[0]} rose" if gained else "and neither accuracy nor reward rose for it"
    without = "; neither accuracy nor reward is in the log, which would show what it is for"
    now = np.exp(max(rise.after, lately))
    return (
        f"KL to the reference {np.exp(rise.before):.4f} → {now:.4f} nats a token"
        f"{f' {paid}' if known else without}"
    )


def _grew(before: Any, after: Any) -> Any:
    """Of logarithms."""
    return after >= np.maximum(np.log(LEAST_NATS), np.log(TIMES) + before)


def _accelerates(kl: NoisyColumn, lately: float) -> bool:
    step = kl.step_K[0] + EARLIER * (kl.step_K[-1] - kl.step_K[0])
    place, half = int(np.searchsorted(kl.step_K, step)), max(2, min(10, kl.size // 20))
    then = kl.mean(max(0, place - half), min(kl.size, place + half))
    return lately - then >= float(np.log(FASTER))
