"""Overlong rollouts are not punished, and grow."""

from tersely.dynamics.alarms import RECENT, Severity, see
from tersely.dynamics.log import StepLog

PLACE, SEVERITY = 70, Severity.WARNING
COLUMNS = ("tokens_mean", "target_tokens")
TIMES = 1.1
REASON = (
    "where nothing overlong is punished, being overlong avoids punishment "
    "(arXiv:2602.20945, Section 3.2, masks of both long cells)"
)
ADVICE = 'do not mask both long cells: set treatment.cells = "no-long-correct" or "vanilla"'


def overlong_hacking(log: StepLog) -> str | None:
    """Mean length above the target and 10% above its least."""
    tokens, target = see(log, "tokens_mean"), see(log, "target_tokens")
    if tokens is None or target is None or tokens.recent <= target.recent:
        return None
    if tokens.recent < TIMES * tokens.least or log.step_N.size < 4 * RECENT:
        return None
    return (
        f"length {tokens.least:,.0f} → {tokens.recent:,.0f} tokens, beyond the target "
        f"{target.recent:,.0f}"
    )
