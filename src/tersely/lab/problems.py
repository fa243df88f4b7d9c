"""Seeded problems of the lab, in a train and a test half that share no prompt."""

from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b

import numpy as np

from tersely.core.types import Problem
from tersely.lab.chains import CHAINS
from tersely.lab.family import ALL_LEVELS, LEVELS, Family, Task, solve
from tersely.lab.rows import ROWS

FAMILIES = {family.name: family for family in (CHAINS, ROWS)}
TEST_SHARE = 0.25
# Sets of problems by name: the levels that the lab's reasoner is trained on, and those above them.
SETS = {
    "lab": LEVELS,
    "lab-hard": range(LEVELS[-1] + 1, ALL_LEVELS[-1] + 1),
    "lab-all": ALL_LEVELS,
}


class Split(StrEnum):
    """Which half of all prompts; decided by the prompt's digest, so the halves cannot overlap."""

    TRAIN = "train"
    TEST = "test"


def split_of(prompt: str) -> Split:
    """The half that a prompt belongs to, whoever draws it."""
    digest = int.from_bytes(blake2b(prompt.encode(), digest_size=8).digest(), "big")
    return Split.TEST if digest / 2**64 < TEST_SHARE else Split.TRAIN


def draw_task(family: Family, *, level: int, split: Split, rng: np.random.Generator) -> Task:
    """A random task of the level whose prompt lies in the split."""
    while True:
        task = family.draw(level, rng)
        if split_of(family.write(task)) is split:
            return task


def as_problem(family: Family, task: Task, *, level: int) -> Problem:
    """The task as a problem with its true answer; the id is made from the prompt."""
    prompt = family.write(task)
    return Problem(
        id=f"{family.name}/{prompt.rstrip('?')}",
        prompt=prompt,
        answer=solve(family, task),
        source=family.name,
        grader="exact",
        difficulty=float(level),
    )


def draw_problems(
    *,
    per_family: int,
    seed: int,
    split: Split,
    levels: Iterable[int] = LEVELS,
) -> list[Problem]:
    """Distinct problems, levels in turn, families interleaved.

    A level with few distinct prompts (level 1) gives what it has and the others make up for it.
    """
    return list(_drawn(per_family, seed, split, tuple(levels)))


def draw_set(name: str, *, count: int, seed: int, split: Split) -> list[Problem]:
    """``count`` problems of a set, or one more: as many of one family as of the other.

    Fewer, where 200 draws in a row give none that is new.
    """
    return draw_problems(
        per_family=-(-count // len(FAMILIES)), seed=seed, split=split, levels=SETS[name]
    )


# What is drawn depends on the arguments alone; the default recipe's two sides take half a second.
@lru_cache(maxsize=8)
def _drawn(
    per_family: int, seed: int, split: Split, levels: tuple[int, ...]
) -> tuple[Problem, ...]:
    rng = np.random.default_rng([seed, list(Split).index(split)])
    found: dict[str, Problem] = {}
    for number in range(per_family):
        for family in FAMILIES.values():
            for attempt in range(200):
                level = levels[(number + attempt // 20) % len(levels)]
                task = draw_task(family, level=level, split=split, rng=rng)
                problem = as_problem(family, task, level=level)
                if problem.id not in found:
                    found[problem.id] = problem
                    break
    return tuple(found.values())
