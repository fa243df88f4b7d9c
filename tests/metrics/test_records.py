from dataclasses import replace

import numpy as np
import pytest

from tersely.core.errors import DataError
from tersely.core.types import EvalRecord, Finish, Grade
from tersely.metrics.records import select, tabulate


def record(problem, sample, **changes):
    base = EvalRecord(
        run="r",
        benchmark="b",
        problem=problem,
        sample=sample,
        grade=Grade.CORRECT,
        tokens=5,
        finish=Finish.STOP,
        cap_tokens=8,
        seed=0,
    )
    return replace(base, **changes)


def test_records_in_any_order_become_sorted_problems_by_samples():
    table = tabulate(
        [
            record("q", 1, tokens=4, grade=Grade.UNPARSED),
            record("p", 1, tokens=2, grade=Grade.UNGRADED),
            record("q", 0, tokens=8, finish=Finish.LENGTH),
            record("p", 0, tokens=1, grade=Grade.WRONG),
            record("a", 0, benchmark="c", finish=Finish.ERROR),
            record("a", 1, benchmark="c"),
        ]
    )
    assert table.keys == (("b", "p"), ("b", "q"), ("c", "a"))
    np.testing.assert_array_equal(table.tokens_PS, [[1, 2], [8, 4], [5, 5]])
    np.testing.assert_array_equal(table.correct_PS, [[0, 0], [1, 0], [1, 1]])
    np.testing.assert_array_equal(table.finished_PS, [[1, 1], [0, 1], [0, 1]])
    np.testing.assert_array_equal(table.graded_PS, [[1, 0], [1, 1], [0, 1]])
    assert table.cap_tokens == 8
    assert select(table, rows_P=np.array([2, 0])).keys == (("c", "a"), ("b", "p"))


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "no evaluation records"),
        ([record("p", 0), record("p", 0)], "problem 'p' has sample 0 twice"),
        ([record("p", 0), record("p", 1), record("q", 0)], r"problem 'q' has samples \[0\]"),
        ([record("p", 0), record("q", 1)], r"problem 'q' has samples \[1\]"),
        ([record("p", 0), record("q", 0, cap_tokens=9)], "problem 'q' was sampled at cap 9"),
        ([record("p", 0), record("q", 0, run="s")], "problem 'q' is of run 's'"),
    ],
)
def test_records_that_are_not_one_whole_evaluation_are_refused(records, message):
    with pytest.raises(DataError, match=message):
        tabulate(records)
