"""Length doubles within a few steps."""

import numpy as np

from tersely.dynamics.alarms import Severity
from tersely.dynamics.noise import ERRORS, SHORTEST, START, Move, NoisyColumn, NoisyLog
from tersely.dynamics.purpose import PAID, harder, rose, target_moved

PLACE, SEVERITY = 58, Severity.WARNING
COLUMNS: tuple[str, ...] = ("tokens_mean",)
TIMES, FASTER, WITHIN, LATELY = 2.0, 3.0, 20, 5
REASON = (
    "reasoning that is learned grows over many steps and is paid for; a jump that pays nothing is "
    "mostly texts that repeat themselves or never end"
)
ADVICE = (
    "read the longest rollouts (rollouts/), evaluate a checkpoint from before the jump (tersely "
    "eval), and lower learner.learning_rate"
)


def length_explosion(log: NoisyLog) -> str | None:
    """Length, of five records, twice what it was 20 steps before, of ten, and three times as much
    of a rise as in the 20 steps before these.

    Silent where more rollouts are right or rewarded, the target rose or prompts became harder.
    """
    tokens = log.logarithm("tokens_mean")
    jump = tokens and _jump(tokens)
    if not jump or jump.after - jump.before < max(np.log(TIMES), ERRORS * jump.error):
        return None
    if any(rose(log, name, jump) for name in PAID):
        return None
    if target_moved(log, jump) > 0 or harder(log, jump):
        return None
    return (
        f"length {np.exp(jump.before):,.0f} → {np.exp(jump.after):,.0f} tokens within "
        f"{jump.lately - jump.until:,.0f} steps"
    )


def _jump(tokens: NoisyColumn) -> Move | None:
    """From 20 steps before the last records to these; None where the log has too few records for
    that, or length rose before as well."""
    late, early = tokens.records(LATELY, least=SHORTEST), tokens.records(START)
    if tokens.size < late:
        return None
    lately = float(tokens.step_K[-late])
    end, earlier = (
        int(np.searchsorted(tokens.step_K, lately - times * WITHIN, side="right"))
        for times in (1, 2)
    )
    if earlier < early or lately - tokens.step_K[end - 1] > 2 * WITHIN:
        return None
    before, after = tokens.mean(end - early, end), tokens.mean(tokens.size - late, tokens.size)
    if after - before < FASTER * (before - tokens.mean(earlier - early, earlier)):
        return None
    error = float(np.hypot(tokens.error(late), tokens.error(early)))
    first, last = float(tokens.step_K[end - early]), float(tokens.step_K[end - 1])
    return Move(before, after, error, first, last, lately)
