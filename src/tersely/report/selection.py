"""Leaves out means over only those problems where a figure happens to be known.

A vote is not known where a wrong sample's answer is not, and outcome efficiency not where a right
sample's answer was not located: what remains are the problems solved always, or never.
"""

from collections.abc import Callable

from tersely.metrics.comparison import Comparison
from tersely.metrics.intervals import Interval
from tersely.metrics.measures import Evaluation

Find = Callable[[str, int | None], Interval]


def keep_whole(evaluation: Evaluation) -> Evaluation:
    """The evaluation without figures of such a part of its problems."""
    largest = evaluation.budgets[-1]
    return evaluation._replace(
        measured=tuple(
            m
            for m in evaluation.measured
            if _is_whole(
                m.quantity.name,
                m.quantity.budget_tokens,
                m.value,
                find=evaluation.value,
                largest=largest,
            )
        )
    )


def keep_whole_rows(comparison: Comparison) -> Comparison:
    """The comparison without such rows."""

    def find(name: str, budget: int | None) -> Interval:
        return comparison.find(name, budget).difference

    return comparison._replace(
        measures=tuple(
            m
            for m in comparison.measures
            if _is_whole(
                m.name,
                m.budget_tokens,
                m.difference,
                find=find,
                largest=comparison.budgets[-1],
            )
        )
    )


def _is_whole(name: str, budget: int | None, value: Interval, *, find: Find, largest: int) -> bool:
    """Whether it is over as many problems as the figure that needs the same samples."""
    if name == "outcome efficiency":
        return value.n_problems == find("accuracy", largest).n_problems
    if name.startswith("majority@"):
        return value.n_problems == find(f"pass@{name.removeprefix('majority@')}", budget).n_problems
    return True
