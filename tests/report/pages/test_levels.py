"""A run's levels of effort and stated budgets in its table and its document."""

import numpy as np
from rich.console import Console, Group

from tersely.core.types import EvalRecord, Finish, Grade
from tersely.metrics.efforts import measure_budgets, measure_efforts
from tersely.report.pages.levels import RunLevels, describe_run_levels, draw_run_levels

RNG_SEED = 0


def record(problem, tokens, effort):
    return EvalRecord(
        run="r",
        benchmark="b",
        problem=f"{problem} {effort}",
        sample=0,
        grade=Grade.CORRECT,
        tokens=tokens,
        finish=Finish.STOP,
        cap_tokens=100,
        seed=0,
        effort=effort,
    )


def evaluation(low, high):
    return [
        record(f"p{p}", tokens + p % 2, effort)
        for p in range(20)
        for effort, tokens in (("low", low), ("high", high))
    ]


def run_levels():
    rng = np.random.default_rng(RNG_SEED)
    before, after = evaluation(50, 50), evaluation(10, 60)
    efforts = measure_efforts(
        {0: before, 40: after}, levels=("low", "high"), target_tokens={"low": 10.0}, rng=rng
    )
    budgets = {r.problem: 60.0 for r in after}
    return RunLevels(
        efforts, [measure_budgets(e, budgets=budgets, rng=rng) for e in (before, after)]
    )


def drawn(levels, *, width=100):
    console = Console(width=width, force_terminal=False)
    with console.capture() as caught:
        console.print(Group(*draw_run_levels(levels)))
    return caught.get()


def test_the_table_has_a_row_a_level_with_both_ends_and_the_budgets_sentence():
    text = drawn(run_levels())
    assert "By level of effort" in text
    low = next(line for line in text.splitlines() if line.startswith("low"))
    # half of the problems take a token more: 50.5 before, 10.5 after, half over the target of 10
    assert all(part in low for part in ("10", "50.5", "10.5", "50.0%"))
    # after training only the odd problems at high, a quarter of all, take 61
    assert "25.0%" in text[text.index("Budgets in the prompts") :]


def test_the_document_has_every_evaluation_of_a_level():
    found = describe_run_levels(run_levels())
    low, high = found["levels"]
    assert [e["step"] for e in low["evaluations"]] == [0, 40]
    assert [e["tokens"].estimate for e in high["evaluations"]] == [50.5, 60.5]
    assert low["against"] == ["high"]
    assert [each["over"].estimate for each in found["stated_budgets"]] == [0.0, 0.25]


def test_a_run_without_levels_and_budgets_shows_nothing_of_them():
    assert draw_run_levels(RunLevels(None, [])) == []
    assert describe_run_levels(RunLevels(None, [])) == {"levels": [], "stated_budgets": []}
