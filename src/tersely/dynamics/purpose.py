"""What a log says was changed on purpose, and a fall of accuracy that this does not explain."""

from functools import lru_cache

import numpy as np

from tersely.dynamics.noise import Move, NoisyLog

CLEAR_ERRORS, TARGET_MOVED = 2.0, 0.03
FALL, LEAST_FALL, SHORT = 0.12, 0.04, 3
# So much of its accuracy a healthy run may give for length: what is beyond it has to be clear too.
GIVEN = 0.05
# Where accuracy is still a tenth above its start, it takes more.
GAINED, FALL_OF_GAIN = 1.1, 0.2
# In usual distances of two evaluations.
LONGEST_WAIT = 1.5
# Two and a half standard errors of an evaluation of 600 samples against two of them.
LEAST_HELD_OUT = 0.06
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
    """Accuracy 12% and 4 points below its start or best (20% where still above its start), if
    prompts did not become harder and held-out accuracy, where it is known, fell too."""
    accuracy = log.get("accuracy")
    if accuracy is None:
        return None
    first = accuracy.fell(_below, from_start=True, shortest=SHORT, given=GIVEN)
    move = first or accuracy.fell(_below, shortest=SHORT, given=GIVEN)
    if move is not None and move.after > GAINED * accuracy.start():
        move = accuracy.fell(_far_below, shortest=SHORT, given=GIVEN)
    if move is None or harder(log, move) or held_out_stands(log, move):
        return None
    return move


def cannot_tell(log: NoisyLog) -> str:
    """What to add to a fall of accuracy where the log is silent on its prompts."""
    known = log.get("difficulty") or log.get("eval_accuracy")
    return "" if known else CANNOT_TELL


def left(log: NoisyLog, name: str) -> float:
    """What a positive column lately has of its start; NaN where it is not known."""
    column = log.logarithm(name)
    return np.nan if column is None else float(np.exp(column.recent() - column.start()))


def _below(before: float, after: float) -> bool:
    return before - after >= max(FALL * before, LEAST_FALL)


def _far_below(before: float, after: float) -> bool:
    return after <= (1 - FALL_OF_GAIN) * before and before - after >= LEAST_FALL


def held_out_stands(log: NoisyLog, move: Move) -> bool:
    """The last evaluation, or the last two, lost less than half of what the column did, compared
    with the last two up to the earlier window's end."""
    held_out = log.get("eval_accuracy")
    if held_out is None or move.before <= 0:
        return False
    # The first one, where it came only later.
    early_K = held_out.step_K <= max(move.until, held_out.step_K[0])
    if early_K.all():
        # None since: it may wait for the next one, not for ever.
        usual = float(np.median(np.diff(held_out.step_K))) if held_out.size > 1 else 0.0
        return bool(log.step_N[-1] - held_out.step_K[-1] <= LONGEST_WAIT * usual)
    half = (1 + move.after / move.before) / 2
    after_K = held_out.value_K[~early_K][-2:]
    after = max(float(after_K[-1]), float(after_K.mean()))
    before = float(held_out.value_K[early_K][-2:].mean())
    return after >= min(half * before, before - LEAST_HELD_OUT)


def _clearly(change: Move) -> int:
    moved = change.after - change.before
    return int(np.sign(moved)) if abs(moved) > CLEAR_ERRORS * change.error else 0
