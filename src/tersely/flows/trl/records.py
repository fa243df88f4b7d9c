"""The records of a run that TRL trains: what was sampled and shaped, and what its logs say."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from tersely import targets
from tersely.core import jsonl
from tersely.core.digests import note_checkpoint
from tersely.core.errors import EngineError
from tersely.core.storage import write_atomically
from tersely.core.types import StepRecord, StepTiming
from tersely.engines.learning.learner import LearnStats
from tersely.flows.recipe.recipe import Recipe
from tersely.flows.recipe.shaping import RolloutColumns, ShapedStep
from tersely.flows.train.record import step_record, write_rollouts
from tersely.readers.logs.trl import NAMES as TRL_NAMES
from tersely.readers.steplogs import in_our_words

# Written into a TRL checkpoint once it is whole.
STATE_FILE = "tersely.json"


class StepRecorder:
    """Writes what each step did into a run folder; called on every process, one of them writes.

    Args:
        folder: the run folder; None on processes that do not write.
        start: steps done before.
    """

    def __init__(self, recipe: Recipe, folder: Path | None, *, start: int = 0) -> None:
        self._recipe, self._folder = recipe, folder
        self._step, self._done = start - 1, start
        self._columns: RolloutColumns
        self._shaped: ShapedStep
        self._updates: list[dict[str, float]] = []
        self._shaped_at = perf_counter()

    def on_shaped(self, step: int, columns: RolloutColumns, shaped: ShapedStep) -> dict[str, float]:
        """A step's rollouts are shaped; what TRL's own log lacks of them: correctness, and length
        split by it."""
        self._step, self._columns, self._shaped = step, columns, shaped
        if self._folder is not None:
            write_rollouts(self._folder, step, columns, shaped)
        self._shaped_at = perf_counter()
        names = ("accuracy", "correct_tokens_mean", "wrong_tokens_mean", "truncated_share")
        record = self._record([])
        return {f"tersely/{name}": float(getattr(record, name)) for name in names}

    def on_update(self, logs: Mapping[str, Any], *, generate_s: float, grade_s: float) -> None:
        """An update is done; after the last one of a step its record is written.

        Args:
            generate_s: of the step's generation; NaN if not measured. So is ``grade_s``.
        """
        learned = in_our_words(logs, TRL_NAMES)
        loss, norm = learned["loss"], learned.get("grad_norm", 0.0)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise EngineError(
                f"step {self._step + 1} stopped: loss is {loss} and gradient norm {norm}; lower "
                f"learner.learning_rate = {self._recipe.learner.learning_rate:g} and start a new "
                "run in another --out, from the last checkpoint with --set model.path=..."
            )
        self._updates.append(learned)
        if len(self._updates) < self._recipe.learner.staleness:
            return
        record, self._updates = self._record(self._updates), []
        self._done = self._step + 1
        timing = StepTiming(
            step=self._step,
            sample_s=generate_s,
            grade_s=grade_s,
            learn_s=perf_counter() - self._shaped_at,
            other_s=0.0,
        )
        if self._folder is not None:
            if math.isfinite(generate_s):
                jsonl.append(self._folder / "timings.jsonl", timing)
            jsonl.append(self._folder / "steps.jsonl", record)

    def on_save(self, folder: Path, *, state: targets.TargetState) -> None:
        """Marks a checkpoint of TRL's as whole, with what TRL does not save."""
        note_checkpoint(folder)
        content = {"step": self._done, "target": dict(state)}
        write_atomically(folder / STATE_FILE, json.dumps(content))

    def _record(self, updates: Sequence[Mapping[str, float]]) -> StepRecord:
        """The step's record; what is learned is NaN before the updates."""
        return step_record(
            self._step,
            self._columns,
            self._shaped,
            self._stats(updates),
            cap_tokens=self._recipe.sampling.cap_tokens,
            entropy_mean=_mean(updates, "entropy_mean"),
        )

    def _stats(self, updates: Sequence[Mapping[str, float]]) -> LearnStats:
        """TRL's logs in our words. As in our loop, rows without a gradient are not counted."""
        loss, shaped = self._recipe.loss, self._shaped
        learned_N = shaped.keep_N & ((shaped.advantage_N != 0) | (loss.kl_coef > 0))
        return LearnStats(
            loss=_mean(updates, "loss"),
            grad_norm=_mean(updates, "grad_norm"),
            clip_share=_mean(updates, "clip_share"),
            kl_mean=_mean(updates, "kl_mean"),
            sampler_mismatch=_mean(updates, "sampler_mismatch"),
            update_tokens=int(np.array(self._columns.tokens)[learned_N].sum()),
            learning_rate=_mean(updates, "learning_rate"),
            dropped_nonfinite=0,
        )


def _mean(updates: Sequence[Mapping[str, float]], name: str) -> float:
    found = [update[name] for update in updates if name in update]
    return float(np.mean(found)) if found else math.nan
