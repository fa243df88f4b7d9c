"""Overlong rollouts are not punished, and grow."""

import numpy as np

from tersely.dynamics.alarms import Severity
from tersely.dynamics.noise import NoisyLog
from tersely.dynamics.purpose import target_moved

PLACE, SEVERITY = 70, Severity.WARNING
COLUMNS: tuple[str, ...] = ("tokens_mean", "target_tokens")
TIMES = 1.15
FEWEST = 40
REASON = (
    "where nothing overlong is punished, being overlong avoids punishment "
    "(arXiv:2602.20945, Section 3.2, masks of both long cells)"
)
ADVICE = 'do not mask both long cells: set treatment.cells = "no-long-correct" or "vanilla"'


def overlong_hacking(log: NoisyLog) -> str | None:
    """Mean length above the target and 15% above its least, while the target did not rise."""
    tokens, target = log.logarithm("tokens_mean"), log.get("target_tokens")
    if tokens is None or target is None:
        return None
    rise = tokens.rose(lambda b, a: a - b >= np.log(TIMES))
    if rise is None or np.exp(rise.after) <= target.recent() or target_moved(log, rise) > 0:
        return None
    return (
        f"length {np.exp(rise.before):,.0f} → {np.exp(rise.after):,.0f} tokens, beyond the target "
        f"{target.recent():,.0f}"
    )
