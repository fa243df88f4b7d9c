"""From a list of evaluation records to arrays of problems by samples."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from tersely.core.errors import DataError
from tersely.core.types import EvalRecord, Finish, Grade


class SampleTable(NamedTuple):
    """An evaluation as arrays: P problems, sorted by key, by S samples, sorted by index.

    Args:
        keys: (benchmark, problem) of each row.
        correct_PS: graded correct.
        finished_PS: ended by itself, not by the cap.
        graded_PS: has a grade; False for an ungraded sample or a sampling error.
        tokens_PS: completion tokens, stop token included.
        cap_tokens: the cap all were sampled at.
    """

    keys: tuple[tuple[str, str], ...]
    correct_PS: Bool[np.ndarray, "P S"]
    finished_PS: Bool[np.ndarray, "P S"]
    graded_PS: Bool[np.ndarray, "P S"]
    tokens_PS: Int[np.ndarray, "P S"]
    cap_tokens: int


def tabulate(records: Sequence[EvalRecord]) -> SampleTable:
    """Arranges one run's records, whatever their order, as problems by samples.

    Raises:
        DataError: naming the problem, if records are missing, repeated, of several runs, or
            sampled at several caps.
    """
    if not records:
        raise DataError("no evaluation records to tabulate")
    ordered = sorted(records, key=lambda r: (r.benchmark, r.problem, r.sample))
    first = ordered[0]
    indices: dict[tuple[str, str], list[int]] = {}
    for record in ordered:
        _check_same_evaluation(record, first)
        indices.setdefault((record.benchmark, record.problem), []).append(record.sample)
    expected = indices[first.benchmark, first.problem]
    for (benchmark, problem), samples in indices.items():
        if len(set(samples)) < len(samples):
            repeated = next(s for s in samples if samples.count(s) > 1)
            raise DataError(f"{benchmark}: problem {problem!r} has sample {repeated} twice")
        if samples != expected:
            raise DataError(
                f"{benchmark}: problem {problem!r} has samples {samples}, but problem "
                f"{first.problem!r} has {expected}; sample every problem equally often"
            )
    shape = (len(indices), len(expected))
    return SampleTable(
        keys=tuple(indices),
        correct_PS=np.array([r.grade is Grade.CORRECT for r in ordered]).reshape(shape),
        finished_PS=np.array([r.finish is Finish.STOP for r in ordered]).reshape(shape),
        graded_PS=np.array([_is_graded(r) for r in ordered]).reshape(shape),
        tokens_PS=np.array([r.tokens for r in ordered], dtype=np.int64).reshape(shape),
        cap_tokens=first.cap_tokens,
    )


def select(table: SampleTable, *, rows_P: Int[np.ndarray, " Q"]) -> SampleTable:
    """The given rows of a table, in the given order."""
    return table._replace(
        keys=tuple(table.keys[row] for row in rows_P),
        correct_PS=table.correct_PS[rows_P],
        finished_PS=table.finished_PS[rows_P],
        graded_PS=table.graded_PS[rows_P],
        tokens_PS=table.tokens_PS[rows_P],
    )


def _check_same_evaluation(record: EvalRecord, first: EvalRecord) -> None:
    if record.run != first.run:
        raise DataError(
            f"problem {record.problem!r} is of run {record.run!r}, but problem "
            f"{first.problem!r} is of run {first.run!r}; tabulate one run at a time"
        )
    if record.cap_tokens != first.cap_tokens:
        raise DataError(
            f"problem {record.problem!r} was sampled at cap {record.cap_tokens}, but problem "
            f"{first.problem!r} at {first.cap_tokens}; tabulate one cap at a time"
        )


def _is_graded(record: EvalRecord) -> bool:
    return record.grade is not Grade.UNGRADED and record.finish is not Finish.ERROR
