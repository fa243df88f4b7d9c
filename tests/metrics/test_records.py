from dataclasses import replace

import numpy as np
import pytest

from tersely.core.errors import ConfigError, DataError
from tersely.core.types import EvalRecord, Finish, Grade
from tersely.metrics.records import (
    NO_ANSWER,
    RIGHT,
    UNKNOWN_ANSWER,
    cut_at,
    select,
    tabulate,
)


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
        ([record("p", 0), record("q", 0, run="s")], r"2 runs \('r', 's'\)"),
        (
            [record("p", 0, model="m"), record("q", 0, model="n")],
            r"2 models \('m', 'n'\); choose one with --only-model",
        ),
        ([record("p", 0), record("p", 1, tokens=-3)], "sample 1 has -3 tokens, below 0"),
        ([record("p", 0, tokens=9)], "sample 0 has 9 tokens, above the sampled cap 8"),
    ],
)
def test_records_that_are_not_one_evaluation_are_refused(records, message):
    with pytest.raises(DataError, match=message):
        tabulate(records)


def test_a_problem_with_fewer_samples_is_padded_and_counted_not_wrong():
    table = tabulate([record("p", 0), record("p", 5), record("q", 3), record("q", 1, tokens=2)])
    np.testing.assert_array_equal(table.tokens_PS, [[5, 5], [2, 5]])
    assert (table.missing, table.ungraded) == (0, 0)
    shorter = tabulate([record("p", 0), record("p", 1), record("q", 0, grade=Grade.UNGRADED)])
    np.testing.assert_array_equal(shorter.graded_PS, [[1, 1], [0, 0]])
    assert (shorter.missing, shorter.ungraded) == (1, 1)


def test_answers_become_codes_that_tell_right_none_unknown_and_each_wrong_one_apart():
    table = tabulate(
        [
            record("p", 0, extracted="4"),
            record("p", 1, extracted="four"),
            record("p", 2, grade=Grade.WRONG, extracted="5"),
            record("p", 3, grade=Grade.WRONG, extracted="6"),
            record("p", 4, grade=Grade.WRONG, extracted="5"),
            record("p", 5, grade=Grade.UNPARSED),
            record("p", 6, grade=Grade.WRONG),
        ]
    )
    codes = table.answer_PS[0].tolist()
    assert codes[:2] == [RIGHT, RIGHT]
    assert codes[2] == codes[4] >= 1
    assert codes[3] not in (codes[2], RIGHT)
    assert codes[5:] == [NO_ANSWER, UNKNOWN_ANSWER]


def test_prefixes_graded_right_are_kept_by_budget():
    table = tabulate(
        [record("p", 0, answered_budgets=(4, 8)), record("p", 1, answered_budgets=(8,))]
    )
    np.testing.assert_array_equal(table.prefix_budgets_C, [4, 8])
    np.testing.assert_array_equal(table.prefix_PSC[0], [[1, 1], [0, 1]])
    assert tabulate([record("p", 0)]).prefix_PSC is None


def test_cutting_at_a_lower_cap_equals_having_sampled_there():
    rng = np.random.default_rng(0)
    long = [
        record(
            f"p{number // 4}",
            number % 4,
            tokens=int(tokens),
            finish=Finish.STOP if tokens < 100 else Finish.LENGTH,
            grade=Grade.CORRECT if rng.random() < 0.5 and tokens < 100 else Grade.WRONG,
            cap_tokens=100,
        )
        for number, tokens in enumerate(rng.integers(1, 101, size=40))
    ]
    short = [
        replace(
            r,
            cap_tokens=30,
            tokens=min(r.tokens, 30),
            finish=r.finish if r.tokens <= 30 else Finish.LENGTH,
            grade=r.grade if r.tokens <= 30 else Grade.UNPARSED,
        )
        for r in long
    ]
    cut, sampled = cut_at(tabulate(long), cap_tokens=30), tabulate(short)
    for name in ("correct_PS", "finished_PS", "graded_PS", "tokens_PS", "answer_PS"):
        np.testing.assert_array_equal(getattr(cut, name), getattr(sampled, name), err_msg=name)
    assert cut.cap_tokens == 30
    with pytest.raises(ConfigError, match="cap 31 exceeds sampled cap 30"):
        cut_at(cut, cap_tokens=31)
