"""Graders, a file each: ``grade(text, answer) -> Verdict``. File name = a problem's ``grader``."""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from tersely.core.errors import ConfigError
from tersely.core.types import Problem, Verdict

Grader = Callable[[str, str], Verdict]


@cache
def load(name: str) -> Grader:
    """The grader in the file of that name."""
    available = sorted(m.name for m in iter_modules(__path__) if m.name != "answer")
    if name not in available:
        raise ConfigError(f"no grader {name!r}; there are {', '.join(available)}")
    grader: Grader = import_module(f"{__name__}.{name}").grade
    return grader


def grade(problem: Problem, text: str) -> Verdict:
    """What the problem's grader says of a completion's text."""
    return load(problem.grader)(text, problem.answer)
