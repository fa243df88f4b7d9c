"""Problems of reasoning-gym: any of its tasks, by name, drawn from a seed."""

import json
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from tersely.core.errors import ConfigError, no_such
from tersely.core.extras import missing
from tersely.core.types import Problem

BOXED = "\n\nGive your final answer within \\boxed{}."
SIZE = 200
# reasoning-gym draws problem i of seed s from s + i alone, so that seeds 0 and 1 share all but one
# of their problems. Ours lie this far apart.
SEED_SPREAD = 1_000_000
# How long a task may take where nobody sees its progress, and after what time that is judged.
UNSEEN_S = 60.0
JUDGED_S = 5.0

OnDrawn = Callable[[int, int], None]


def draw_gym(
    task: str, settings: Mapping[str, Any], *, on_drawn: OnDrawn | None = None
) -> list[Problem]:
    """Problems of a task; the same seed gives the same ones, another seed gives others.

    Args:
        settings: ``size`` (200), ``seed`` (0), ``grader`` (gym: the task's own score function) and
            whatever the task's generator takes.
        on_drawn: told how many of how many problems there are, after each.
    Raises:
        ConfigError: reasoning-gym is not installed, has no such task or setting, or draws for more
            than a minute where nobody is told of it.
    """
    chosen = {"size": SIZE, "seed": 0, **settings}
    grader, seed, size = (chosen.pop(key, "gym") for key in ("grader", "seed", "size"))
    for key, value, low in (("seed", seed, 0), ("size", size, 1)):
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value < SEED_SPREAD:
            raise ConfigError(
                f"gym:{task}: {key}={value} must be a whole number from {low} to {SEED_SPREAD - 1}"
            )
    dataset = _open(task, {**chosen, "seed": seed * SEED_SPREAD, "size": size}, settings)
    problems = []
    began = time.monotonic()
    for number in range(size):
        entry = dataset[number]
        problems.append(_problem(task, entry, problem_id=f"{task}/{seed}/{number}", grader=grader))
        if on_drawn is not None:
            on_drawn(number + 1, size)
        else:
            _refuse_long(task, settings, time.monotonic() - began, done=number + 1, size=size)
    return problems


def _open(task: str, config: dict[str, Any], settings: Mapping[str, Any]) -> Any:
    try:
        import reasoning_gym
        from reasoning_gym.factory import DATASETS
    except ImportError as error:
        raise missing("reasoning_gym", what=f"gym:{task}") from error
    if task not in DATASETS:
        raise ConfigError(no_such("task", task, sorted(DATASETS), of="reasoning-gym"))
    try:
        return reasoning_gym.create_dataset(task, **config)
    except (TypeError, ValueError, AssertionError) as error:
        reason = str(error).splitlines()[0] if str(error) else "a setting is out of bounds"
        raise ConfigError(f"gym:{task} cannot be drawn with {settings}: {reason}") from error


def _refuse_long(
    task: str, settings: Mapping[str, Any], spent_s: float, *, done: int, size: int
) -> None:
    each_s = spent_s / done
    if spent_s > JUDGED_S and each_s * size > UNSEEN_S:
        query = "&".join(f"{key}={value}" for key, value in settings.items())
        name = f"gym:{task}?{query}" if query else f"gym:{task}"
        raise ConfigError(
            f"{name} takes about {each_s * size / 60:.0f} min to draw ({each_s:.2f} s a problem); "
            f"draw it once with tersely benchmarks --out {task}.jsonl '{name}', and give the file"
        )


def _problem(task: str, entry: Mapping[str, Any], *, problem_id: str, grader: str) -> Problem:
    answer = str(entry["answer"])
    if grader == "gym":
        # A Python literal keeps tuples and numbers as keys, which score functions look for.
        kept = {key: _literal(value) for key, value in entry.items() if key != "question"}
        answer = json.dumps({"task": task, "entry": repr(kept)})
    return Problem(
        id=problem_id,
        prompt=entry["question"].rstrip() + BOXED,
        answer=answer,
        source=task,
        grader=grader,
    )


def _literal(value: Any) -> Any:
    """The value of what a Python literal can say: numpy's scalars as Python's, no infinities."""
    if isinstance(value, dict):
        return {_literal(key): _literal(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_literal, value))
    if isinstance(value, str):
        return str(value)
    if hasattr(value, "item"):
        return _literal(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value
