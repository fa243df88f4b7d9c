import numpy as np
import pytest

from tersely.core.types import EvalRecord, Finish, Grade
from tersely.metrics.budgets import Protocol
from tersely.metrics.comparison import compare
from tersely.metrics.measures import measure
from tersely.metrics.records import tabulate
from tersely.report.tables.conclusions import list_findings
from tersely.report.tables.cut import head_evaluation


def table(cut, *, of=20, cap_tokens=8192):
    """``of`` problems of one sample; the first ``cut`` are cut, every second other is right."""
    return tabulate(
        [
            EvalRecord(
                run="r",
                benchmark="s",
                problem=str(at),
                sample=0,
                grade=Grade.CORRECT if at >= cut and at % 2 else Grade.WRONG,
                tokens=cap_tokens if at < cut else 100,
                finish=Finish.LENGTH if at < cut else Finish.STOP,
                cap_tokens=cap_tokens,
                seed=0,
            )
            for at in range(of)
        ]
    )


def measured(cut, **changed):
    rng = np.random.default_rng(0)
    evaluation = measure(table(cut), title="t", budgets=(8192,), ks=(1,), rng=rng)
    return evaluation._replace(**changed)


def test_above_five_percent_one_sentence_says_how_much_was_cut_and_what_it_means():
    (said,) = head_evaluation(measured(4))
    first, right = said.split(" Right: ")
    assert first == (
        "20% of the samples were cut at 8,192 tokens: accuracy is a lower bound, lengths are too."
    )
    # 8 of all 20 are right, and of the 16 that finished 8.
    assert right.startswith("40.0% [")
    assert "of all 20, 50.0% [" in right
    assert right.endswith("of the 16 that finished.")


@pytest.mark.parametrize("cut", [0, 1])
def test_at_five_percent_and_below_nothing_is_said(cut):
    assert head_evaluation(measured(cut)) == []


def test_where_prefixes_count_only_lengths_are_lower_bounds():
    said = head_evaluation(measured(4, protocol=Protocol.ANSWERED))
    assert said == ["20% of the samples were cut at 8,192 tokens: lengths are lower bounds."]


def test_a_comparison_says_it_of_each_side_by_name():
    rng = np.random.default_rng(0)
    both = compare("c", table(4), table(1), budgets=(8192,), rng=rng)
    said = list_findings(both, [], names=("base", "terse"))
    assert said[0] == (
        "base: 20% of its samples were cut at 8,192 tokens: accuracy is a lower bound, lengths "
        "are too."
    )
    assert not any(line.startswith("terse: ") for line in said)
