"""Levels of effort and stated budgets, by hand."""

import numpy as np
import pytest

from tersely.core.types import EvalRecord, Finish, Grade
from tersely.metrics.adherence import Obedience
from tersely.metrics.efforts import measure_budgets, measure_efforts


def record(problem, sample, tokens, *, effort=None, right=True, finish=Finish.STOP):
    return EvalRecord(
        run="r",
        benchmark="b",
        problem=problem if effort is None else f"{problem} {effort}",
        sample=sample,
        grade=Grade.CORRECT if right else Grade.WRONG,
        tokens=tokens,
        finish=finish,
        cap_tokens=100,
        seed=0,
        effort=effort,
    )


def levels(low, high, *, problems=30):
    return [
        record(f"p{p}", s, tokens + p % 3, effort=effort)
        for p in range(problems)
        for s in range(4)
        for effort, tokens in (("low", low), ("high", high))
    ]


def measured(*evaluations, target_tokens):
    return measure_efforts(
        dict(enumerate(evaluations)),
        levels=("low", "high"),
        target_tokens=target_tokens,
        rng=np.random.default_rng(0),
    )


def test_each_level_of_each_evaluation_has_its_means():
    records = [
        record("a", 0, 10, effort="low"),
        record("a", 1, 20, effort="low", right=False),
        record("b", 0, 30, effort="low", finish=Finish.LENGTH),
        record("a", 0, 50, effort="high"),
        record("b", 0, 70, effort="high"),
    ]
    found = measured(levels(20, 20), records, target_tokens={})
    assert [(p.step, p.level) for p in found.points] == [
        (0, "low"),
        (0, "high"),
        (1, "low"),
        (1, "high"),
    ]
    low, high = found.points[2:]
    # 60 tokens over 3 samples; one of them is right and was not cut.
    assert (low.tokens.estimate, low.tokens.n_problems, low.tokens.n_samples) == (20, 2, 3)
    assert low.accuracy.estimate == pytest.approx(1 / 3)
    assert (high.tokens.estimate, high.accuracy.estimate) == (60, 1)


def test_levels_that_differ_are_obeyed_and_levels_that_do_not_are_ignored():
    apart = measured(levels(20, 60), target_tokens={}).adherence
    assert {level.verdict for level in apart.levels} == {Obedience.OBEYED}
    alike = measured(levels(40, 40), target_tokens={}).adherence
    assert {level.verdict for level in alike.levels} == {Obedience.IGNORED}
    turned = measured(levels(60, 20), target_tokens={}).adherence
    assert {level.verdict for level in turned.levels} == {Obedience.REVERSED}


def test_the_share_over_a_level_s_target_counts_all_tokens():
    # 20, 21 and 22 tokens, a third of the problems each: two thirds are over 20, one over 21.
    for target, share in ((20.0, 2 / 3), (21.0, 1 / 3), (22.0, 0.0)):
        low, high = measured(levels(20, 60), target_tokens={"low": target}).adherence.levels
        assert low.over.estimate == pytest.approx(share)
        assert low.over.low <= share <= low.over.high
        assert np.isnan(high.over.estimate)


def test_adherence_to_stated_budgets_is_the_naive_loop():
    rng = np.random.default_rng(0)
    budgets = {f"p{p}": float(rng.integers(10, 90)) for p in range(12)}
    records = [record(p, s, int(rng.integers(1, 100))) for p in budgets for s in range(5)]
    found = measure_budgets(records, budgets=budgets, rng=rng)
    over = sum(r.tokens > budgets[r.problem] for r in records) / 60
    off = sum(abs(r.tokens - budgets[r.problem]) / budgets[r.problem] for r in records) / 60
    assert found.over.estimate == pytest.approx(over)
    assert found.off.estimate == pytest.approx(off)
    assert found.over.low < over < found.over.high
    assert (found.off.n_problems, found.off.n_samples) == (12, 60)


def test_failed_samples_are_not_over_their_budget_and_none_at_all_is_undefined():
    failed = [record("p", s, 0, finish=Finish.ERROR) for s in range(3)]
    found = measure_budgets(failed, budgets={"p": 5.0}, rng=np.random.default_rng(0))
    assert np.isnan(found.over.estimate)
    both = measure_budgets(
        [*failed, record("p", 3, 9)], budgets={"p": 5.0}, rng=np.random.default_rng(0)
    )
    assert both.over.estimate == 1
    assert both.off.estimate == pytest.approx(0.8)
