"""Sampling through vLLM, which reads a model folder by itself; for evaluation, on a GPU.

Every rollout is a request of its own with a seed of its own, so it does not depend on what else
is sampled; the stream of numbers is vLLM's, so its tokens are not those of the other samplers.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from transformers import AutoConfig, GenerationConfig

from tersely.core.errors import ConfigError, EngineError
from tersely.core.types import Problem, Rollout, SamplingSpec
from tersely.engines.local.jobs import (
    Job,
    OnRollout,
    SampledTrace,
    check_spec,
    make_codec,
    rotation_switch,
)
from tersely.engines.local.noise import row_keys


class _Settings(NamedTuple):
    """The shape and the stop tokens of a model that vLLM holds."""

    config: Any
    generation_config: Any


class VLLMSampler:
    """Samples from the weights in a folder; they cannot change under it.

    Log-probs are of the temperature-scaled policy. vLLM gives those after top-k and top-p, so
    with either of them they are NaN. Entropy is NaN: vLLM does not give it.

    Args:
        rows: most rollouts in flight at once.

    Raises:
        ConfigError: vLLM is not installed.
        EngineError: vLLM cannot load the model.
    """

    def __init__(self, folder: Path, tokenizer: Any, *, rows: int = 256) -> None:
        self._vllm, self._rows = _import_vllm(), rows
        loaded = _read_settings(folder)
        self.codec = make_codec(loaded, tokenizer)
        switch = rotation_switch(loaded.config.get_text_config())
        self._calls = 0
        settings = self._vllm.EngineArgs(
            model=str(folder),
            max_num_seqs=rows,
            # vLLM rotates by longrope's long factors as soon as it may ever need them.
            max_model_len=self.codec.max_positions if switch is not None else None,
            logprobs_mode="processed_logprobs",
            disable_log_stats=True,
        )
        try:
            self._engine = self._vllm.LLMEngine.from_engine_args(settings)
        except (RuntimeError, ValueError) as error:
            reason = (str(error).splitlines() or [""])[0]
            raise EngineError(
                f"vLLM cannot load {folder}: {reason}; its own messages are above. Where memory is "
                f"short, lower --rows = {rows}; where the architecture is unknown, use --engine "
                "local"
            ) from error

    def refresh(self) -> None:
        """Raises :class:`EngineError`: the weights are a folder's."""
        raise EngineError(
            "vLLM samples from a folder and cannot follow weights in training; "
            "train with the local engine"
        )

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
                self._engine.add_request(name, prompt, self._parameters(spec, key))
                waiting[name] = job
            while waiting:
                for output in self._engine.step():
                    if output.finished:
                        job = waiting.pop(output.request_id)
                        on_rollout(self._rollout(job, output.outputs[0], spec))
        finally:
            if waiting:
                self._engine.abort_request(list(waiting))

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


def _import_vllm() -> Any:
    try:
        import vllm
    except ImportError as error:
        raise ConfigError(
            f"the vllm engine cannot be imported ({error}); install tersely[vllm] in an "
            "environment of its own, on a machine with a GPU, or use the local engine"
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
