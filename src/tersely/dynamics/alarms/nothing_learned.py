"""Most steps or groups teach nothing."""

import numpy as np

from tersely.dynamics.alarms import Severity
from tersely.dynamics.noise import NoisyLog

PLACE, SEVERITY = 85, Severity.WARNING
COLUMNS: tuple[str, ...] = ()
EITHER = ("zero_signal_share", "grad_norm", "reward_mean", "learning_rate")
MOST, MOST_LEARNED, LEARNED, SMALLEST, WINDOW = 0.8, 0.95, 0.8, 0.0, 20
REASON = (
    "a group of equal rewards, a gradient of zero or a learning rate of zero moves no weight: its "
    "rollouts are paid for and teach nothing"
)
ADVICE = (
    "read the rewards (a grader that answers always the same?), train on problems that are solved "
    "sometimes (problems.band), raise sampling.samples_per_prompt, check learner.learning_rate"
)


def nothing_learned(log: NoisyLog) -> str | None:
    """Of the last 20 records: 80% of groups without a signal (0.95 where most is right),
    half of gradients zero, a learning rate of zero, or always the same reward."""
    return _groups(log) or _constants(log)


def _groups(log: NoisyLog) -> str | None:
    zero, accuracy = log.get("zero_signal_share"), log.get("accuracy")
    if zero is None or zero.size < WINDOW:
        return None
    learned = accuracy is not None and accuracy.recent() >= LEARNED
    recent, most = zero.recent(), MOST_LEARNED if learned else MOST
    if recent < most or zero.fell(lambda b, a: b - a >= 0.1) is not None:
        return None
    return f"{recent:.1%} of the last groups had equal rewards and taught nothing"


def _constants(log: NoisyLog) -> str | None:
    for name, words in (("grad_norm", "gradient"), ("learning_rate", "learning rate")):
        column = log.get(name)
        last_K = np.zeros(0) if column is None else column.value_K[-WINDOW:]
        none = float((np.abs(last_K) <= SMALLEST).mean()) if last_K.size == WINDOW else 0.0
        if none >= (0.5 if name == "grad_norm" else 1.0):
            return f"the {words} was zero in {none:.0%} of the last {WINDOW} records"
    reward = log.get("reward_mean")
    if reward is not None and reward.size >= WINDOW and not np.ptp(reward.value_K[-WINDOW:]):
        return f"the mean reward was {reward.value_K[-1]:g} in each of the last {WINDOW} records"
    return None
