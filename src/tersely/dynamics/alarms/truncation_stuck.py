"""Nearly every rollout is cut at the cap, and it does not get better."""

from tersely.dynamics.alarms import Severity
from tersely.dynamics.noise import NoisyLog

PLACE, SEVERITY = 95, Severity.WARNING
COLUMNS: tuple[str, ...] = ("truncated_share",)
LEAST_SHARE, FALL = 0.8, 0.05
REASON = (
    "hardly an answer is reached, so that hardly a reward says anything; asked about in ms-swift "
    "issue 4950, where it was so from the first step on, which no rise shows"
)
ADVICE = (
    "read rollouts/: where texts are unfinished, raise sampling.cap_tokens; where they go on after "
    "the answer, the model does not stop: check the chat template and the stop token"
)


def truncation_stuck(log: NoisyLog) -> str | None:
    """At least 80% of rollouts cut, and that share did not fall by 5 points."""
    cut = log.get("truncated_share")
    if cut is None or not cut.covers(20) or cut.recent() < LEAST_SHARE:
        return None
    if cut.fell(lambda b, a: b - a >= FALL) is not None:
        return None
    return (
        f"{cut.recent():.1%} of the last rollouts were cut at the cap, {cut.start():.1%} at the "
        "start"
    )
