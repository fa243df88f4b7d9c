"""The settings of an evaluation, and which of them must be equal for a session to continue it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tersely.core.digests import digest_model, digest_prompts, digest_tokenizer
from tersely.core.errors import ConfigError, EngineError
from tersely.core.manifest import EvaluationManifest, Facts, ModelFiles, gather_facts
from tersely.core.types import Problem, SamplingSpec
from tersely.engines.http.sampler import Endpoint
from tersely.engines.http.template import SETTINGS
from tersely.engines.local.jobs import Engine, check_spec, rendered
from tersely.engines.local.template import check_settings
from tersely.metrics.budgets import Protocol
from tersely.tasks.problems import digest, with_system

TEMPLATE_OPTION = "--chat-template-kwargs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that an evaluation is; ``endpoint`` None samples in this process.

    ``budgets`` are reported; under *answered* and *forced* prefixes are graded at them.
    ``close_text`` ends the thinking of a forced answer, ``allowance_tokens`` bounds what follows.
    ``accept_first`` goes on where the first samples of a server would stop the evaluation;
    ``retry_failed`` asks it again for samples that failed. ``chat_template_kwargs`` are given to
    the chat template beside the messages, here or by the server; ``system_prompt`` is put before
    every problem, ``phrase`` after its question.
    """

    model: str
    benchmark: str
    out: Path
    spec: SamplingSpec
    budgets: tuple[int, ...]
    protocol: Protocol
    endpoint: Endpoint | None = None
    limit: int | None = None
    rows: int = 256
    engine: Engine = Engine.LOCAL
    close_text: str = "</think>"
    allowance_tokens: int = 32
    accept_first: bool = False
    retry_failed: bool = False
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    system_prompt: str | None = None
    phrase: str = ""

    def asked(self, problems: Sequence[Problem]) -> Sequence[Problem]:
        """The problems as the model gets them.

        Raises:
            ConfigError: one of them has a system message of its own.
        """
        if self.phrase:
            problems = [replace(each, prompt=each.prompt + self.phrase) for each in problems]
        if self.system_prompt is None:
            return problems
        return with_system(problems, self.system_prompt, where="--system-prompt")

    @property
    def server(self) -> Endpoint | None:
        """The endpoint, with what its requests give the chat template."""
        if self.endpoint is None or not self.chat_template_kwargs:
            return self.endpoint
        body = {**self.endpoint.extra_body, SETTINGS: dict(self.chat_template_kwargs)}
        return replace(self.endpoint, extra_body=body)


def check_plan(plan: Plan) -> None:
    """Refuses budgets and protocols that this sampling cannot give."""
    try:
        check_spec(plan.spec, rows=plan.rows)
    except EngineError as error:
        raise ConfigError(str(error)) from error
    check_settings(plan.chat_template_kwargs, where=TEMPLATE_OPTION)
    if plan.chat_template_kwargs and plan.endpoint and SETTINGS in plan.endpoint.extra_body:
        raise ConfigError(
            f"--extra-body has {SETTINGS} too, and {TEMPLATE_OPTION} would replace them; give one "
            "of the two"
        )
    cap = plan.spec.cap_tokens
    for budget in plan.budgets:
        if not 1 <= budget <= cap:
            raise ConfigError(
                f"budget {budget} is outside 1 to the cap {cap}; raise --cap-tokens or drop it"
            )
    if plan.protocol is Protocol.FORCED and plan.allowance_tokens < 1:
        raise ConfigError(f"--allowance {plan.allowance_tokens} is below 1; give the answer room")
    if plan.endpoint is not None and plan.engine is not Engine.LOCAL:
        raise ConfigError(
            f"--engine {plan.engine!s} samples in this process, and --endpoint on its server; "
            "leave one of them out"
        )


def describe(plan: Plan, problems: Sequence[Problem]) -> EvaluationManifest:
    """What must be equal for two sessions to write into one folder; its facts are empty."""
    spec, protocol, endpoint = plan.spec, plan.protocol, plan.endpoint
    forced = protocol is Protocol.FORCED
    return EvaluationManifest(
        model=plan.model,
        files=None if endpoint else _digest_files(plan, problems),
        request_settings=_request_settings(endpoint) if endpoint else None,
        counting_digest=digest_tokenizer(endpoint.tokenizer) if endpoint else None,
        benchmark=Path(plan.benchmark).name,
        benchmark_digest=digest(problems),
        graders=tuple(sorted({problem.grader for problem in problems})),
        samples=spec.samples,
        cap_tokens=spec.cap_tokens,
        temperature=spec.temperature,
        top_p=spec.top_p,
        top_k=spec.top_k,
        seed=spec.seed,
        protocol=str(protocol),
        engine=None if endpoint or plan.engine is Engine.LOCAL else str(plan.engine),
        budgets=None if protocol is Protocol.FINISHED else tuple(sorted(set(plan.budgets))),
        close_text=plan.close_text if forced else None,
        allowance_tokens=plan.allowance_tokens if forced else None,
        chat_template_kwargs=_as_json(plan.chat_template_kwargs),
        system_prompt=plan.system_prompt,
        phrase=plan.phrase or None,
        facts=Facts(),
    )


def facts_of(plan: Plan, planned: int) -> Facts:
    """Facts that the manifest records but does not compare."""
    packages: tuple[str, ...] = ("numpy",) if plan.endpoint else ("torch", "transformers", "numpy")
    packages += ("vllm",) if not plan.endpoint and plan.engine is Engine.VLLM else ()
    return replace(
        gather_facts(*packages),
        endpoint=", ".join(plan.endpoint.urls) if plan.endpoint else None,
        planned_samples=planned,
        budgets=tuple(sorted(set(plan.budgets))),
        name=plan.out.resolve().name,
    )


def _as_json(settings: Mapping[str, Any]) -> str | None:
    return json.dumps(settings, sort_keys=True, ensure_ascii=False) if settings else None


def _request_settings(endpoint: Endpoint) -> str:
    unseeded = {} if endpoint.seeded else {"seed": None}
    told = {**endpoint.extra_body, "stop texts": endpoint.stop_texts, **unseeded}
    return repr(sorted(told.items()))


def _digest_files(plan: Plan, problems: Sequence[Problem]) -> ModelFiles:
    from tersely.engines.models import folder_of, load_tokenizer

    tokenizer = load_tokenizer(plan.model)
    settings = plan.chat_template_kwargs
    prompts = (rendered(tokenizer, each, settings=settings) for each in plan.asked(problems))
    return replace(digest_model(folder_of(plan.model)), prompts_digest=digest_prompts(prompts))
