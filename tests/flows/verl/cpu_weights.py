"""Weights from verl's learner to samplers apart from it, through a file of the run: a checkpoint
engine named ``file``, for a machine without NCCL.

verl loads it by ``actor_rollout_ref.rollout.checkpoint_engine.custom_backend_module``.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import torch
from verl.checkpoint_engine.base import CheckpointEngine, CheckpointEngineRegistry

POLL_S = 0.1


def _file(step: int | None) -> Path:
    return Path(os.environ["TERSELY_RUN"]) / "verl" / f"weights-{step}.pt"


@CheckpointEngineRegistry.register("file")
class FileEngine(CheckpointEngine):
    """verl forces the methods: one of its learners writes, every sampler reads."""

    def __init__(self, bucket_size: int, is_master: bool = False) -> None:
        self.is_master = is_master

    def prepare(self) -> dict[str, Any]:
        return {}

    @classmethod
    def build_topology(cls, actors: int, rollouts: int, metadata: Any) -> Any:
        return {}, {}

    def init_process_group(self, **_: Any) -> None:
        """Nobody is connected."""

    def finalize(self) -> None:
        """Nothing is held."""

    async def send_weights(self, weights: Any, global_steps: int | None = None) -> None:
        # Every worker takes part in gathering them.
        whole = {name: weight.detach().cpu().clone() for name, weight in weights}
        if self.is_master:
            part = _file(global_steps).with_suffix(".part")
            torch.save(whole, part)
            part.replace(_file(global_steps))

    async def receive_weights(
        self, global_steps: int | None = None
    ) -> AsyncIterator[tuple[str, torch.Tensor]]:
        while not _file(global_steps).is_file():
            await asyncio.sleep(POLL_S)
        for name, weight in torch.load(_file(global_steps)).items():
            yield name, weight
