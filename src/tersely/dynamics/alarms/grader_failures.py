"""Answers cannot be read or graded."""

from tersely.dynamics.alarms import Severity
from tersely.dynamics.noise import NoisyLog

PLACE, SEVERITY = 120, Severity.WARNING
COLUMNS: tuple[str, ...] = ()
EITHER = ("unparsed_share", "ungraded_share")
RISE, MOST, FALL = 0.05, 0.5, 0.05
REASON = (
    "a policy that learns to avoid the grader, or a grader that times out, looks like learning "
    "or forgetting (open-r1 issues 420 and 430, verifiers pull request 831)"
)
ADVICE = "read rollouts/ for what is not parsed; ungraded answers are left out, not wrong"


def grader_failures(log: NoisyLog) -> str | None:
    """Answers that could not be read, or not graded, 5 points above their least; or half of all,
    and not 5 points fewer than at their most."""
    for name in EITHER:
        share = log.get(name)
        if share is None or not share.covers(20):
            continue
        words = "not read" if name == "unparsed_share" else "not graded"
        rise = share.rose(lambda b, a: a - b >= RISE)
        if rise is not None:
            return f"answers {words} {rise.before:.1%} → {rise.after:.1%}"
        if share.recent() >= MOST and share.fell(lambda b, a: b - a >= FALL) is None:
            return f"{share.recent():.1%} of the last answers were {words}"
    return None
