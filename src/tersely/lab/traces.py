"""The verbose worked solutions that the base policy was pretrained on.

Three styles trade tokens for competence. *guess* writes the answer at once. *brief* writes
only states, and is rare on long problems, so that the skill is missing there until training
finds it. *full* writes every operation, and goes over the whole problem again and again
(`` wait: ``), each pass less hasty than the one before; a slip inside a pass is sometimes
noticed and undone (`` no: ``). The last pass gives the answer, so longer is more often right.

Words of *full* are free: which one says "equals" or "once more", whether one stands between two
steps, whether the problem is restated first. No choice among them makes an answer right or wrong.
"""

from enum import StrEnum

import numpy as np

from tersely.lab.family import Family, Task, is_shaky, solve

THINK, END_THINK, NO, BRIEF = "<think>", "</think>", " no: ", ":"
# Any of these does as well as another.
RECHECKS = (" wait: ", " check: ", " hmm: ", " again: ")
EQUALS = ("=", " is ", " gives ", " makes ")
JOINS = (" then ", " so ", " next ", " now ", " and ", ", ")
ASKED = (" asked: ", " given: ")

# By level, as far as worked solutions go. What is left over is *full*.
GUESS_SHARE = (0.02, 0.02, 0.02, 0.02, 0.03, 0.05, 0.08, 0.15, 0.30, 0.50)
BRIEF_SHARE = (0.18, 0.18, 0.14, 0.10, 0.07, 0.05, 0.03, 0.03, 0.03, 0.03)
JOIN_SHARE = 0.6
RESTATE_SHARE = 0.4
# Passes 1..4 of *full*.
PASSES_SHARE = (0.24, 0.28, 0.26, 0.22)
SHAKY_SLIP = (0.60, 0.25, 0.10, 0.04)
FIRM_SLIP = (0.02, 0.01, 0.004, 0.002)
UNDO_SHARE = 0.25


class Style(StrEnum):
    """How a solution is written."""

    GUESS = "guess"
    BRIEF = "brief"
    FULL = "full"


def draw_style(level: int, *, rng: np.random.Generator) -> Style:
    """A style by the level's shares."""
    guess, brief = GUESS_SHARE[level - 1], BRIEF_SHARE[level - 1]
    return Style(str(rng.choice(list(Style), p=[guess, brief, 1 - guess - brief])))


def _take_step(
    family: Family, state: str, op: str, *, pass_index: int, rng: np.random.Generator
) -> tuple[str, bool]:
    slip = (SHAKY_SLIP if is_shaky(state, op) else FIRM_SLIP)[pass_index]
    slipped = bool(rng.random() < slip)
    return (family.misstep if slipped else family.apply)(state, op), slipped


def _full_pass(
    family: Family, task: Task, *, pass_index: int, rng: np.random.Generator
) -> tuple[str, str]:
    text, state = task.start, task.start
    for number, op in enumerate(task.ops):
        if number and rng.random() < JOIN_SHARE:
            text += rng.choice(JOINS)
        after, slipped = _take_step(family, state, op, pass_index=pass_index, rng=rng)
        text += f"{op}{rng.choice(EQUALS)}{after}"
        if slipped and rng.random() < UNDO_SHARE:
            after = family.apply(state, op)
            text += f"{NO}{state}{op}{rng.choice(EQUALS)}{after}"
        state = after
    return text, state


def _brief_pass(family: Family, task: Task, *, rng: np.random.Generator) -> tuple[str, str]:
    text, state = BRIEF, task.start
    for number, op in enumerate(task.ops, start=1):
        state, _ = _take_step(family, state, op, pass_index=0, rng=rng)
        if number % family.leap == 0 or number == len(task.ops):
            text += state
    return text, state


def _restate(family: Family, task: Task, *, rng: np.random.Generator) -> str:
    if rng.random() >= RESTATE_SHARE:
        return ""
    return f"{rng.choice(ASKED)}{family.write(task)}"


def write_trace(family: Family, task: Task, style: Style, *, rng: np.random.Generator) -> str:
    """One worked solution, thinking and answer, without the stop token."""
    match style:
        case Style.GUESS:
            thinking, answer = "", solve(family, task)
        case Style.BRIEF:
            thinking, answer = _brief_pass(family, task, rng=rng)
        case Style.FULL:
            passes = 1 + int(rng.choice(len(PASSES_SHARE), p=PASSES_SHARE))
            written = [_full_pass(family, task, pass_index=p, rng=rng) for p in range(passes)]
            thinking, answer = _restate(family, task, rng=rng), written[-1][1]
            for number, (text, _) in enumerate(written):
                thinking += (rng.choice(RECHECKS) if number else "") + text
    return f"{THINK}{thinking}{END_THINK}{answer}"
