"""Most steps or groups teach nothing."""

import numpy as np

from tersely.dynamics.alarms import Severity
from tersely.dynamics.log import StepLog
from tersely.dynamics.noise import NoisyLog

PLACE, SEVERITY = 85, Severity.WARNING
COLUMNS: tuple[str, ...] = ()
EITHER = ("zero_signal_share", "grad_norm", "reward_mean", "learning_rate")
MOST, MOST_LEARNED, LEARNED, SOLVED, WINDOW = 0.8, 0.95, 0.8, 0.95, 20
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
    half of gradients zero, a learning rate of zero, or always the same reward; unless 95% is right,
    for then nothing is left to learn."""
    rate = _zero(log, "learning_rate", share=1.0)
    if rate is not None:
        return f"the learning rate was zero in {rate:.0%} of the last {WINDOW} records"
    return None if is_solved(log) else _groups(log) or _constants(log)


def say_solved(log: StepLog) -> str | None:
    """In a note: the problems are solved, and most groups teach nothing for that."""
    noisy = NoisyLog(log)
    zero = noisy.get("zero_signal_share")
    idle = zero is not None and zero.recent() >= MOST
    if not is_solved(noisy) or not (idle or _constants(noisy)):
        return None
    right = noisy.get("accuracy") or noisy.get("reward_mean")
    share = right.recent() if right is not None else np.nan
    return (
        f"Hardly anything is left to learn: lately {share:.1%} of rollouts were right (by "
        f"{'accuracy' if noisy.get('accuracy') else 'reward'}), so that most groups have equal "
        "rewards; stop, or train on harder problems (problems.band). If it was so from the first "
        "step on, read rollouts/: a grader may call everything right."
    )


def is_solved(log: NoisyLog) -> bool:
    """Nearly all is right: by accuracy, or else by a mean reward from 0 to 1."""
    right = log.get("accuracy")
    if right is None:
        right = log.get("reward_mean")
        if right is None or right.value_K.min() < 0 or right.value_K.max() > 1:
            return False
    return right.recent() >= SOLVED


def _groups(log: NoisyLog) -> str | None:
    zero, accuracy = log.get("zero_signal_share"), log.get("accuracy")
    if zero is None or not zero.covers(WINDOW):
        return None
    learned = accuracy is not None and accuracy.recent() >= LEARNED
    recent, most = zero.recent(), MOST_LEARNED if learned else MOST
    if recent < most or zero.fell(lambda b, a: b - a >= 0.1) is not None:
        return None
    right = f"; accuracy stands at {accuracy.recent():.2f}" if accuracy is not None else ""
    return f"{recent:.1%} of the last groups had equal rewards and taught nothing{right}"


def _constants(log: NoisyLog) -> str | None:
    none = _zero(log, "grad_norm", share=0.5)
    if none is not None:
        return f"the gradient was zero in {none:.0%} of the last {WINDOW} records"
    reward = log.get("reward_mean")
    if reward is not None and reward.covers(WINDOW):
        last_K = reward.value_K[-reward.records(WINDOW) :]
        if not np.ptp(last_K):
            return f"the mean reward was {last_K[-1]:g} in each of the last {last_K.size} records"
    return None


def _zero(log: NoisyLog, name: str, *, share: float) -> float | None:
    """The share of the last records in which a column was 0, where it is that large."""
    column = log.get(name)
    if column is None or not column.covers(WINDOW):
        return None
    none = float((column.value_K[-column.records(WINDOW) :] == 0).mean())
    return none if none >= share else None
