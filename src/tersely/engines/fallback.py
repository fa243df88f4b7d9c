"""The fallback sampler for any causal language model, through its own Hugging Face forward."""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from inspect import signature
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from tersely.core.errors import EngineError
from tersely.core.types import Problem, Rollout, SamplingSpec
from tersely.engines.learning.memory import memory_errors, sampling_memory
from tersely.engines.local.decoder import supports
from tersely.engines.local.draw import Draw, draw
from tersely.engines.local.jobs import (
    NOTHING_MORE,
    Job,
    OnRollout,
    SampledTrace,
    Sampler,
    check_spec,
    make_codec,
)
from tersely.engines.local.noise import row_keys, uniforms
from tersely.engines.local.sampler import LocalSampler
from tersely.engines.models import copy_weights, sampling_copy, sampling_dtype

_DROP_SHARE = 1 / 4


class _Batch(NamedTuple):
    """The rows still running: their jobs, cache, attention mask and next inputs."""

    job_N: np.ndarray
    key_N: Tensor
    past: Any
    mask_NT: Tensor
    ids_NT: Tensor
    ended_N: Tensor


class HFSampler:
    """Same interface, noise and draws as :class:`LocalSampler`, for other architectures.

    Batches of ``rows`` run to their end, left-padded; ended rows leave once they are a quarter.

    Args:
        dtype: None is bfloat16 on a GPU, in a copy of 2 bytes a weight, and float32 on a CPU,
            where the model's own weights are used.
        template: what the chat template is given beside the messages.

    Raises:
        EngineError: the model takes no cache of keys and values.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        rows: int = 256,
        dtype: torch.dtype | None = None,
        template: Mapping[str, Any] = NOTHING_MORE,
    ) -> None:
        if "past_key_values" not in signature(model.forward).parameters:
            raise EngineError(
                f"model_type {model.config.model_type!r} keeps no keys and values, which this "
                "sampler needs; evaluate it through a server (--endpoint)"
            )
        self._policy, self._rows = model, rows
        self._model = sampling_copy(model, dtype=dtype or sampling_dtype(model.device))
        self.codec = make_codec(model, tokenizer, template=template)
        self._stop_ids = torch.tensor(sorted(self.codec.stop_ids), device=model.device)

    def refresh(self) -> None:
        """Takes over the policy's current weights, where a copy of them is sampled from."""
        if self._model is not self._policy:
            copy_weights(self._policy, self._model)

    def sample(
        self,
        problems: Sequence[Problem],
        spec: SamplingSpec,
        *,
        skip: AbstractSet[tuple[str, int]] = frozenset(),
        on_rollout: OnRollout | None = None,
    ) -> list[list[Rollout]]:
        """As :meth:`LocalSampler.sample`."""
        check_spec(spec, rows=self._rows)
        jobs = self.codec.jobs(problems, spec, skip=skip)
        return self.codec.collect(
            jobs, lambda keep: self.run(jobs, spec, on_rollout=keep), on_rollout
        )

    def run(self, jobs: Sequence[Job], spec: SamplingSpec, *, on_rollout: OnRollout) -> None:
        """As :meth:`LocalSampler.run`."""
        check_spec(spec, rows=self._rows)
        for job in jobs:
            self.codec.check(job.problem_id, len(job.prompt_ids), spec)

        def finish(job: Job, trace: SampledTrace) -> None:
            on_rollout(self.codec.drawn(job, trace, spec))

        training = self._model.training
        self._model.eval()
        fits = memory_errors("sampling", fix=sampling_memory(self._rows))
        try:
            with torch.inference_mode(), fits:
                for first in range(0, len(jobs), self._rows):
                    self._run(jobs[first : first + self._rows], spec, finish)
        finally:
            self._model.train(training)

    def _run(
        self, jobs: Sequence[Job], spec: SamplingSpec, finish: Callable[[Job, SampledTrace], None]
    ) -> None:
        """One batch from prompts to the last stop token."""
        batch = self._start(jobs, spec)
        drawn: list[list[tuple[int, float, float]]] = [[] for _ in jobs]
        for step in range(spec.cap_tokens):
            choice, past = self._step(batch, step, spec)
            ended_N = batch.ended_N | torch.isin(choice.token_B, self._stop_ids)
            if step + 1 == spec.cap_tokens:
                ended_N = torch.ones_like(ended_N)
            rows = zip(*(x.tolist() for x in choice), strict=True)
            was_N, now_N = batch.ended_N.tolist(), ended_N.tolist()
            for job, row, was, now in zip(batch.job_N, rows, was_N, now_N, strict=True):
                if not was:
                    drawn[job].append(row)
                if now and not was:
                    finish(
                        jobs[job],
                        SampledTrace(*(np.array(x) for x in zip(*drawn[job], strict=True))),
                    )
            if all(now_N):
                return
            ones = torch.ones_like(batch.mask_NT[:, :1])
            mask_NT = torch.cat((batch.mask_NT, ones), dim=1)
            batch = batch._replace(
                past=past, mask_NT=mask_NT, ids_NT=choice.token_B[:, None], ended_N=ended_N
            )
            batch = self._drop(batch)

    def _start(self, jobs: Sequence[Job], spec: SamplingSpec) -> _Batch:
        """Left-pads the prompts; pad tokens are masked, so which id fills them is no matter."""
        width = max(len(job.prompt_ids) for job in jobs)
        ids_NT = torch.zeros(len(jobs), width, dtype=torch.int64)
        mask_NT = torch.zeros_like(ids_NT)
        for row, job in enumerate(jobs):
            ids_NT[row, width - len(job.prompt_ids) :] = torch.tensor(job.prompt_ids)
            mask_NT[row, width - len(job.prompt_ids) :] = 1
        keys = row_keys(spec.seed, [j.problem_id for j in jobs], [j.sample for j in jobs])
        device = self._model.device
        return _Batch(
            job_N=np.arange(len(jobs)),
            key_N=keys.to(device),
            past=DynamicCache(config=self._model.config),
            mask_NT=mask_NT.to(device),
            ids_NT=ids_NT.to(device),
            ended_N=torch.zeros(len(jobs), dtype=torch.bool, device=device),
        )

    def _step(self, batch: _Batch, step: int, spec: SamplingSpec) -> tuple[Draw, Any]:
        """One forward and one draw a row; returns the draw and the grown cache."""
        position_NT = (batch.mask_NT.cumsum(dim=1) - 1).clamp_(min=0)
        out = self._model(
            input_ids=batch.ids_NT,
            attention_mask=batch.mask_NT,
            position_ids=position_NT[:, -batch.ids_NT.shape[1] :],
            past_key_values=batch.past,
            use_cache=True,
            logits_to_keep=1,
        )
        uniform_N = uniforms(batch.key_N, torch.tensor(step, device=batch.key_N.device))
        return draw(out.logits[:, -1], uniform_N, spec=spec), out.past_key_values

    def _drop(self, batch: _Batch) -> _Batch:
        """Leaves out ended rows once they are worth the copy."""
        if int(batch.ended_N.count_nonzero()) < _DROP_SHARE * len(batch.job_N):
            return batch
        keep_N = (~batch.ended_N).nonzero().squeeze(-1)
        # Written for beams; any choice of rows will do, and every kind of layer can do it.
        batch.past.reorder_cache(keep_N)
        return _Batch(
            job_N=batch.job_N[keep_N.cpu().numpy()],
            key_N=batch.key_N[keep_N],
            past=batch.past,
            mask_NT=batch.mask_NT[keep_N],
            ids_NT=batch.ids_NT[keep_N],
            ended_N=batch.ended_N[keep_N],
        )


def make_sampler(
    model: Any,
    tokenizer: Any,
    *,
    rows: int = 256,
    dtype: torch.dtype | None = None,
    template: Mapping[str, Any] = NOTHING_MORE,
) -> Sampler:
    """A sampler of ``model`` that follows its weights: the fast one where the architecture allows
    it, else the fallback.

    Args:
        dtype: of what is sampled from; None is bfloat16 on a GPU and float32 on a CPU.
        template: what the chat template is given beside the messages.
    """
    kind = LocalSampler if supports(model.config) else HFSampler
    return kind(model, tokenizer, rows=rows, dtype=dtype, template=template)
