"""A model in this process: loaded, checked for room, and sampled from."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any, NamedTuple

from tersely.core import jsonl
from tersely.core.errors import ConfigError, EngineError
from tersely.core.forcing import TokenRecord
from tersely.core.types import OnCompletion, Problem, Rollout
from tersely.engines.local.jobs import Engine, rendered
from tersely.engines.local.template import warn_unread
from tersely.flows.evaluate.plan import TEMPLATE_OPTION, Plan
from tersely.flows.evaluate.records import Source, as_completion
from tersely.metrics.budgets import Protocol

TOKENS_FILE = "tokens.jsonl"


class Local(NamedTuple):
    """A model in this process and what drives it; ``model`` None: its engine loads it itself."""

    tokenizer: Any
    sampler: Any
    model: Any = None


def local_source(plan: Plan, problems: Sequence[Problem]) -> tuple[Source, Local]:
    """What samples the problems from a model in this process, loaded and checked."""
    from tersely.engines.pieces import split_text

    problems = plan.asked(problems)
    local = _open(plan, problems)
    warn_unread(local.tokenizer, plan.chat_template_kwargs, where=TEMPLATE_OPTION)
    _check_positions(plan, problems, local)
    if local.model is not None:
        from tersely.engines.local.agreement import check_sampler, forward_score

        check_sampler(
            local.sampler,
            (forward_score(local.model),),
            prompt_ids=rendered(local.tokenizer, problems[0], settings=plan.chat_template_kwargs),
            room_tokens=local.sampler.codec.max_positions,
            dtype=local.model.dtype,
            model_type=local.model.config.model_type,
        )
    ids_file = plan.out / TOKENS_FILE if plan.protocol is Protocol.FORCED else None

    def source(skip: AbstractSet[tuple[str, int]], keep: OnCompletion) -> None:
        if ids_file is not None and ids_file.is_file():
            jsonl.repair_torn_tail(ids_file)

        def on_rollout(rollout: Rollout) -> None:
            if ids_file is not None:
                jsonl.append(ids_file, _tokens(rollout))
            keep(as_completion(rollout, split_text=lambda ids: split_text(local.tokenizer, ids)))

        jobs = local.sampler.codec.jobs(problems, plan.spec, skip=skip)
        local.sampler.run(jobs, plan.spec, on_rollout=on_rollout)

    return source, local


def _open(plan: Plan, problems: Sequence[Problem]) -> Local:
    """The model's tokenizer and the engine that samples from it, in half precision on a GPU."""
    from tersely.engines.fallback import make_sampler
    from tersely.engines.models import (
        device,
        folder_of,
        load_policy,
        load_tokenizer,
        sampling_dtype,
    )

    settings = plan.chat_template_kwargs
    if plan.engine is Engine.VLLM:
        from tersely.engines.vllm import VLLMSampler

        tokenizer = load_tokenizer(plan.model)
        prompt_tokens = max(
            len(rendered(tokenizer, problem, settings=settings)) for problem in problems
        )
        room_tokens = prompt_tokens + _answer_tokens(plan, tokenizer)
        folder = folder_of(plan.model)
        sampler = VLLMSampler(
            folder, tokenizer, rows=plan.rows, room_tokens=room_tokens, template=settings
        )
        return Local(tokenizer, sampler)
    model, tokenizer = load_policy(plan.model, dtype=sampling_dtype(device()))
    ours = make_sampler(model, tokenizer, rows=plan.rows, template=settings)
    return Local(tokenizer, ours, model)


def _check_positions(plan: Plan, problems: Sequence[Problem], local: Local) -> None:
    """Refuses, before anything is written, a cap or an allowance that the model has no room for."""
    longest = _answer_tokens(plan, local.tokenizer)
    try:
        local.sampler.codec.jobs(problems, replace(plan.spec, samples=1, cap_tokens=longest))
    except EngineError as error:
        raise ConfigError(f"--cap-tokens {plan.spec.cap_tokens}: {error}") from error


def _answer_tokens(plan: Plan, tokenizer: Any) -> int:
    """The most that is sampled after a prompt, forced endings included."""
    closing = tokenizer(plan.close_text, add_special_tokens=False)["input_ids"]
    forced = plan.protocol is Protocol.FORCED
    extra = len(closing) + plan.allowance_tokens if forced else 0
    return max(plan.spec.cap_tokens, max(plan.budgets) + extra)


def _tokens(rollout: Rollout) -> TokenRecord:
    return TokenRecord(
        problem=rollout.problem_id,
        sample=rollout.sample,
        prompt_ids=rollout.prompt_ids,
        completion_ids=rollout.completion_ids,
        finish=rollout.finish,
        thinking_open=rollout.thinking_open,
    )
