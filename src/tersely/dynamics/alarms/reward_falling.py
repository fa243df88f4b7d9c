"""Where no accuracy is logged: the mean reward falls, and length does not explain it."""

from typing import Any

import numpy as np

from tersely.dynamics.alarms import Severity
from tersely.dynamics.noise import Move, NoisyLog
from tersely.dynamics.purpose import (
    FALL,
    GIVEN,
    LEAST_FALL,
    SHORT,
    cannot_tell,
    harder,
    held_out_stands,
    left,
    target_moved,
)

PLACE, SEVERITY, FEWEST = 18, Severity.ERROR, 20
COLUMNS: tuple[str, ...] = ()
# Where accuracy is known, other rules read it.
EITHER = ("accuracy", "reward_mean")
LONGER, CLEAR_ERRORS = 1.05, 2.0
REASON = (
    "what the run is trained on gets worse; a length penalty is no cause, as it costs less where "
    "length falls and the same where it stays, so that fewer answers are right"
)
ADVICE = (
    "log accuracy apart from the reward (or say --column accuracy=NAME), go back to the checkpoint "
    "before it, compare it with the base (tersely compare), lower learner.learning_rate, and where "
    "length fell see whether short wrong answers are masked (treatment.cells)"
)


def reward_falling(log: NoisyLog) -> str | None:
    """No accuracy in the log, and a mean reward 10% below its best while length did not
    rise by 5%."""
    fall = reward_fall(log)
    if fall is None or became_longer(log, fall):
        return None
    return f"{say_fall(fall)}{_say_length(log, fall)}{cannot_tell(log)}"


def reward_fall(log: NoisyLog) -> Move | None:
    """The mean reward 10% and 4 points below its best, if the target and the prompts did not change
    for it and no held-out accuracy stands.

    Shares are of the distance to 0, for scores from -1 to 1 of that to -1, and for other rewards
    below 0 of that to the least; points are hundredths of the range.
    """
    reward = log.get("reward_mean")
    if reward is None or log.get("accuracy") is not None:
        return None
    least, most = float(reward.tame_K.min()), float(reward.tame_K.max())
    floor = 0.0 if least >= 0 else -1.0 if least >= -1 and most <= 1 else least
    point = max(1.0, most) - floor

    def enough(before: Any, after: Any) -> Any:
        level = np.maximum(abs(before), before - floor)
        return before - after >= np.maximum(FALL * level, LEAST_FALL * point)

    move = reward.fell(enough, shortest=SHORT, given=GIVEN)
    if move is None or harder(log, move) or target_moved(log, move) < 0:
        return None
    return None if held_out_stands(log, reward, move) else move


def became_longer(log: NoisyLog, fall: Move) -> bool:
    """Length rose between the two windows."""
    tokens = log.logarithm("tokens_mean")
    change = None if tokens is None else tokens.over(fall)
    if change is None:
        return False
    rise = change.after - change.before
    return rise > max(float(np.log(LONGER)), CLEAR_ERRORS * change.error)


def say_fall(fall: Move) -> str:
    """The fall in words."""
    return (
        "the log has no accuracy; its mean reward fell "
        f"{fall.before:.3g} → {fall.after:.3g} (standard error {fall.error:.2g})"
    )


def _say_length(log: NoisyLog, fall: Move) -> str:
    tokens = log.logarithm("tokens_mean")
    change = None if tokens is None else tokens.over(fall)
    if change is None:
        return "; length is not in the log, so that a longer length under a penalty is not excluded"
    said = f", length {np.exp(change.before):,.0f} → {np.exp(change.after):,.0f} tokens"
    entropy = left(log, "entropy_mean")
    if np.exp(change.after - change.before) > 0.9 or not entropy < 1:
        return said
    return f"{said}, entropy at {entropy:.0%} of its start: short is rewarded, not right"
