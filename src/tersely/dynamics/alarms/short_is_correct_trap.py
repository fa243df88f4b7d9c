"""The policy learns that short is correct."""

from tersely.dynamics.alarms import Severity, see
from tersely.dynamics.log import StepLog

PLACE, SEVERITY = 20, Severity.ERROR
COLUMNS = ("tokens_mean", "entropy_mean", "positive_share")
LEFT, POSITIVE_LEFT = 0.5, 0.9
REASON = (
    "shorter answers are rewarded less often and still win: the policy learns that short is "
    "correct; in the paper entropy spikes 150 to 200 steps later and the run is lost "
    "(arXiv:2602.20945, Section 3.2)"
)
ADVICE = (
    'set treatment.cells = "vanilla" or sampling.cap_tokens = target.tokens, so that wrong '
    "short rollouts are pushed down too"
)


def short_is_correct_trap(log: StepLog) -> str | None:
    """Length and entropy below half of their start, and rewarded rollouts 10% below their most."""
    tokens, entropy = see(log, "tokens_mean"), see(log, "entropy_mean")
    positive = see(log, "positive_share")
    if tokens is None or entropy is None or positive is None:
        return None
    fell = tokens.recent < LEFT * tokens.start and entropy.recent < LEFT * entropy.start
    if not fell or positive.recent > POSITIVE_LEFT * positive.most:
        return None
    return (
        f"length {tokens.start:,.0f} → {tokens.recent:,.0f} tokens, entropy {entropy.start:.2f} → "
        f"{entropy.recent:.2f}, rewarded rollouts {positive.most:.1%} → {positive.recent:.1%}"
    )
