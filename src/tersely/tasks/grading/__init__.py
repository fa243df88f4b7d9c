"""Graders, a file each: ``grade(text, answer) -> Verdict``. File name = a problem's ``grader``.

A grader that may run long also has ``quick(text, answer) -> Verdict | str``: the verdict where it
is cheap and sure, otherwise the part of the text that decides. ``grade`` then gets that part, in
a worker process that is killed at a limit: ``LIMIT_S`` seconds of the grader's, or five. What its
``prepare()`` does there first (imports) is not counted. A grader that starts and limits processes
of its own has ``grade_part(part, answer) -> Verdict``, which gets the part in a thread instead.
``gold_problem(answer)``, where there is one, says what is wrong with a gold answer (None: nothing);
without it, the gold answer itself has to grade as right.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from tersely.core.errors import ConfigError, DataError, no_such
from tersely.core.types import Grade, Problem, Verdict
from tersely.tasks.grading import workers
from tersely.tasks.grading.golds import asks_for_hashes, no_answer
from tersely.tasks.grading.workers import GradingTask

Grader = Callable[[str, str], Verdict]

# Verdicts of workers on short answers: a group gives the same one many times.
_SHORT_CHARS = 200
_MOST_KEPT = 20_000
_kept: dict[GradingTask, Verdict] = {}
# What graders share; every other file here is one.
_NO_GRADERS = {
    "answer",
    "code_tests",
    "expressions",
    "golds",
    "math_answers",
    "math_reading",
    "math_text",
    "parts",
    "plain_math",
    "prefixes",
    "quantities",
    "units",
    "worker",
    "workers",
}
# Gold answers named in an error.
_SHOWN = 5


@cache
def names() -> tuple[str, ...]:
    """All graders."""
    return tuple(sorted(m.name for m in iter_modules(__path__) if m.name not in _NO_GRADERS))


@cache
def _module(name: str) -> Any:
    if name not in names():
        raise ConfigError(no_such("grader", name, names()))
    return import_module(f"{__name__}.{name}")


@cache
def load(name: str) -> Grader:
    """The grader in the file of that name; what may run long runs in a process with limits.

    Raises:
        ConfigError: there is no such grader, or a library that it needs is not installed.
    """
    module = _module(name)
    if not hasattr(module, "quick"):
        grader: Grader = module.grade
        return grader

    def grade_within_limits(text: str, answer: str) -> Verdict:
        found = _quick(name, text, answer)
        return found if isinstance(found, Verdict) else _within_limits(found)

    return grade_within_limits


def grade(problem: Problem, text: str) -> Verdict:
    """What the problem's grader says of a completion's text."""
    return load(problem.grader)(text, problem.answer)


def grade_all(pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
    """The verdicts on texts, each by its problem's grader, in order. What may run long runs side
    by side, as many at once as there are workers, and the same part of two texts runs once."""
    found = [_quick(problem.grader, text, problem.answer) for problem, text in pairs]
    tasks = list(dict.fromkeys(item for item in found if isinstance(item, GradingTask)))
    if not tasks:
        return [item for item in found if isinstance(item, Verdict)]
    # No more threads than workers, and no more workers than tasks.
    with ThreadPoolExecutor(min(len(tasks), workers.pool().size)) as threads:
        verdicts = dict(zip(tasks, threads.map(_within_limits, tasks), strict=True))
    return [item if isinstance(item, Verdict) else verdicts[item] for item in found]


def check_gold(problems: Sequence[Problem]) -> list[tuple[Problem, str]]:
    """The problems whose gold answer nothing that a model writes can match, each with the reason.

    A model writes ``\\boxed{answer}``, or the bare answer where the grader reads answers without a
    box; where the prompt asks for ``####``, also ``#### answer``. All of these have to be right. A
    worked solution, or what a table writes for a missing value, is no answer, even though it
    would equal itself.
    """
    bad = []
    to_grade = []
    for problem in problems:
        check = getattr(_module(problem.grader), "gold_problem", None)
        if reason := check(problem.answer) if check else no_answer(problem):
            bad.append((problem, reason))
        elif check is None:
            to_grade += [(problem, form) for form in _as_written(problem)]
    for (problem, form), verdict in zip(to_grade, grade_all(to_grade), strict=True):
        if verdict.grade is Grade.CORRECT or (bad and bad[-1][0] is problem):
            continue
        boxed = form.startswith("\\boxed")
        if boxed and grade(problem, problem.answer).grade is Grade.CORRECT:
            continue
        said = "" if boxed else " of #### with the answer, which its prompt asks for"
        bad.append((problem, f"grader {problem.grader} says {verdict.grade}{said}"))
    return bad


def _as_written(problem: Problem) -> list[str]:
    forms = [f"\\boxed{{{problem.answer}}}"]
    if asks_for_hashes(problem.prompt):
        forms.append(f"The answer is found.\n#### {problem.answer}")
    return forms


def refuse_bad_gold(problems: Sequence[Problem]) -> None:
    """Checks the gold answers before anything is sampled for them.

    Raises:
        DataError: some cannot be used, naming the first of them and where they stand.
    """
    bad = check_gold(problems)
    if bad:
        shown = "; ".join(
            f"{problem.id}: {problem.answer[:60]!r} ({reason})"
            + (f" at {problem.place}" if problem.place else "")
            for problem, reason in bad[:_SHOWN]
        )
        rest = f"; and {len(bad) - _SHOWN:,} more" if len(bad) > _SHOWN else ""
        raise DataError(
            f"{len(bad):,} of {len(problems):,} gold answers are not right by their own grader: "
            f"{shown}{rest}; correct them, choose another grader (FILE?grader=NAME) or leave them "
            "out (tersely benchmarks --leave-out --out)"
        )


def _quick(name: str, text: str, answer: str) -> Verdict | GradingTask:
    """The verdict if it is cheap, otherwise what is left to do within limits."""
    module = _module(name)
    if not hasattr(module, "quick"):
        verdict: Verdict = module.grade(text, answer)
        return verdict
    found = module.quick(text, answer)
    if isinstance(found, Verdict):
        return found
    return GradingTask(module.__name__, found, answer, getattr(module, "LIMIT_S", workers.LIMIT_S))


def _within_limits(task: GradingTask) -> Verdict:
    own = getattr(import_module(task.module), "grade_part", None)
    if own is not None:
        found: Verdict = own(task.text, task.answer)
        return found
    if task in _kept:
        return _kept[task]
    verdict = workers.pool().grade(task)
    # What ran out of time on a busy machine may not do so again.
    if len(task.text) <= _SHORT_CHARS and verdict.grade is not Grade.UNGRADED:
        if len(_kept) >= _MOST_KEPT:
            _kept.clear()
        _kept[task] = verdict
    return verdict
