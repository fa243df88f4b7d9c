"""Accuracy goes while the length stays or rises."""

import numpy as np

from tersely.dynamics.alarms import Severity
from tersely.dynamics.alarms.reasoning_collapse import TOKENS_LEFT
from tersely.dynamics.alarms.reward_hacking import reward_hacking
from tersely.dynamics.noise import Move, NoisyLog
from tersely.dynamics.purpose import accuracy_fall, cannot_tell, left

PLACE, SEVERITY, FEWEST = 12, Severity.ERROR, 20
COLUMNS: tuple[str, ...] = ("accuracy",)
LONGER = 1.35
REASON = (
    "the policy unlearns what it could do, not because answers became short: too large a step, a "
    "wrong reward, or damaged weights; where length rose, texts that are cut or repeat themselves"
)
ADVICE = (
    "go back to the checkpoint before it, compare it with the base (tersely compare), lower "
    "learner.learning_rate, and read which rollouts are rewarded"
)


def accuracy_falling(log: NoisyLog) -> str | None:
    """Accuracy 12% below its start or best, at a length above 0.7 of its start; where reward rose
    meanwhile, that is said instead."""
    fall = accuracy_fall(log)
    if fall is None or left(log, "tokens_mean") <= TOKENS_LEFT or reward_hacking(log) is not None:
        return None
    return (
        f"accuracy {fall.before:.3f} → {fall.after:.3f} (standard error {fall.error:.3f}), "
        f"{_say_length(log, fall)}{cannot_tell(log)}"
    )


def _say_length(log: NoisyLog, fall: Move) -> str:
    tokens = log.logarithm("tokens_mean")
    change = tokens and tokens.over(fall)
    if change and change.after - change.before >= np.log(LONGER):
        return (
            f"while length rose {np.exp(change.before):,.0f} → {np.exp(change.after):,.0f} tokens"
        )
    return "length did not fall with it" if tokens else "and the log has no length"
