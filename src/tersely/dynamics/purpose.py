"""What a log says was changed on purpose, and a fall of accuracy that this does not explain."""

import numpy as np

from tersely.dynamics.noise import Enough, Move, NoisyLog

CLEAR_ERRORS, TARGET_MOVED = 2.0, 0.03
FALL_FROM_START, FALL_FROM_BEST, LOST_FROM_BEST, LEAST_FALL = 0.15, 0.18, 0.3, 0.04
# A run whose accuracy is still so far above its start has lost nothing yet.
GAINED = 1.1
HELD_OUT_LEFT = 0.95
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


def accuracy_fall(log: NoisyLog) -> Move | None:
    """Accuracy 15% below its start, 18% below its best and near its start, or 30% below its best;
    by 4 points, if prompts did not become
    harder and held-out accuracy, where it is known, fell too."""
    accuracy = log.get("accuracy")
    if accuracy is None:
        return None
    move = accuracy.fell(_below(1 - FALL_FROM_START), from_start=True)
    move = move or accuracy.fell(_below(1 - FALL_FROM_BEST))
    gained = move is not None and move.after > GAINED * accuracy.start()
    if gained:
        move = accuracy.fell(_below(1 - LOST_FROM_BEST))
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


def _below(share: float) -> Enough:
    return lambda before, after: after <= share * before and before - after >= LEAST_FALL


def held_out_stands(log: NoisyLog, move: Move) -> bool:
    """The last two evaluations are as good as the last two up to the earlier window's end."""
    held_out = log.get("eval_accuracy")
    if held_out is None:
        return False
    early_K = held_out.step_K <= move.until
    before_K, after_K = held_out.value_K[early_K][-2:], held_out.value_K[~early_K][-2:]
    if not (before_K.size and after_K.size):
        return False
    return bool(after_K.mean() >= HELD_OUT_LEFT * before_K.mean())


def _clearly(change: Move) -> int:
    moved = change.after - change.before
    return int(np.sign(moved)) if abs(moved) > CLEAR_ERRORS * change.error else 0
