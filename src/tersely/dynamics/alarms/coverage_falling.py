"""Fewer prompts are solved at all while accuracy stands."""

import numpy as np

from tersely.dynamics.alarms import RECENT, Severity, see
from tersely.dynamics.log import StepLog

PLACE, SEVERITY = 110, Severity.WARNING
COLUMNS = ("solved_share", "accuracy")
FALL, ERRORS, ACCURACY_FALL = 0.05, 4, 0.02
REASON = (
    "what the policy could do in some tries it no longer tries: Mean@k is kept by what it "
    "could do anyway; in the paper Pass@k stays flat (arXiv:2602.20945, Section 3.2)"
)
ADVICE = (
    "compare Pass@k of a checkpoint with the base (tersely compare), raise target.tokens or "
    "sampling.temperature, or train on harder prompts too"
)


def coverage_falling(log: StepLog) -> str | None:
    """Prompts solved in at least one try fell by 5 points and four standard errors while the share
    of right rollouts stands within 2 points of its start or above."""
    solved_N, accuracy = log.get("solved_share"), see(log, "accuracy")
    if solved_N is None or accuracy is None or accuracy.recent < accuracy.start - ACCURACY_FALL:
        return None
    known_N = solved_N[np.isfinite(solved_N)]
    if known_N.size < 2 * RECENT:
        return None
    start_K, recent_K = known_N[:RECENT], known_N[-RECENT:]
    fell = float(start_K.mean() - recent_K.mean())
    error = float(np.sqrt((start_K.var(ddof=1) + recent_K.var(ddof=1)) / RECENT))
    if fell < max(FALL, ERRORS * error):
        return None
    return (
        f"prompts with a right rollout (Pass@N) {start_K.mean():.1%} → {recent_K.mean():.1%} "
        f"(standard error {error:.1%}) at accuracy {accuracy.start:.2f} → {accuracy.recent:.2f}"
    )
