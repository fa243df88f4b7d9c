"""Problems of reasoning-gym: any of its tasks, by name, drawn from a seed."""

import json
from collections.abc import Mapping
from typing import Any

from tersely.core.errors import ConfigError
from tersely.core.types import Problem

BOXED = "\n\nGive your final answer within \\boxed{}."
SIZE = 200


def draw_gym(task: str, settings: Mapping[str, Any]) -> list[Problem]:
    """Problems of a task; the same seed gives the same ones.

    Args:
        settings: ``size`` (200), ``seed`` (0), ``grader`` (gym: the task's own score function) and
            whatever the task's generator takes.
    Raises:
        ConfigError: reasoning-gym is not installed, or has no such task or setting.
    """
    try:
        import reasoning_gym
        from reasoning_gym.factory import DATASETS
    except ImportError as error:
        raise ConfigError(
            f"gym:{task} needs reasoning-gym; pip install 'tersely[grade]'"
        ) from error
    if task not in DATASETS:
        raise ConfigError(
            f"reasoning-gym has no task {task!r}; it has {', '.join(sorted(DATASETS))}"
        )
    chosen = {"size": SIZE, "seed": 0, **settings}
    grader = chosen.pop("grader", "gym")
    try:
        drawn = list(reasoning_gym.create_dataset(task, **chosen))
    except (TypeError, ValueError, AssertionError) as error:
        reason = str(error).splitlines()[0] if str(error) else "a setting is out of bounds"
        raise ConfigError(f"gym:{task} cannot be drawn with {settings}: {reason}") from error
    return [_problem(task, number, entry, grader=grader) for number, entry in enumerate(drawn)]


def _problem(task: str, number: int, entry: Mapping[str, Any], *, grader: str) -> Problem:
    answer = str(entry["answer"])
    if grader == "gym":
        answer = json.dumps({"task": task, "entry": entry}, default=str)
    return Problem(
        id=f"{task}/{number}",
        prompt=entry["question"].rstrip() + BOXED,
        answer=answer,
        source=task,
        grader=grader,
    )
