"""A step log as arrays, whoever wrote it: the columns that stages and alarms read."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from tersely.core.types import StepRecord

RECORDED = tuple(field.name for field in fields(StepRecord) if field.name != "step")
# Held-out accuracy, at the steps that had an evaluation; and how hard the step's prompts are, on
# any scale that rises with it. No step record has them.
COLUMNS = (*RECORDED, "eval_accuracy", "difficulty")
MOST = 1e100


class StepLog(NamedTuple):
    """Steps in order, each once, and what is known of them.

    Args:
        step_N: the training steps.
        columns: arrays over N by the names in ``COLUMNS``; NaN where undefined.
        staleness: updates per rollout batch (S); NaN if not known.
        repeated_steps: records that a later restart superseded, left out here.
        notes: what its reader says of it, a sentence each.
        not_finite: the steps at which a column was written as NaN or infinite, by its name; a value
            that is not there is none.
    """

    step_N: Float[np.ndarray, " N"]
    columns: Mapping[str, Float[np.ndarray, " N"]]
    staleness: float = np.nan
    repeated_steps: int = 0
    notes: tuple[str, ...] = ()
    not_finite: Mapping[str, Float[np.ndarray, " W"]] = MappingProxyType({})

    # Fields are arrays, whose comparison has no one truth value: it equals itself alone.
    __eq__, __ne__, __hash__ = object.__eq__, object.__ne__, object.__hash__  # type: ignore[misc]

    def __repr__(self) -> str:
        span = f", {self.step_N[0]:.0f} to {self.step_N[-1]:.0f}" if self.step_N.size else ""
        known = [name for name in self.columns if self.get(name) is not None]
        return f"<step log: {self.step_N.size:,} steps{span}; {', '.join(known)}>"

    def get(self, *names: str) -> Float[np.ndarray, " N"] | None:
        """The first of these columns that has a defined value; None if none has."""
        for name in names:
            values_N = self.columns.get(name)
            if values_N is not None and np.isfinite(values_N).any():
                return values_N
        return None

    def until(self, count: int) -> "StepLog":
        """The log as it was after its first ``count`` steps."""
        cut = {name: values_N[:count] for name, values_N in self.columns.items()}
        return self._replace(step_N=self.step_N[:count], columns=cut)


def make_log(
    steps: ArrayLike,
    columns: Mapping[str, ArrayLike],
    *,
    staleness: float = np.nan,
) -> StepLog:
    """The log of records as they were written, in that order.

    Where the step falls back, a run went on from an earlier checkpoint: the records from that
    step on are of weights that were given up, and are dropped. Infinite values are undefined, and
    so are those above 1e100, of which no sum of squares could be had.
    A log that somebody wrote newest first, or sorted by its steps as text, is put in order first.
    """
    step_R = np.asarray(steps, dtype=float)
    order_R, notes = _in_time(step_R)
    kept = order_R[not_superseded(step_R[order_R])]
    arrays = {name: np.asarray(values, dtype=float)[kept] for name, values in columns.items()}
    return StepLog(
        step_N=step_R[kept],
        columns={n: np.where(np.abs(v_N) <= MOST, v_N, np.nan) for n, v_N in arrays.items()},
        staleness=staleness,
        repeated_steps=len(step_R) - len(kept),
        notes=notes,
    )


def log_records(records: Iterable[StepRecord], *, staleness: float = np.nan) -> StepLog:
    """Our own step records as a log."""
    records = list(records)
    log = make_log(
        [float(r.step) for r in records],
        {name: [float(getattr(r, name)) for r in records] for name in RECORDED},
        staleness=staleness,
    )
    # A step of ours that learned nothing has no loss.
    bad_N = ~np.isfinite(log.columns["loss"]) & (log.columns["update_tokens"] > 0)
    return log._replace(not_finite={"loss": log.step_N[bad_N]}) if bad_N.any() else log


def _in_time(step_R: Float[np.ndarray, " R"]) -> tuple[Int[np.ndarray, " R"], tuple[str, ...]]:
    """The places of the records in the order of time, and what to say of it.

    A restart falls back once and rises again. A log that falls more than twice as often as it rises
    is newest first; one whose steps each stand once, in the order of their digits, was sorted.
    """
    change_R = np.diff(step_R)
    falls, rises = int((change_R < 0).sum()), int((change_R > 0).sum())
    as_written = np.arange(step_R.size)
    if falls > 2 * rises:
        return as_written[::-1], ("The log was written newest first; it is read from its end.",)
    words = [f"{step:g}" for step in step_R]
    once = len(set(words)) == len(words)
    if falls and once and words == sorted(words) and step_R[0] == step_R.min():
        note = "The log's steps were sorted as text (1, 10, 2); they are read as numbers."
        return np.argsort(step_R), (note,)
    return as_written, ()


def not_superseded(step_R: Float[np.ndarray, " R"]) -> Int[np.ndarray, " K"]:
    """The places of the records that stand: no later one is of the same or an earlier step."""
    earliest_R = np.minimum.accumulate(step_R[::-1])[::-1]
    return np.flatnonzero(step_R < np.append(earliest_R[1:], np.inf)[: step_R.size])
