"""What a log says was changed on purpose, and a fall of accuracy that this does not explain."""

from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float

from tersely.dynamics.noise import START, Move, NoisyColumn, NoisyLog

CLEAR_ERRORS, ROSE_ERRORS, TARGET_MOVED = 2.0, 3.0, 0.03
# What a run is for: that one of them rises is what length or KL may have been spent on.
PAID = ("accuracy", "reward_mean", "positive_share")
FALL, LEAST_FALL = 0.12, 0.04
# Records of the earlier and the later window, at least.
SHORT = (START, 2)
# So much of its accuracy a healthy run may give for length.
GIVEN = 0.03
# Evaluations: their windows; looks as in ``noise.LOOKS``; how long the next one is waited for, in
# usual distances and, where the last one was before the fall, in records.
EVALUATIONS, LOOKS_HELD_OUT, LONGEST_WAIT, MOST_WAITED = (3, 1), 30.0, 5.0, 40
CANNOT_TELL = (
    "; the log does not say how hard its prompts were: if they were made harder on purpose, this "
    "need not be a loss (give --column difficulty= or eval_accuracy=)"
)


def harder(log: NoisyLog, move: Move) -> bool:
    """The log says that its prompts became harder between the two windows."""
    difficulty = log.get("difficulty")
    change = None if difficulty is None else difficulty.over(move)
    return change is not None and _clearly(change) > 0


def target_moved(log: NoisyLog, move: Move) -> int:
    """1 where the log says that the target rose between the two windows, -1 where it fell."""
    target = log.get("target_tokens")
    change = None if target is None else target.over(move)
    if change is None or abs(change.after / change.before - 1) < TARGET_MOVED:
        return 0
    return _clearly(change)


@lru_cache(maxsize=1)
def accuracy_fall(log: NoisyLog) -> Move | None:
    """Accuracy 12% and 4 points below its best, 3% of it given, if prompts did not become harder
    and held-out accuracy, where it is known, fell too; what it lost counts with the accuracy's."""
    accuracy, held_out = log.get("accuracy"), log.get("eval_accuracy")
    if accuracy is None:
        return None
    also = 0.0 if held_out is None else held_out.errors_below(shortest=EVALUATIONS, given=GIVEN)
    move = accuracy.fell(below, shortest=SHORT, given=GIVEN, also=also)
    if move is None or harder(log, move) or held_out_stands(log, accuracy, move):
        return None
    return move


def cannot_tell(log: NoisyLog) -> str:
    """What to add to a fall of accuracy where the log is silent on its prompts."""
    known = log.get("difficulty") or log.get("eval_accuracy")
    return "" if known else CANNOT_TELL


def rose(log: NoisyLog, name: str, move: Move) -> bool:
    """A column rose between the two windows of another one's move, by three standard errors."""
    column = log.get(name)
    change = None if column is None else column.over(move)
    return change is not None and change.after - change.before > ROSE_ERRORS * change.error


def left(log: NoisyLog, name: str) -> float:
    """What a positive column lately has of its start; NaN where it is not known."""
    column = log.logarithm(name)
    return np.nan if column is None else float(np.exp(column.recent() - column.start()))


def below(
    before: Float[np.ndarray, " P"], after: Float[np.ndarray, " P"]
) -> Bool[np.ndarray, " P"]:
    """12% and 4 points."""
    enough_P: Bool[np.ndarray, " P"] = before - after >= np.maximum(FALL * before, LEAST_FALL)
    return enough_P


def held_out_stands(log: NoisyLog, column: NoisyColumn, move: Move) -> bool:
    """Neither the last evaluation nor the last two lost clearly, and half of what the column had
    lost by then, compared with the last four up to the earlier window's end (or with the first).
    One that is overdue is not waited for."""
    held_out = log.get("eval_accuracy")
    if held_out is None or held_out.size < 2 or move.before <= 0:
        return False
    last, usual = float(held_out.step_K[-1]), float(np.median(np.diff(held_out.step_K)))
    by_then = column.mean_until(last)
    seen = by_then <= (move.before + move.after) / 2
    if log.step_N[-1] - last > LONGEST_WAIT * usual or (
        not seen and (log.step_N > last).sum() > MOST_WAITED
    ):
        return False
    early_K = held_out.step_K <= max(move.until, held_out.step_K[0])
    before_K, after_K = held_out.value_K[early_K][-4:], held_out.value_K[~early_K]
    if not after_K.size:
        return True
    half = (1 - by_then / move.before) / 2 * before_K.mean()
    errors = (2 * np.log(LOOKS_HELD_OUT * after_K.size)) ** 0.5
    for count in (1, 2)[: after_K.size]:
        error = np.hypot(held_out.error(count), held_out.error(before_K.size))
        if before_K.mean() - after_K[-count:].mean() >= max(half, errors * error):
            return False
    return True


def _clearly(change: Move) -> int:
    moved = change.after - change.before
    return int(np.sign(moved)) if abs(moved) > CLEAR_ERRORS * change.error else 0
