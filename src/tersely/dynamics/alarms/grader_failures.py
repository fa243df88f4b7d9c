"""More answers cannot be read or graded."""

from tersely.dynamics.alarms import Severity, see
from tersely.dynamics.log import StepLog

PLACE, SEVERITY = 120, Severity.WARNING
# Either of two shares will do.
COLUMNS: tuple[str, ...] = ()
RISE = 0.05
REASON = (
    "a policy that learns to avoid the grader, or a grader that times out, looks like learning "
    "or forgetting (open-r1 issues 420 and 430, verifiers pull request 831)"
)
ADVICE = "read rollouts/ for what is not parsed; ungraded answers are left out, not wrong"


def grader_failures(log: StepLog) -> str | None:
    """Answers that could not be read or graded 5 points above their start."""
    parts = [see(log, name) for name in ("unparsed_share", "ungraded_share")]
    known = [part for part in parts if part is not None]
    start, recent = sum(part.start for part in known), sum(part.recent for part in known)
    if not known or recent < start + RISE:
        return None
    return f"answers not read or not graded {start:.1%} → {recent:.1%}"
