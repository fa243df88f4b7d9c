"""Most of the update is clipped away."""

from tersely.dynamics.alarms import Severity
from tersely.dynamics.noise import NoisyLog

PLACE, SEVERITY = 132, Severity.WARNING
COLUMNS: tuple[str, ...] = ("clip_share",)
MOST = 0.3
REASON = (
    "a clipped token has no gradient: the policy moves further in a step than the loss "
    "lets it learn"
)
ADVICE = (
    "lower learner.learning_rate or learner.staleness, or widen loss.clip_low and loss.clip_high; "
    "where the share is 1, check that old and new log-probabilities are of the same tokens"
)


def clipping(log: NoisyLog) -> str | None:
    """At least 30% of tokens clipped over the last 20 records."""
    clip = log.get("clip_share")
    if clip is None or not clip.covers(20) or clip.recent() < MOST:
        return None
    return f"{clip.recent():.1%} of tokens were clipped lately, {clip.start():.1%} at the start"
