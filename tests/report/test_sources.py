"""Where problems come from several sources, every figure is also given of each."""

import numpy as np
import pytest

from tersely.core.types import EvalRecord, Finish, Grade
from tersely.flows.evaluate.measuring import compare_loaded, measure_loaded
from tersely.metrics.budgets import Protocol
from tersely.metrics.records import tabulate
from tersely.readers.evaluations import Loaded
from tersely.report.pages import evaluation as pages
from tersely.report.pages.exports import (
    export_comparison,
    export_evaluation,
    format_comparison,
    format_evaluation,
)
from tersely.report.tables import pairs
from tersely.report.tables.matrices import tabulate_sources


def loaded(name, problems):
    """Problems are ``{(source, id): "c8 w20"}``: grade and tokens of each sample."""
    records = [
        EvalRecord(
            run=name,
            benchmark=source,
            problem=problem,
            sample=place,
            grade=Grade.CORRECT if word[0] == "c" else Grade.WRONG,
            tokens=int(word[1:]),
            finish=Finish.STOP,
            cap_tokens=40,
            seed=1,
        )
        for (source, problem), words in problems.items()
        for place, word in enumerate(words.split())
    ]
    table = tabulate(records)
    return Loaded(name, table, Protocol.FINISHED, (10, 40), (), {}, ())


BEFORE = {("code", "a"): "c20 w30", ("math", "a"): "c8 c12", ("math", "b"): "w4 w8"}
AFTER = {("code", "a"): "c20 c10", ("math", "a"): "c4 w6", ("math", "b"): "c2 w4"}


@pytest.fixture(scope="module")
def evaluation():
    return measure_loaded(loaded("base", BEFORE))


@pytest.fixture(scope="module")
def compared():
    return compare_loaded(loaded("base", BEFORE), loaded("terse", AFTER))


def test_each_source_is_measured_as_if_it_were_alone(evaluation):
    code, math = evaluation.sources
    assert (code.title, math.title) == ("code", "math")
    assert (code.n_problems, math.n_problems, evaluation.n_problems) == (1, 2, 3)
    # math: a is right once of two within 10 and always within 40; b never.
    assert math.value("accuracy", 10).estimate == 0.25
    assert math.value("accuracy", 40).estimate == 0.5
    assert code.value("mean tokens").estimate == 25
    alone = measure_loaded(loaded("m", {k: v for k, v in BEFORE.items() if k[0] == "math"}))
    assert alone.sources == ()
    for (q, value), (p, other) in zip(math.measured, alone.measured, strict=True):
        assert (q, value.n_problems) == (p, other.n_problems)
        np.testing.assert_equal(value.estimate, other.estimate)


def test_each_source_is_compared_with_itself(compared):
    code, math = compared.comparison.sources
    # code within 40: 1/2 -> 1; math: (1 + 0)/2 -> (1/2 + 1/2)/2
    assert code.find("accuracy", 40).difference.estimate == 0.5
    assert math.find("accuracy", 40).difference.estimate == 0
    # each problem weighing the same: (5 + 3) / (10 + 6)
    assert math.token_ratio.estimate == pytest.approx(0.5)


def test_the_tables_have_a_row_a_source_and_one_for_all(evaluation, compared):
    table = tabulate_sources(evaluation)
    assert [row.label for row in table.rows] == ["code", "math", "all"]
    assert [row.cells[0].estimate for row in table.rows] == ["1", "2", "3"]
    assert [row.cells[1].estimate for row in table.rows] == ["0.0%", "25.0%", "16.7%"]
    changes = pairs.tabulate_sources(compared.comparison)
    assert [row.label for row in changes.rows] == ["code", "math", "all"]
    assert changes.heads[-2:] == ["Pass@2 within 40", "token ratio"]
    for text in (
        format_evaluation(evaluation, notes=[]),
        format_comparison(compared.comparison, compared.changes, names=("a", "b")),
    ):
        assert "| math |" in text


def test_the_page_and_the_csv_hold_every_source(evaluation, compared, tmp_path):
    page = pages.write_evaluation(loaded("base", BEFORE), evaluation, out=tmp_path / "x.html")
    assert "by source (protocol finished)" in page.read_text(encoding="utf-8")
    for rows in (export_evaluation(evaluation), export_comparison(compared.comparison)):
        of = {s: [r.name for r in rows if r.source == s] for s in ("", "code", "math")}
        assert of[""] == of["code"] == of["math"]
