"""Length comes back."""

import numpy as np

from tersely.dynamics.alarms import Severity
from tersely.dynamics.noise import ERRORS, RECENT, NoisyLog
from tersely.dynamics.purpose import harder, left, rose, target_moved

PLACE, SEVERITY = 60, Severity.WARNING
COLUMNS: tuple[str, ...] = ("tokens_mean",)
FELL, TIMES, TIMES_WITH_ENTROPY, ENTROPY_TIMES = 0.8, 1.35, 1.15, 1.2
REASON = "right rollouts become longer again under stale updates (arXiv:2602.20945, Section 3.3)"
ADVICE = "take the checkpoint at the least length, and lower learner.staleness"


def length_rebound(log: NoisyLog) -> str | None:
    """After a fall by a fifth, length 35% above its least, or 15% with entropy 20% above its start.

    Silent where the target rose, prompts became harder or length is beyond the target; and where,
    with steady entropy, more rollouts are right or rewarded.
    """
    tokens = log.logarithm("tokens_mean")
    if tokens is None:
        return None
    times = TIMES_WITH_ENTROPY if left(log, "entropy_mean") >= ENTROPY_TIMES else TIMES
    rise = tokens.rose(lambda b, a: a - b >= np.log(times), shortest=(RECENT, RECENT))
    if rise is None:
        return None
    fell = tokens.start() - rise.before
    if fell < max(-np.log(FELL), ERRORS * rise.error):
        return None
    if times == TIMES and any(rose(log, name, rise) for name in ("accuracy", "positive_share")):
        return None
    target = log.get("target_tokens")
    beyond = target is not None and np.exp(rise.after) > target.recent()
    if beyond or target_moved(log, rise) > 0 or harder(log, rise):
        return None
    return f"length {np.exp(rise.before):,.0f} → {np.exp(rise.after):,.0f} tokens since its least"
