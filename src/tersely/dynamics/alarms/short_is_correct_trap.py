"""The policy learns that short is correct."""

from tersely.dynamics.alarms import Severity
from tersely.dynamics.noise import ERRORS, NoisyLog
from tersely.dynamics.purpose import harder, held_out_stands, left, target_moved

PLACE, SEVERITY = 20, Severity.ERROR
COLUMNS: tuple[str, ...] = ("tokens_mean", "entropy_mean")
SAID = {"positive_share": "rewarded rollouts", "accuracy": "accuracy"}
EITHER = ("positive_share", "accuracy")
TOKENS_LEFT, ENTROPY_LEFT, SHARE_LEFT = 0.5, 0.75, 0.9
# Where the share never rose: half of the entropy, or seven tenths of the share.
PLAIN_ENTROPY_LEFT, PLAIN_SHARE_LEFT = 0.5, 0.7
REASON = (
    "shorter answers are rewarded less often and still win: the policy learns that short is "
    "correct; in the paper entropy spikes 150 to 200 steps later and the run is lost "
    "(arXiv:2602.20945, Section 3.2)"
)
ADVICE = (
    'set treatment.cells = "vanilla" or sampling.cap_tokens = target.tokens, so that wrong '
    "short rollouts are pushed down too"
)


def short_is_correct_trap(log: NoisyLog) -> str | None:
    """Length below half and entropy below 0.75 of their start, and rewarded rollouts, which had
    risen, 10% below their most; where they had not, entropy below half, or 30% fewer rewarded."""
    tokens, entropy = left(log, "tokens_mean"), left(log, "entropy_mean")
    name = next((name for name in EITHER if log.get(name) is not None), "")
    share = log.get(name)
    if share is None or not (tokens < TOKENS_LEFT and entropy < ENTROPY_LEFT):
        return None
    fall = share.fell(lambda before, after: after <= SHARE_LEFT * before)
    if fall is None or harder(log, fall) or target_moved(log, fall) < 0:
        return None
    if held_out_stands(log, share, fall):
        return None
    rose = fall.before - share.start() >= ERRORS * fall.error
    plain = entropy < PLAIN_ENTROPY_LEFT or fall.after <= PLAIN_SHARE_LEFT * fall.before
    if not (rose or plain):
        return None
    return (
        f"length at {tokens:.0%} of its start, entropy at {entropy:.0%}, {SAID[name]} "
        f"{fall.before:.1%} → {fall.after:.1%} (standard error {fall.error:.1%})"
    )
