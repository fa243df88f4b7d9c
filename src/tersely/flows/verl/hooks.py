"""What verl's processes load: ``VERL_USE_EXTERNAL_MODULES`` names it, ``TERSELY_RUN`` the run.

``tersely launch verl`` sets both. The estimator and the reward manager read the run's recipe, and
every process that grades writes what it graded into a file of its own.
"""

import asyncio
import ctypes
import os
import signal
import socket
import sys
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from tersely.core import jsonl
from tersely.engines.local.jobs import make_codec
from tersely.engines.models import load_settings
from tersely.engines.pieces import split_text
from tersely.engines.tokens import decode_whole
from tersely.flows.recipe.objective import objective_of
from tersely.flows.recipe.recipe import RECIPE_FILE, Recipe, read_recipe
from tersely.flows.recipe.shaping import shaping_of
from tersely.flows.verl.estimator import (
    EstimateAdvantages,
    Estimator,
    JudgedLine,
    RolloutGrader,
    check_environment,
    register,
    row_of,
)
from tersely.flows.verl.settings import (
    ATTEMPT,
    GRADED,
    JUDGED,
    LAUNCHER,
    RUN,
    update_rows,
    weighted,
)
from tersely.tasks import grading
from tersely.tasks.grading.answer import has_thought

# PR_SET_PDEATHSIG of prctl.
_DEATH_SIGNAL = 1


@cache
def run_folder() -> Path:
    """The run that this process works for; ConfigError if it was not told."""
    return Path(check_environment(os.environ.get(RUN)))


@cache
def recipe_of_run() -> Recipe:
    """The run's recipe."""
    return read_recipe(run_folder() / RECIPE_FILE)


def make_estimator(recipe: Recipe) -> Estimator:
    """The recipe's rewards, masks, advantages and aggregation on verl's batch."""
    return Estimator(
        shaping=shaping_of(recipe),
        samples=recipe.sampling.samples_per_prompt,
        aggregate=objective_of(recipe).aggregate if weighted(recipe) else None,
        update_rows=update_rows(recipe),
    )


def make_rollout_grader(recipe: Recipe, tokenizer: Any) -> RolloutGrader:
    """The recipe's grading of one rollout."""
    return RolloutGrader(
        grade=grading.grade,
        decode=partial(decode_whole, tokenizer),
        split_text=partial(split_text, tokenizer),
        has_thought=has_thought,
        stop_ids=make_codec(load_settings(recipe.model.path), tokenizer).stop_ids,
        cap_tokens=recipe.sampling.cap_tokens,
        pay_unfinished=recipe.treatment.unfinished == "graded",
    )


def record_calls(estimator: Estimator, file: Path) -> EstimateAdvantages:
    """The estimator, which also writes down whose rollouts it saw in each call."""
    file.parent.mkdir(parents=True, exist_ok=True)

    def estimate(reward_BT: np.ndarray, mask_BT: np.ndarray, uid_B: Sequence[str]) -> np.ndarray:
        adv_B = estimator(reward_BT, mask_BT, uid_B)
        seen = tuple(uid for uid, mask_T in zip(uid_B, mask_BT, strict=True) if mask_T.any())
        jsonl.append(file, JudgedLine(uids=seen))
        return adv_B

    return estimate


def own_file(kind: str) -> Path:
    """The file that this process writes during this start of the run."""
    name = f"{os.environ.get(ATTEMPT, '000')}-{socket.gethostname()}-{os.getpid()}.jsonl"
    return run_folder() / "verl" / kind / name


class RecipeReward:
    """verl's reward manager: one rollout at a time, graded as everywhere here.

    verl makes one in each reward worker and forces the signatures.
    """

    def __init__(self, config: Any, tokenizer: Any, compute_score: Any = None, **_: Any) -> None:
        self._grader = make_rollout_grader(recipe_of_run(), tokenizer)
        self._file = own_file(GRADED)
        self._file.parent.mkdir(parents=True, exist_ok=True)

    async def run_single(self, data: Any) -> dict[str, Any]:
        """The reward that verl carries, and ``acc`` for its filter and its own figures."""
        row = row_of(data)
        loop = asyncio.get_running_loop()
        score, right, line = await loop.run_in_executor(None, self._grader.grade_rollout, row)
        jsonl.append(self._file, line)
        return {"reward_score": score, "reward_extra_info": {"acc": float(right)}}


def end_with_launcher() -> None:
    """Has verl's main process end when the process that started it does, however that ends.

    Otherwise a launch that was killed would train on beside the one that continues its run.
    """
    if os.environ.get(LAUNCHER) == str(os.getppid()) and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGTERM)


end_with_launcher()
register(lambda: record_calls(make_estimator(recipe_of_run()), own_file(JUDGED)))
