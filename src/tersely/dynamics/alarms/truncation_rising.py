"""More rollouts are cut at the cap."""

from tersely.dynamics.alarms import Severity, see
from tersely.dynamics.log import StepLog

PLACE, SEVERITY = 90, Severity.WARNING
COLUMNS = ("truncated_share",)
RISE, TIMES = 0.05, 1.5
REASON = "what is cut cannot be right, and pays for tokens that teach little"
ADVICE = "raise sampling.cap_tokens, or look for texts that repeat themselves in rollouts/"


def truncation_rising(log: StepLog) -> str | None:
    """Cut rollouts 5 points above their least and half as many again."""
    cut = see(log, "truncated_share")
    if cut is None or cut.recent < cut.least + RISE or cut.recent < TIMES * cut.least:
        return None
    return f"rollouts cut at the cap {cut.least:.1%} → {cut.recent:.1%}"
