"""Nearly every rollout is cut at the cap, and it does not get better."""

from tersely.dynamics.alarms import Severity, see
from tersely.dynamics.log import StepLog

PLACE, SEVERITY = 95, Severity.WARNING
COLUMNS = ("truncated_share",)
LEAST_SHARE, FALL = 0.9, 0.05
REASON = (
    "hardly an answer is reached, so that hardly a reward says anything; asked about in ms-swift "
    "issue 4950, where it was so from the first step on, which no rise shows"
)
ADVICE = (
    "read rollouts/: where texts are unfinished, raise sampling.cap_tokens; where they go on after "
    "the answer, the model does not stop: check the chat template and the stop token"
)


def truncation_stuck(log: StepLog) -> str | None:
    """At least 90% of rollouts cut, and no 5 points fewer than at their most."""
    cut = see(log, "truncated_share")
    if cut is None or cut.recent < LEAST_SHARE or cut.recent < cut.most - FALL:
        return None
    return (
        f"{cut.recent:.1%} of the last rollouts were cut at the cap, {cut.start:.1%} at the start"
    )
