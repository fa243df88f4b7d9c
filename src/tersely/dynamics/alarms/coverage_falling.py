"""Fewer prompts are solved at all while accuracy stands."""

from tersely.dynamics.alarms import Severity
from tersely.dynamics.noise import NoisyLog
from tersely.dynamics.purpose import harder

PLACE, SEVERITY = 110, Severity.WARNING
COLUMNS: tuple[str, ...] = ("solved_share", "accuracy")
FALL, ACCURACY_FALL = 0.05, 0.02
REASON = (
    "what the policy could do in some tries it no longer tries: Mean@k is kept by what it "
    "could do anyway; in the paper Pass@k stays flat (arXiv:2602.20945, Section 3.2)"
)
ADVICE = (
    "compare Pass@k of a checkpoint with the base (tersely compare), raise target.tokens or "
    "sampling.temperature, or train on harder prompts too"
)


def coverage_falling(log: NoisyLog) -> str | None:
    """Prompts solved in at least one try fell by 5 points since the start while the share of right
    rollouts stands within 2 points of its start or above."""
    solved, accuracy = log.get("solved_share"), log.get("accuracy")
    if solved is None or accuracy is None:
        return None
    fall = solved.fell(lambda b, a: b - a >= FALL, from_start=True)
    stood = None if fall is None else accuracy.over(fall)
    if fall is None or stood is None or stood.after < stood.before - ACCURACY_FALL:
        return None
    if harder(log, fall):
        return None
    return (
        f"prompts with a right rollout (Pass@N) {fall.before:.1%} → {fall.after:.1%} "
        f"(standard error {fall.error:.1%}) at accuracy {stood.before:.2f} → {stood.after:.2f}"
    )
