"""Answers repeat themselves without end."""

from tersely.dynamics.alarms import Severity
from tersely.dynamics.noise import NoisyLog

PLACE, SEVERITY = 97, Severity.WARNING
COLUMNS: tuple[str, ...] = ("looping_share",)
RISE, MOST, FALL = 0.1, 0.3, 0.05
REASON = (
    "a text that is one passage over and over reaches no answer, and its many tokens teach the "
    "policy to repeat itself"
)
ADVICE = (
    "read rollouts/ of that step; go back to the checkpoint before it rose, sample at the model's "
    "own temperature, and let cut rollouts earn nothing"
)


def looping(log: NoisyLog) -> str | None:
    """Rollouts that end in a loop rose by 10 points, or are 30% and did not fall by 5 points."""
    loops = log.get("looping_share")
    if loops is None or not loops.covers(20):
        return None
    rise = loops.rose(lambda b, a: a - b >= RISE)
    if rise is not None:
        return f"rollouts that end in a loop {rise.before:.1%} → {rise.after:.1%}"
    if loops.recent() < MOST or loops.fell(lambda b, a: b - a >= FALL) is not None:
        return None
    return f"{loops.recent():.1%} of the last rollouts end in a loop"
