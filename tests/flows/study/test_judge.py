"""Claims against results that are made by hand."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tersely.core import jsonl
from tersely.core.errors import ConfigError, DataError
from tersely.core.types import Problem
from tersely.flows.study.judge import (
    Evidence,
    change_of_accuracy,
    effect_of,
    judge_study,
    statistic,
)
from tersely.flows.study.judged import count_predictions, gather, sum_up
from tersely.flows.study.plan import Arm, Claim, NamedStudy, Side, Study, unit_of
from tersely.flows.study.pool import HELD_OUT, StudyPool
from tersely.flows.study.results import (
    COLUMNS,
    Evaluated,
    Raised,
    Result,
    result_file,
    write_result,
)
from tersely.flows.study.work import StudyFolders
from tersely.metrics.verdicts import ClaimVerdict
from tersely.report.charts.study import draw_figures
from tersely.report.tables.study import describe_verdict, format_markdown
from tersely.tasks.problems import digest

ARMS = {
    "a": Arm(says="a"),
    "b": Arm(says="b", pool="hard"),
}


def problems(count: int) -> list[Problem]:
    """Alternating sources; even ones the base solves, odd ones it does not."""
    return [
        Problem(
            id=f"p{at}",
            prompt=f"p{at}?",
            answer="1",
            source=("chains", "rows")[at % 2],
            grader="exact",
            difficulty=float(at % 2),
        )
        for at in range(count)
    ]


def made(
    right: dict[int, np.ndarray],
    tokens: dict[int, np.ndarray],
    *,
    unit: str = "u",
    seed: int = 1,
    curves: dict[str, np.ndarray] | None = None,
    cap: int = 64,
) -> Result:
    """A result whose evaluations and curves are given; steps as many as the last evaluation's."""
    last = max(right)
    return Result(
        schema=1,
        unit=unit,
        seed=seed,
        pool="pool",
        held_out="held-out",
        samples=next(iter(right.values())).shape[1],
        cap_tokens=cap,
        staleness=1,
        last_step=last,
        steps={name: [0.0] * last for name in COLUMNS}
        | {name: values.tolist() for name, values in (curves or {}).items()},
        evaluations=[
            Evaluated(
                step=step,
                tokens=tokens[step].astype(int).ravel().tolist(),
                right="".join(str(int(digit)) for digit in right[step].ravel()),
            )
            for step in right
        ],
        alarms=[],
        lint=[],
        seconds=1.0,
        facts={},
    )


def claim(statistic: str = "accuracy", of: str = "a", **more: Any) -> Claim:
    bound = {"above": 0.0} if not {"above", "below", "within"} & more.keys() else {}
    against = more.pop("against", None)
    return Claim(
        says="c",
        paper="p",
        statistic=statistic,
        of=Side(arm=of, **more.pop("side", {})),
        against=None if against is None else Side(arm=against[0], **against[1]),
        **bound,
        **more,
    )


def evidence_of(small: dict[str, Any], runs: dict[str, list[Result]], *claims: Claim, count: int):
    study = NamedStudy(
        "made", Study(title="t", question="q", paper="p", arms=ARMS, claims=claims or (claim(),))
    )
    results = {
        unit_of(small, ARMS[arm], seed=result.seed).name: result
        for arm, made_of in runs.items()
        for result in made_of
    }
    return Evidence(small, problems(count), results, seeds=4), study


def run(right: float, *, seed: int, tokens: int = 20, count: int = 6) -> Result:
    """Four samples a problem, of which this share is right at the end and half at the start."""
    cells = np.zeros((count, 4))
    cells[:, : round(4 * right)] = 1
    half = np.zeros((count, 4))
    half[:, :2] = 1
    lengths = np.full((count, 4), tokens)
    return made({0: half, 4: cells}, {0: np.full((count, 4), 40), 4: lengths}, seed=seed)


def test_a_difference_is_paired_by_seed_and_problem(small: dict[str, Any]) -> None:
    evidence, study = evidence_of(
        small,
        {"a": [run(1.0, seed=s) for s in (1, 2, 3, 4)], "b": [run(0.5, seed=s) for s in (1, 2, 3)]},
        claim(against=("b", {}), above=0.1),
        count=6,
    )
    (judged,) = judge_study(evidence, study)
    # Seed 4 of b is not there yet.
    assert (judged.effect.n_seeds, judged.effect.n_problems) == (3, 6)
    assert judged.effect.estimate == pytest.approx(0.5)
    assert judged.verdict is ClaimVerdict.HOLDS


def test_budgets_moments_and_ratios(small: dict[str, Any]) -> None:
    evidence, study = evidence_of(small, {"a": [run(1.0, seed=1), run(1.0, seed=2)]}, count=6)

    def effect(c: Claim) -> float:
        return effect_of(evidence, study, c).estimate

    assert effect(claim()) == 1.0
    assert effect(claim(budget=32)) == 1.0
    # 20 tokens are above 16.
    assert effect(claim(budget=16)) == 0.0
    assert effect(claim(side={"moment": 0.0})) == 0.5
    # 40 tokens at the start are within 64 only.
    assert effect(claim(budget=32, side={"moment": 0.0})) == 0.0
    assert effect(claim(against=("a", {"moment": 0.0}))) == 0.5
    assert effect(claim("tokens", against=("a", {"moment": 0.0}), relative=True)) == -0.5
    # Right from 20 tokens on: nothing at 16, all at 32 and 64; trapezoids 0.5 and 1, of two.
    assert effect(claim("area")) == pytest.approx(0.75)
    assert effect(claim("area", least=32)) == 1.0
    # L_T is 30: the same budgets.
    assert effect(claim("area", least="L_T")) == 1.0
    with pytest.raises(ConfigError, match=r"least = 64 leaves 1 of the budgets \[16, 32, 64\]"):
        effect(claim("area", least=64))
    # Right at the end, half at the start: a change of half, and none since then.
    assert effect(claim(side={"since": 0.0})) == 0.5
    assert effect(claim(side={"since": 0.0}, against=("a", {"since": 1.0}))) == 0.5
    # Two of four are right at the start: 1 - C(2,2)/C(4,2).
    assert effect(claim("pass_at_k", k=2, side={"moment": 0.0})) == pytest.approx(5 / 6)


def test_where_keeps_a_source_or_what_the_base_finds_hard(small: dict[str, Any]) -> None:
    right = np.zeros((6, 4))
    right[::2] = 1  # the even ones: chains, easy
    result = made({0: right, 4: right}, {0: np.full((6, 4), 9), 4: np.full((6, 4), 9)})
    evidence, _ = evidence_of(small, {"a": [result]}, count=6)

    def mean(where: str | None) -> float:
        return float(statistic(evidence, claim(where=where), Side(arm="a"), result).mean())

    assert [mean(w) for w in (None, "chains", "rows", "easy", "hard")] == [0.5, 1, 0, 1, 0]
    with pytest.raises(
        ConfigError,
        match="no source 'code' of held-out problems; choose one of easy, hard, chains, rows",
    ):
        mean("code")


def test_curves_stages_and_rebounds(small: dict[str, Any]) -> None:
    steps = np.arange(100)
    falling = 30 + 60 * np.exp(-steps / 10)
    cells = {0: np.ones((2, 4)), 100: np.ones((2, 4))}
    result = made(
        cells,
        {step: np.full((2, 4), 9) for step in cells},
        curves={"tokens_mean": np.where(steps < 80, falling, falling + (steps - 80) * 0.6)},
    )
    evidence, _ = evidence_of(small, {"a": [result]}, count=2)

    def value(c: Claim) -> float:
        (only,) = statistic(evidence, c, c.of, result)
        return float(only)

    assert value(claim("curve", side={"steps": (0.0, 0.01)})) == pytest.approx(90)
    assert value(claim("curve", side={"steps": (0.5, 0.6)})) == pytest.approx(
        falling[50:60].mean(), rel=1e-4
    )
    # 5% of the fall remain after 10 ln 20 = 30 steps of 100.
    assert value(claim("stage_end")) == pytest.approx(0.30, abs=0.02)
    # From about 30 to 30 + 0.6 * 14.5, the mean of the last ten.
    assert value(claim("rebound")) == pytest.approx(8.7 / 30, abs=0.02)
    with pytest.raises(
        ConfigError, match="no column 'lenght' of the results; choose one of accuracy"
    ):
        value(claim("curve", column="lenght"))


def test_noise_alone_is_no_rebound(small: dict[str, Any]) -> None:
    def rebound(tokens: np.ndarray) -> float:
        cells = {0: np.ones((2, 4)), len(tokens): np.ones((2, 4))}
        tables = {step: np.full((2, 4), 9) for step in cells}
        result = made(cells, tables, curves={"tokens_mean": tokens})
        evidence, _ = evidence_of(small, {"a": [result]}, count=2)
        c = claim("rebound")
        (only,) = statistic(evidence, c, c.of, result)
        return float(only)

    rng = np.random.default_rng(0)
    noisy = [rebound(50 + 4 * rng.standard_normal(720)) for _ in range(200)]
    # Each has a standard deviation of 4 (1/10 + 1/5)^(1/2) / 50, and their mean a 14th of it.
    assert abs(np.mean(noisy)) < 0.012
    falling = [rebound(np.geomspace(100, 50, n) + rng.normal(size=n)) for n in range(601, 721)]
    assert abs(np.mean(falling)) < 0.012
    # By hand: the others' means of five are 5, 3.4 and 3, and where they are least those between
    # are 5; the last ten are 4.
    between, others = [9, 9, 8, 6, 4, 4, 3], [9, 7, 5, 3, 1, 1, 5]
    mixed = np.array([between, others], dtype=float).T.flatten()
    assert rebound(mixed) == pytest.approx(4 / 5 - 1)
    assert np.isnan(rebound(np.array([9.0])))


def test_ungraded_samples_are_left_out(small: dict[str, Any]) -> None:
    right = np.array([[1, 1, 2, 2], [0, 1, 1, 2]])
    result = made({0: right, 4: right}, {0: np.full((2, 4), 9), 4: np.full((2, 4), 9)})
    evidence, _ = evidence_of(small, {"a": [result]}, count=2)
    values = statistic(evidence, claim(), Side(arm="a"), result)
    assert values.tolist() == pytest.approx([1.0, 2 / 3])


def test_a_length_is_of_the_graded_samples_in_the_claim_and_in_the_arm(
    small: dict[str, Any],
) -> None:
    # Of 10, 20, 60 and 60 tokens the last two are not graded, and of the second problem none is.
    right = np.array([[1, 1, 2, 2], [2, 2, 2, 2]])
    tokens = np.array([[10, 20, 60, 60], [9, 9, 9, 9]])
    result = made({0: right, 4: right}, {0: tokens, 4: tokens})
    evidence, study = evidence_of(small, {"a": [result]}, count=2)
    values = statistic(evidence, claim("tokens"), Side(arm="a"), result)
    np.testing.assert_array_equal(values, [15.0, math.nan])
    outcome = sum_up(evidence, study)
    (arm,) = [arm for arm in outcome.arms if arm.name == "a"]
    assert arm.tokens.estimate == outcome.base_tokens.estimate == 15


def test_no_run_yet_cannot_tell(small: dict[str, Any]) -> None:
    evidence, study = evidence_of(small, {"a": [run(1.0, seed=1)]}, claim(of="b"), count=6)
    (judged,) = judge_study(evidence, study)
    assert np.isnan(judged.effect.estimate)
    assert judged.verdict is ClaimVerdict.UNKNOWN


def test_what_was_not_run_is_told_from_what_no_run_defines(small: dict[str, Any]) -> None:
    nowhere = np.array([math.nan] * 4)
    result = run(1.0, seed=1)
    result = result.model_copy(update={"steps": {**result.steps, "entropy_mean": list(nowhere)}})
    undefined = claim("curve", column="entropy_mean")
    for against, told in ((None, "**cannot tell**"), ("b", "not run")):
        one = undefined.model_copy(update={"against": against and Side(arm=against)})
        evidence, study = evidence_of(small, {"a": [result]}, one, count=6)
        assert f"| – | {told} |" in format_markdown([sum_up(evidence, study)], [])


def test_a_ratio_to_nothing_is_said_to_be_undefined_and_not_to_lack_runs(
    small: dict[str, Any],
) -> None:
    never = claim(against=("a", {"moment": 0.0}), relative=True)
    wrong = np.zeros((6, 4))
    lengths = np.full((6, 4), 9)
    runs = [made({0: wrong, 4: wrong}, {0: lengths, 4: lengths}, seed=s) for s in (1, 2, 3)]
    for made_runs, told in ((runs, "undefined in these runs (0 of 0"), ([], "not run")):
        evidence, study = evidence_of(small, {"a": made_runs}, never, count=6)
        (outcome,) = sum_up(evidence, study).claims
        assert describe_verdict(outcome).startswith(f"cannot tell, –; {told}")
    evidence, study = evidence_of(small, {"a": [run(1.0, seed=1)]}, claim(above=0.5), count=6)
    (outcome,) = sum_up(evidence, study).claims
    assert describe_verdict(outcome).endswith("; too few runs")


def test_predictions_are_counted_against_lost_runs(small: dict[str, Any]) -> None:
    def with_(result: Result, *, lint: str, alarm: str | None) -> Result:
        raised = [] if alarm is None else [Raised(name="x", severity=alarm, step=1)]
        found = [Raised(name="y", severity=lint)]
        return result.model_copy(update={"alarms": raised, "lint": found})

    lost, sound = (lambda seed: run(0.25, seed=seed)), (lambda seed: run(0.5, seed=seed))
    assert change_of_accuracy(lost(1), problems(6)) == -0.25
    evidence, study = evidence_of(
        small,
        {
            "a": [
                with_(lost(1), lint="error", alarm="error"),
                with_(lost(2), lint="info", alarm="warning"),
                with_(lost(3), lint="info", alarm=None),
            ],
            "b": [with_(sound(1), lint="error", alarm="warning")],
        },
        count=6,
    )
    lint, errors, any_alarm = count_predictions(evidence)
    assert lint[1:5] == (1, 2, 1, 0)
    assert errors[1:5] == (1, 2, 0, 1)
    assert any_alarm[1:5] == (2, 1, 1, 0)
    assert any_alarm.lead_steps == 3
    arms = {arm.name: arm for arm in sum_up(evidence, study).arms}
    assert (arms["a"].lost, arms["a"].alarmed, arms["a"].seeds) == (3, 2, 3)
    assert (arms["b"].lost, arms["b"].alarmed, arms["b"].seeds) == (0, 1, 1)
    assert (arms["a"].watched, arms["a"].foretold, arms["a"].errors) == (3, 1, 1)
    assert (arms["b"].watched, arms["b"].foretold, arms["b"].errors) == (1, 1, 0)
    told = format_markdown([sum_up(evidence, study)], [])
    assert "| 3 of 3 | 1 of 3 | 2 of 3 | 1 of 3 |" in told
    assert "| 0 of 1 | 1 of 1 | 1 of 1 | 0 of 1 |" in told


def test_what_was_spent_is_the_sum_of_all_steps_and_only_rl_is_foretold(
    small: dict[str, Any],
) -> None:
    learnt = run(1.0, seed=1)
    learnt = learnt.model_copy(
        update={"steps": {**learnt.steps, "sampled_tokens": [5.0, 7.0, None, 0.0]}}
    )
    lost = run(0.0, seed=1)
    start, end = lost.evaluations
    ends = {"evaluations": [start, end.model_copy(update={"step": 1})], "last_step": 1}
    lost = lost.model_copy(update={"steps": {"sampled_tokens": [30.0]}, **ends})
    spent = claim("spent", "b", against=("a", {}), relative=True, within=0.05)
    evidence, study = evidence_of(small, {"a": [learnt], "b": [lost]}, spent, count=6)
    # 30 over 5 + 7, minus 1.
    assert effect_of(evidence, study, spent).estimate == pytest.approx(1.5)
    assert change_of_accuracy(lost, evidence.problems) < -0.1
    # Nobody looked at it before or while it was made.
    (seen,) = [arm for arm in sum_up(evidence, study).arms if arm.name == "b"]
    assert (seen.seeds, seen.lost, seen.watched, seen.alarmed) == (1, 1, 0, 0)
    assert "| 1 of 1 | – | – | – |" in format_markdown([sum_up(evidence, study)], [])
    assert [each.lost_missed for each in count_predictions(evidence)] == [0, 0, 0]


def test_the_dose_of_an_arm_is_of_its_first_steps_and_of_rl_only(small: dict[str, Any]) -> None:
    def begun(share: float, *, seed: int) -> Result:
        result = run(0.25, seed=seed)
        later = [0.9] * (len(result.steps["tokens_mean"]) - 1)
        return result.model_copy(
            update={"steps": {**result.steps, "positive_share": [share, *later]}}
        )

    untrained = run(0.5, seed=1).model_copy(
        update={"steps": {"sampled_tokens": [30.0]}, "last_step": 1}
    )
    runs = {"a": [begun(0.01, seed=1), begun(0.03, seed=2)], "b": [untrained]}
    evidence, study = evidence_of(small, runs, count=6)
    outcome = sum_up(evidence, study)
    arms = {arm.name: arm for arm in outcome.arms}
    assert arms["a"].rewarded.estimate == pytest.approx(0.02)
    assert arms["a"].change.estimate == pytest.approx(-0.25)
    assert np.isnan(arms["b"].rewarded.estimate)
    (doses,) = [f for f in draw_figures(outcome) if f.name.endswith("-doses")]
    dots = [row for rows in doses.spec["datasets"].values() for row in rows if "arm" in row]
    assert [(row["arm"], row["rewarded"], row["change"]) for row in dots] == [
        ("a", pytest.approx(0.02), pytest.approx(-25))
    ]


def test_no_interval_of_a_share_or_a_length_leaves_what_is_possible(small: dict[str, Any]) -> None:
    runs = {"a": [run(1.0, seed=1, tokens=10), run(0.0, seed=2, tokens=60)]}
    evidence, study = evidence_of(small, runs, count=6)
    outcome = sum_up(evidence, study)
    (arm,) = [arm for arm in outcome.arms if arm.name == "a"]
    for share in (*arm.accuracy_B, arm.area):
        assert (share.low, share.high) == (0.0, 1.0)
    assert arm.tokens.low == 0
    assert arm.tokens.high > 100
    (budgets,) = [f for f in draw_figures(outcome) if f.name.endswith("-budgets")]
    drawn = [row for rows in budgets.spec["datasets"].values() for row in rows]
    assert [(row["low"], row["high"]) for row in drawn if row["series"] == "a"] == [(0, 1)] * 3


def test_a_result_of_other_held_out_problems_is_refused(
    small: dict[str, Any], tmp_path: Path
) -> None:
    pool = StudyPool(tmp_path / "pool")
    pool.folder.mkdir()
    jsonl.write(pool.file(HELD_OUT), problems(6))
    bench = StudyFolders(pool, tmp_path, tmp_path, tmp_path, keep=True)
    given, study = evidence_of(small, {"a": [run(1.0, seed=1)]}, count=6)
    ((unit, result),) = given.results.items()
    known = digest(problems(6))
    for held_out in (known, digest(problems(6)[::-1])):
        of_these = result.model_copy(update={"unit": unit, "held_out": held_out})
        write_result(result_file(tmp_path, unit), of_these)
        if held_out == known:
            assert gather(small, [study], bench, seeds=4).results == {unit: of_these}
    said = f"result {unit} is of other held-out problems .{held_out}. than .*pool holds .{known}."
    with pytest.raises(DataError, match=said):
        gather(small, [study], bench, seeds=4)
