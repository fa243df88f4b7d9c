"""Sampling through transformers' continuous batching: a paged cache, any causal language model.

The engine has one random stream for a whole batch and gives log-probs of the truncated policy
only. So the tokens are drawn here, where it would process logits, with the noise and the draws of
the other local samplers, and it is left the one token that was drawn. That rules out CUDA graphs.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from transformers import ContinuousBatchingConfig, GenerationConfig

from tersely.core.errors import EngineError
from tersely.core.types import Problem, Rollout, SamplingSpec
from tersely.engines.learning.memory import memory_errors, sampling_memory
from tersely.engines.local.draw import draw
from tersely.engines.local.jobs import Job, OnRollout, SampledTrace, check_spec, make_codec
from tersely.engines.local.noise import row_keys, uniforms
from tersely.engines.models import copy_weights, sampling_copy, sampling_dtype

_PAGE_TOKENS = 64
_BATCH_TOKENS_ON_CPU = 512


class ContinuousSampler:
    """Same interface, noise and draws as :class:`LocalSampler`; slower where that one can run.

    Args:
        rows: most rollouts in flight at once.
        dtype: None is bfloat16 on a GPU, in a copy of 2 bytes a weight, and float32 on a CPU.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, rows: int = 256, dtype: torch.dtype | None = None
    ) -> None:
        self._policy, self._rows = model, rows
        self._model = sampling_copy(model, dtype=dtype or sampling_dtype(model.device))
        self.codec = make_codec(model, tokenizer)

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
        if not jobs:
            return
        training = self._model.training
        try:
            with memory_errors("sampling", fix=sampling_memory(self._rows)):
                self._run(jobs, spec, on_rollout)
        finally:
            self._model.train(training)

    def _run(self, jobs: Sequence[Job], spec: SamplingSpec, on_rollout: OnRollout) -> None:
        try:
            manager = self._manager(jobs, spec)
        except ValueError as error:
            raise EngineError(
                f"continuous batching cannot run this model: {error}; use the local engine instead"
            ) from error
        manager.start()
        try:
            failure = self._drain(manager, jobs, spec, on_rollout)
        finally:
            manager.stop(block=True, hard_stop=True)
            manager.destroy()
        if failure is not None:
            if isinstance(fatal := manager.background_thread_status.fatal_error, RuntimeError):
                raise fatal  # out of memory is one
            raise EngineError(
                f"continuous batching stopped: {failure}; use the local engine instead"
            )

    def _manager(self, jobs: Sequence[Job], spec: SamplingSpec) -> Any:
        """An engine for these jobs, not started: its cache goes when they are done."""
        on_cpu = self._model.device.type == "cpu"
        longest = max(len(job.prompt_ids) for job in jobs) + spec.max_tokens
        pages = min(self._rows, len(jobs)) * (-(-longest // _PAGE_TOKENS) + 1)
        manager = self._model.init_continuous_batching(
            generation_config=GenerationConfig(
                do_sample=False,
                max_new_tokens=spec.max_tokens,
                eos_token_id=sorted(self.codec.stop_ids),
            ),
            continuous_batching_config=ContinuousBatchingConfig(
                page_size=_PAGE_TOKENS,
                # A GPU's free memory bounds the cache by itself, and what does not fit waits.
                num_blocks=pages if on_cpu else None,
                max_batch_tokens=max(self._rows, _BATCH_TOKENS_ON_CPU) if on_cpu else None,
                max_requests_per_batch=self._rows,
                use_cuda_graph=False,
                use_async_batching=False,
                auto_switch_to_flash=self._model.dtype == torch.bfloat16 and not on_cpu,
            ),
        )
        manager.logit_processor = _Drawer(jobs, spec, device=self._model.device)
        return manager

    def _drain(
        self, manager: Any, jobs: Sequence[Job], spec: SamplingSpec, on_rollout: OnRollout
    ) -> str | None:
        """Passes on every job as it ends; what went wrong, if something did."""
        for number, job in enumerate(jobs):
            manager.add_request(list(job.prompt_ids), request_id=str(number))
        left = len(jobs)
        while left:
            output = manager.get_result(timeout=1)
            if output is None and manager.is_running():
                continue
            if output is None:
                return "it ended early"
            if output.error is not None:
                return str(output.error)
            number = int(output.request_id)
            trace = manager.logit_processor.trace(number)
            assert trace.token_T.tolist() == output.generated_tokens
            on_rollout(self.codec.rollout(jobs[number], trace, spec))
            left -= 1
        return None


class _Drawer:
    """Stands for the engine's list of logits processors: draws, keeps what was drawn, and leaves
    of each row only the token that it drew."""

    do_processing = True
    tensors_required = 0

    def __init__(self, jobs: Sequence[Job], spec: SamplingSpec, *, device: torch.device) -> None:
        keys = row_keys(spec.seed, [j.problem_id for j in jobs], [j.sample for j in jobs])
        self._jobs, self._spec, self._key_J = jobs, spec, keys.to(device)
        self._drawn: list[list[tuple[int, float, float]]] = [[] for _ in jobs]
        self._next: list[tuple[int, int]] = []

    def check_kwargs(self, kwargs: dict[str, Any]) -> None:
        """Requests bring no settings of their own."""
        assert not kwargs

    def fill_defaults(self, tensor: Tensor) -> None:
        """There are no arguments to fill in."""

    def prepare_tensor_args(self, requests_in_batch: Sequence[Any], arg_storage: Tensor) -> Tensor:
        """Notes which job, and which of its tokens, each row of the coming logits is for."""
        self._next = []
        for request in requests_in_batch:
            if request.has_new_token:
                state, number = request.state, int(request.state.request_id)
                # A request that made way for others comes back with its tokens as its prompt.
                before = len(state.initial_tokens) - len(self._jobs[number].prompt_ids)
                self._next.append((number, before + state.generated_len()))
        return arg_storage

    def __call__(
        self, input_ids: Tensor, logits_BV: Float[Tensor, "B V"], arguments: Tensor
    ) -> Float[Tensor, "B V"]:
        """0 at the token drawn, -inf elsewhere.

        A prompt that goes in by parts gets no token yet; the rows of such are the last, and unused.
        """
        only_BV = torch.full_like(logits_BV, -torch.inf)
        if not self._next:
            return only_BV
        number_B, position_B = torch.tensor(self._next, device=logits_BV.device).unbind(dim=1)
        uniform_B = uniforms(self._key_J[number_B], position_B)
        choice = draw(logits_BV[: len(self._next)], uniform_B, spec=self._spec)
        rows = zip(*(x.tolist() for x in choice), strict=True)
        for (number, position), row in zip(self._next, rows, strict=True):
            assert len(self._drawn[number]) == position
            self._drawn[number].append(row)
        only_BV[: len(self._next)].scatter_(1, choice.token_B[:, None], 0.0)
        return only_BV

    def trace(self, number: int) -> SampledTrace:
        """All that was drawn for one job."""
        return SampledTrace(*(np.array(x) for x in zip(*self._drawn[number], strict=True)))
