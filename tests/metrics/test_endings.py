from dataclasses import replace

import numpy as np
import pytest

from tersely.core.types import EvalRecord, Finish, Grade
from tersely.metrics.comparison import compare
from tersely.metrics.endings import GIVEN_FINISHED, LOOPING, TRUNCATED
from tersely.metrics.measures import measure
from tersely.metrics.records import cut_at, tabulate

# Two problems of three samples: (tokens, right, finished, loops).
SAMPLES = {
    "a": [(10, True, True, False), (20, True, True, False), (100, False, False, True)],
    "b": [(30, False, True, False), (100, False, False, True), (100, True, False, False)],
}


def records(samples=SAMPLES, **changed):
    return [
        EvalRecord(
            run="r",
            benchmark="s",
            problem=problem,
            sample=at,
            grade=Grade.CORRECT if right else Grade.WRONG,
            tokens=tokens,
            finish=Finish.STOP if finished else Finish.LENGTH,
            cap_tokens=100,
            seed=0,
            **{"loops": looped} | changed,
        )
        for problem, rows in samples.items()
        for at, (tokens, right, finished, looped) in enumerate(rows)
    ]


def measured(rows):
    rng = np.random.default_rng(0)
    return measure(tabulate(rows), title="t", budgets=(50, 100), ks=(1,), rng=rng)


def test_accuracy_given_finished_is_over_the_finished_samples_alone():
    evaluation = measured(records())
    # 3 finished (10, 20, 30), 2 of them right; 3 of 6 cut, 2 of 6 in a loop.
    given = evaluation.value(GIVEN_FINISHED)
    assert given.estimate == pytest.approx(2 / 3)
    assert (given.n_samples, given.n_problems) == (3, 2)
    assert evaluation.value(TRUNCATED).estimate == pytest.approx(3 / 6)
    assert evaluation.value(LOOPING).estimate == pytest.approx(2 / 6)


def test_accuracy_given_finished_is_undefined_where_nothing_finished():
    cut = {"a": [(100, False, False, False)], "b": [(100, True, False, False)]}
    assert np.isnan(measured(records(cut)).value(GIVEN_FINISHED).estimate)


def test_without_a_cut_sample_it_is_the_accuracy_at_the_cap():
    whole = {"a": [(10, True, True, False)] * 2, "b": [(20, False, True, False)] * 2}
    evaluation = measured(records(whole))
    assert evaluation.value(GIVEN_FINISHED).estimate == evaluation.value("accuracy", 100).estimate


def test_one_graded_sample_of_which_it_is_not_known_leaves_the_looping_share_undefined():
    rows = records()
    unknown = [*rows[:-1], records(loops=None)[-1]]
    assert np.isnan(measured(unknown).value(LOOPING).estimate)
    assert measured(rows).value(LOOPING).n_samples == 6


def test_at_a_lower_cap_loops_of_samples_that_it_cuts_are_not_known():
    table = tabulate(records())
    assert cut_at(table, cap_tokens=100).loops_PS.tolist() == table.loops_PS.tolist()
    assert cut_at(table, cap_tokens=25).loops_PS.tolist() == [[0, 0, -1], [-1, -1, -1]]


def test_a_change_of_the_looping_share_is_paired_by_problem():
    none = {key: [(*row[:3], False) for row in rows] for key, rows in SAMPLES.items()}
    before, after = tabulate(records()), tabulate(records(none))
    rng = np.random.default_rng(0)
    row = compare("c", before, after, budgets=(100,), ks=(1,), rng=rng).find(LOOPING)
    # One loop of three in each problem, none afterwards: the same change in both.
    assert row.difference.estimate == pytest.approx(-1 / 3)
    assert row.difference.n_problems == 2
    assert row.difference.n_samples == 12


def test_a_report_and_both_sides_of_a_comparison_give_the_same_figures_at_the_same_cap():
    # Some samples of problem b are marked right although they were cut.
    rng = np.random.default_rng(3)
    rows = [
        replace(row, thinking_tokens=row.tokens // 2, extracted=f"{at % 3}")
        for at, row in enumerate(records())
    ]
    table = tabulate(rows)
    options = {"budgets": (50, 100), "ks": (1, 2), "rng": rng, "resamples": 20}
    alone = measure(table, title="t", **options)
    compared = compare("t", *(cut_at(table, cap_tokens=100),) * 2, **options)
    for row in compared.measures:
        if row.name == "REG gap to the better curve":
            continue
        own = alone.value(row.name, row.budget_tokens)
        for side in (row.before, row.after):
            assert side.estimate == pytest.approx(own.estimate, nan_ok=True), row.name
            assert side.n_samples == own.n_samples, row.name
    # Finished and right: 10 and 20 tokens; wrong: 30 and three times 100.
    assert alone.value("mean tokens given correct").estimate == 15
    assert alone.value("mean tokens given wrong").estimate == 82.5
    assert alone.value("share without an answer").estimate == 0.5
