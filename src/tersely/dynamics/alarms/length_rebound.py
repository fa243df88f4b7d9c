"""Length comes back, with entropy."""

from tersely.dynamics.alarms import Severity, see
from tersely.dynamics.log import StepLog

PLACE, SEVERITY = 60, Severity.WARNING
COLUMNS = ("tokens_mean", "entropy_mean")
TOKENS_TIMES, ENTROPY_TIMES = 1.15, 1.2
REASON = "right rollouts become longer again under stale updates (arXiv:2602.20945, Section 3.3)"
ADVICE = "take the checkpoint at the least length, and lower learner.staleness"


def length_rebound(log: StepLog) -> str | None:
    """Length 15% above its least and entropy 20% above its start."""
    tokens, entropy = see(log, "tokens_mean"), see(log, "entropy_mean")
    if tokens is None or entropy is None:
        return None
    if tokens.recent < TOKENS_TIMES * tokens.least:
        return None
    if entropy.recent < ENTROPY_TIMES * entropy.start:
        return None
    return (
        f"length {tokens.least:,.0f} → {tokens.recent:,.0f} tokens with entropy at "
        f"{entropy.recent / entropy.start:.1f} times its start"
    )
