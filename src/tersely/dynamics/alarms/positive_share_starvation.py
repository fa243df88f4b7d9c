"""Hardly a rollout is rewarded."""

from tersely.dynamics.alarms import Severity, see
from tersely.dynamics.log import StepLog

PLACE, SEVERITY = 80, Severity.WARNING
COLUMNS = ("positive_share",)
LEAST_SHARE = 0.08
REASON = (
    "rare positives leave the length penalty on wrong rollouts to steer; density of positives "
    "is what keeps training stable (arXiv:2602.20945, Section 3.1)"
)
ADVICE = "raise target.tokens, train on easier prompts or raise sampling.samples_per_prompt"


def positive_share_starvation(log: StepLog) -> str | None:
    """Less than 8% of rollouts rewarded."""
    positive = see(log, "positive_share")
    if positive is None or positive.recent >= LEAST_SHARE:
        return None
    return f"{positive.recent:.1%} of the last rollouts were rewarded"
