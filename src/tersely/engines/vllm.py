"""Sampling through vLLM, in this process: from a folder, or from weights that training moves.

Every rollout is a request of its own with a seed of its own, so it does not depend on what else
is sampled, but for the last bits; the stream of numbers is vLLM's, so its tokens are not those of
the other samplers.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from transformers import AutoConfig, GenerationConfig

from tersely.core.errors import ConfigError, EngineError, TerselyError
from tersely.core.types import Problem, Rollout, SamplingSpec
from tersely.engines.learning.lora import merged_weights
from tersely.engines.learning.memory import is_out_of_memory
from tersely.engines.local.agreement import CHECKED_TOKENS
from tersely.engines.local.jobs import (
    NOTHING_MORE,
    Job,
    OnRollout,
    SampledTrace,
    check_spec,
    make_codec,
    rotation_switch,
)
from tersely.engines.local.noise import row_keys
from tersely.engines.models import Model, device, sampling_dtype

# Where nothing else needs a GPU; a CPU's memory is always shared.
_GPU_SHARE, _CPU_SHARE = 0.9, 0.3
_REASON_CHARS = 300
# Words of a reason that is about the size of what was asked for.
_SIZES = ("memory", "max_num_seqs")


class _Settings(NamedTuple):
    """The shape and the stop tokens of a model that vLLM holds."""

    config: Any
    generation_config: Any


class VLLMSampler:
    """Samples with vLLM, which reads a model folder by itself.

    Log-probs are of the temperature-scaled policy. vLLM gives those after top-k and top-p, so
    with either of them they are NaN. Entropy is NaN: vLLM does not give it.

    Args:
        rows: most rollouts in flight at once.
        room_tokens: of the longest prompt and its answer; None: all that the model has.
        policy: the model in training, whose weights are followed; None: the folder's stay.
        memory_share: of the GPU's memory (of the machine's on a CPU) for weights, keys and values.
        template: what the chat template is given beside the messages.

    Raises:
        ConfigError: vLLM is not installed.
        EngineError: vLLM cannot load the model.
    """

    def __init__(
        self,
        folder: Path,
        tokenizer: Any,
        *,
        rows: int = 256,
        room_tokens: int | None = None,
        policy: Model | None = None,
        memory_share: float | None = None,
        template: Mapping[str, Any] = NOTHING_MORE,
    ) -> None:
        # In this process: its weights can be reached, and its batches are the same every time.
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        self._vllm, self._rows, self._policy = _import_vllm(), rows, policy
        loaded = _read_settings(folder)
        self.codec = make_codec(loaded, tokenizer, template=template)
        switch = rotation_switch(loaded.config.get_text_config())
        # vLLM rotates by longrope's long factors as soon as it may ever need them.
        bound = self.codec.max_positions if switch is not None else None
        self._calls, where = 0, device()
        if memory_share is None:
            memory_share = _CPU_SHARE if where.type == "cpu" else _GPU_SHARE
        settings = self._vllm.EngineArgs(
            model=str(folder),
            max_num_seqs=rows,
            max_model_len=bound
            if room_tokens is None
            else min(max(room_tokens, CHECKED_TOKENS), self.codec.max_positions),
            logprobs_mode="processed_logprobs",
            disable_log_stats=True,
            dtype=str(sampling_dtype(where)).removeprefix("torch."),
            gpu_memory_utilization=memory_share,
            # Compiling for a CPU takes a minute or more, and gains little.
            enforce_eager=where.type == "cpu",
            # vLLM turns a seed back after a part of a prompt, which a CPU's generator cannot do.
            enable_chunked_prefill=False if where.type == "cpu" else None,
        )
        self._fix = (
            f"lower sampling.rows = {rows} (--rows of eval) or, in training, "
            f"sampling.vllm_memory_share = {memory_share:g}"
        )
        with self._said(
            f"cannot load {folder}",
            fix="where the architecture is unknown to vLLM, use the local engine",
        ):
            self._engine = self._vllm.LLMEngine.from_engine_args(settings)

    def refresh(self) -> None:
        """Takes over the policy's current weights, adapters merged.

        Raises:
            EngineError: it was made without a policy, or vLLM refuses the weights.
        """
        if self._policy is None:
            raise EngineError(
                "this vLLM sampler samples from a folder and follows no weights; set "
                'sampling.engine = "vllm" in the recipe of a training'
            )
        with self._said("cannot take the new weights", fix="train with the local engine"):
            weights = {"weights_iterator": iter(merged_weights(self._policy))}
            self._engine.collective_rpc("reload_weights", kwargs=weights)
            # Keys and values of prompts are those of the old weights.
            if not self._engine.reset_prefix_cache():
                raise EngineError(
                    "vLLM keeps what it made with the old weights; train with the local engine"
                )

    @contextmanager
    def _said(self, what: str, *, fix: str) -> Iterator[None]:
        """Whatever vLLM raises becomes one line; its engine dies in many ways."""
        try:
            yield
        except TerselyError:
            raise
        except Exception as error:
            reason = _reason(error)
            sized = is_out_of_memory(error) or any(sign in reason.lower() for sign in _SIZES)
            raise EngineError(
                f"vLLM {what}: {reason}; its own messages are above; {self._fix if sized else fix}"
            ) from error

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
        """As :meth:`LocalSampler.run`; what has not ended when it fails is called off."""
        check_spec(spec, rows=self._rows)
        for job in jobs:
            self.codec.check(job.problem_id, len(job.prompt_ids), spec)
        self._calls += 1
        waiting: dict[str, Job] = {}
        keys = row_keys(spec.seed, [j.problem_id for j in jobs], [j.sample for j in jobs])
        try:
            for job, key in zip(jobs, keys.tolist(), strict=True):
                name = f"{self._calls}-{len(waiting)}"
                prompt = {"prompt_token_ids": list(job.prompt_ids)}
                with self._sampling():
                    self._engine.add_request(name, prompt, self._parameters(spec, key))
                waiting[name] = job
            while waiting:
                with self._sampling():
                    outputs = self._engine.step()
                for output in outputs:
                    if output.finished:
                        job = waiting.pop(output.request_id)
                        on_rollout(self._rollout(job, output.outputs[0], spec))
        finally:
            # An engine that has died cannot call anything off.
            with suppress(Exception):
                self._engine.abort_request(list(waiting))

    def _sampling(self) -> AbstractContextManager[None]:
        fix = "use the local engine, or a model that vLLM can run on this machine"
        return self._said("stopped while sampling", fix=fix)

    def _parameters(self, spec: SamplingSpec, key: int) -> Any:
        return self._vllm.SamplingParams(
            n=1,
            temperature=spec.temperature,
            top_p=spec.top_p,
            top_k=spec.top_k,
            # Seeds are not negative.
            seed=key & (2**63 - 1),
            max_tokens=spec.cap_tokens,
            stop_token_ids=sorted(self.codec.stop_ids),
            # The sampled token's only.
            logprobs=0,
            detokenize=False,
        )

    def _rollout(self, job: Job, said: Any, spec: SamplingSpec) -> Rollout:
        ids = list(said.token_ids)
        stopped = said.finish_reason == "stop"
        if said.finish_reason not in ("stop", "length") or not ids:
            raise EngineError(
                f"vLLM ended sample {job.sample} of problem {job.problem_id!r} with "
                f"{said.finish_reason!r} after {len(ids)} tokens; see its messages above"
            )
        if stopped != (ids[-1] in self.codec.stop_ids):
            raise EngineError(
                f"vLLM says {said.finish_reason!r} of a sample that ends in token {ids[-1]}, and "
                f"the stop tokens of tokenizer and generation config are "
                f"{sorted(self.codec.stop_ids)}; set eos_token_id in generation_config.json"
            )
        truncated = spec.top_k > 0 or spec.top_p < 1.0
        logprobs = [
            np.nan if truncated else position[token].logprob
            for token, position in zip(ids, said.logprobs, strict=True)
        ]
        unknown_T = np.full(len(ids), np.nan)
        return self.codec.rollout(
            job, SampledTrace(np.array(ids), np.array(logprobs), unknown_T), spec
        )


def _reason(error: Exception) -> str:
    """The first line that says something; a settings class of vLLM's puts its name before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and " validation error" in lines[0]:
        lines = lines[1:]
    said = (lines or [type(error).__name__])[0].removeprefix("Value error, ")
    return said[:_REASON_CHARS].rstrip(".")


def _import_vllm() -> Any:
    try:
        import vllm
    except ImportError as error:
        raise ConfigError(
            f"the vllm engine cannot be imported ({error}); install tersely[vllm] in an "
            "environment of its own (docs/scale.md), or use the local engine"
        ) from error
    return vllm


def _read_settings(folder: Path) -> _Settings:
    """The folder's configuration; stop tokens as ``from_pretrained`` would find them."""
    config = AutoConfig.from_pretrained(folder)
    try:
        generation = GenerationConfig.from_pretrained(folder)
    except OSError:
        generation = GenerationConfig.from_model_config(config)
    return _Settings(config, generation)
