"""Hardly a rollout is rewarded."""

from tersely.dynamics.alarms import Severity
from tersely.dynamics.noise import NoisyLog

PLACE, SEVERITY = 80, Severity.WARNING
COLUMNS: tuple[str, ...] = ()
EITHER = ("positive_share", "accuracy", "reward_mean")
LEAST_SHARE, CLEAR_ERRORS, FEW = 0.08, 2, 20
REASON = (
    "rare positives leave the length penalty on wrong rollouts to steer; density of positives "
    "is what keeps training stable (arXiv:2602.20945, Section 3.1)"
)
ADVICE = "raise target.tokens, train on easier prompts or raise sampling.samples_per_prompt"


def positive_share_starvation(log: NoisyLog) -> str | None:
    """Less than 8% of rollouts rewarded, or right, or a mean reward that says so."""
    name = next((name for name in EITHER if log.get(name) is not None), "")
    share = log.get(name)
    if share is None or share.recent() >= LEAST_SHARE or share.value_K.min() < 0:
        return None
    if not share.covers(FEW) or share.rose(lambda b, a: True) is not None:
        return None
    if share.recent() + CLEAR_ERRORS * share.error(20) >= LEAST_SHARE:
        return None
    words = {"positive_share": "rewarded", "accuracy": "right"}.get(
        name, "rewarded, if a reward is 0 or 1"
    )
    return f"{share.recent():.1%} of the last rollouts were {words}"
