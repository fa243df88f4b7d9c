"""Where no accuracy is logged: the mean reward falls while length rises."""

import numpy as np

from tersely.dynamics.alarms import Severity
from tersely.dynamics.alarms.reward_falling import became_longer, reward_fall, say_fall
from tersely.dynamics.noise import NoisyLog

PLACE, SEVERITY, FEWEST = 55, Severity.WARNING, 20
COLUMNS: tuple[str, ...] = ()
EITHER = ("accuracy", "reward_mean")
REASON = (
    "a length penalty costs more as rollouts become longer, or fewer of them are right, or both: "
    "a reward that holds both does not tell which"
)
ADVICE = (
    "log accuracy apart from the reward (or say --column accuracy=NAME), and evaluate a checkpoint "
    "(tersely eval); if fewer are right, go back to the one before it"
)


def longer_and_paid_less(log: NoisyLog) -> str | None:
    """No accuracy in the log, and a mean reward 10% below its best while length rose by 5%."""
    fall = reward_fall(log)
    tokens = log.logarithm("tokens_mean")
    change = None if fall is None or tokens is None else tokens.over(fall)
    if fall is None or change is None or not became_longer(log, fall):
        return None
    return (
        f"{say_fall(fall)} while length rose {np.exp(change.before):,.0f} → "
        f"{np.exp(change.after):,.0f} tokens"
    )
