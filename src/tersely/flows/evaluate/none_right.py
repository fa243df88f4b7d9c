"""Marks to look at twice: nothing is right although most answers hold what is, so that the grader
may not read the form that they have; and samples are right although they were cut."""

import re
from collections.abc import Iterator

from tersely.core.types import EvalRecord, Finish, Grade
from tersely.metrics.budgets import Protocol
from tersely.readers.evaluations import Loaded
from tersely.readers.regrading import graded_text
from tersely.tasks.grading.answer import answer_part

# Of fewer, one may hold it by chance.
LEAST_TEXTS = 2


def tell_none_right(loaded: Loaded) -> Iterator[str]:
    """A note if no graded sample is right and more than half of the answers hold the right one."""
    table = loaded.table
    graded = int(table.graded_PS.sum())
    if not graded or (table.graded_PS & table.correct_PS).any():
        return
    golds = {key: gold for key, (_, gold) in loaded.asked.items()}
    holds = [
        _holds(record, golds[record.benchmark, record.problem])
        for record in loaded.traces
        if _is_answer(record) and (record.benchmark, record.problem) in golds
    ]
    if len(holds) < LEAST_TEXTS or 2 * sum(holds) <= len(holds):
        return
    graders = ", ".join(loaded.facts.get("graders") or ()) or "the file's own"
    foreign = "read as" in loaded.facts
    fix = "--regrade NAME" if foreign else "tersely eval --benchmark 'FILE?grader=NAME' --out OTHER"
    yield (
        f"none of {graded:,} graded samples is right, yet {sum(holds):,} of {len(holds):,} answers "
        f"looked at hold the right one: the grader ({graders}) may not read answers of this form; "
        f"look at some, and name another with {fix}"
    )


def tell_right_but_cut(loaded: Loaded) -> Iterator[str]:
    """A note on samples that are marked right although they were cut."""
    table = loaded.table
    right_PS = table.graded_PS & table.correct_PS
    cut = int((right_PS & ~table.finished_PS).sum())
    if cut and loaded.protocol is Protocol.FINISHED:
        them = "1 sample is" if cut == 1 else f"{cut:,} samples are"
        yield (
            f"{them} marked right, but cut: not right within any budget, as an answer that never "
            "ended is not served; counted among wrong samples and those without an answer"
        )


def _is_answer(record: EvalRecord) -> bool:
    ended = record.finish in (Finish.STOP, Finish.UNKNOWN)
    return ended and record.grade in (Grade.WRONG, Grade.UNPARSED) and bool(record.text)


def _holds(record: EvalRecord, gold: str) -> bool:
    """Whether the gold answer stands in the answer, as a word or number of its own."""
    answer, wanted = (" ".join(t.split()) for t in (answer_part(graded_text(record)) or "", gold))
    whole = rf"(?<![\w.,-]){re.escape(wanted)}(?![\w]|[.,]\d)"
    return bool(wanted) and re.search(whole, answer, re.IGNORECASE) is not None
