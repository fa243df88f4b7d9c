"""``tersely eval``: one folder, one sampling pass, every sample kept as it ends."""

import platform
import shlex
import sys
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, runtime_checkable
from typing import Protocol as Interface

from tersely import __version__
from tersely.adapters.evaluations import FORCED_FILE, PROBLEMS_FILE, RECORDS_FILE
from tersely.core import jsonl
from tersely.core.errors import ConfigError, EngineError
from tersely.core.manifest import (
    FILE,
    Manifest,
    check_same,
    read_manifest,
    write_manifest,
)
from tersely.core.types import Completion, EvalRecord, Problem, Rollout, SamplingSpec, TokenRecord
from tersely.engines.http import Endpoint, HTTPSampler
from tersely.engines.jobs import Engine, check_spec
from tersely.flows.evaluate import (
    OnCompletion,
    Source,
    append_missing,
    as_completion,
    record_of,
)
from tersely.flows.runs import digest_files, digest_of
from tersely.flows.served import Served
from tersely.lab.problems import FAMILIES, Split, draw_problems
from tersely.metrics.budgets import Protocol
from tersely.tasks import grading, sources
from tersely.tasks.problems import digest

LAB = "lab"
LAB_PROBLEMS = 400
TOKENS_FILE = "tokens.jsonl"
# Sampled pieces (a list of strings) are twice as large as the text: for one sample a problem.
SAMPLES_WITH_PIECES = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that an evaluation is; ``endpoint`` None samples in this process.

    ``budgets`` are reported; under *answered* and *forced* prefixes are graded at them.
    ``close_text`` ends the thinking of a forced answer, ``allowance_tokens`` bounds what follows.
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


@runtime_checkable
class Watch(Interface):
    """Who looks on."""

    def on_sampling(self, what: str, total: int, done: int) -> None:
        """A part of ``total`` samples begins, of which ``done`` are there already."""

    def on_record(self, record: EvalRecord) -> None:
        """One more sample is graded and saved."""

    def on_forced(self) -> None:
        """One more forced answer is graded and saved."""


class Local(NamedTuple):
    """A model in this process and what drives it."""

    tokenizer: Any
    sampler: Any


def load_benchmark(name: str, *, limit: int | None = None) -> list[Problem]:
    """The problems of a benchmark: ``lab`` (400 held-out problems), or as ``tasks.sources`` has it.

    Raises:
        ConfigError: there is no such set or file.
        DataError: a row is not a problem, or there is none.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"--limit {limit} is below 1; give at least one problem")
    if name == LAB:
        problems = draw_problems(per_family=LAB_PROBLEMS // len(FAMILIES), seed=0, split=Split.TEST)
    else:
        problems = sources.load(name)
    for problem in problems:
        grading.load(problem.grader)
    return problems[:limit]


def run_evaluation(
    plan: Plan, *, watch: Watch, on_first: Callable[[Problem, EvalRecord], None] | None = None
) -> None:
    """Samples and grades what the folder does not hold yet.

    Through a server, the first samples are judged before the rest is asked for
    (:mod:`tersely.flows.preflight`).

    Args:
        on_first: called with the first sample of a new evaluation.
    Raises:
        ConfigError: the folder belongs to another evaluation, naming the first difference, or
            model, benchmark or settings cannot be used as given.
        DataError: gold answers that their own grader does not take for right.
        EngineError: the model or the server cannot do it, or its first samples show that figures
            would be wrong; what was sampled is kept.
    """
    problems = load_benchmark(plan.benchmark, limit=plan.limit)
    check_plan(plan)
    identity = describe(plan, problems)
    planned = len(problems) * plan.spec.samples
    if (plan.out / FILE).is_file():
        check_same(Manifest(identity=identity, facts={}), read_manifest(plan.out), folder=plan.out)
        if _count(plan.out / RECORDS_FILE) >= planned and plan.protocol is not (Protocol.FORCED):
            if plan.endpoint is not None:
                _served(plan, problems).check()
            return
    elif plan.out.exists() and any(plan.out.iterdir()):
        raise ConfigError(f"{plan.out} exists and is no evaluation; choose another --out")
    grading.refuse_bad_gold(problems)
    source_for = _remote if plan.endpoint is not None else _local
    source, local = source_for(plan, problems)
    if not (plan.out / FILE).is_file():
        plan.out.mkdir(parents=True, exist_ok=True)
        jsonl.write(plan.out / PROBLEMS_FILE, problems)
        write_manifest(plan.out, Manifest(identity=identity, facts=_facts(plan, planned)))
    by_id = {problem.id: problem for problem in problems}
    file = plan.out / RECORDS_FILE
    watch.on_sampling("sampling", planned, _count(file))
    # The folder may have been renamed since.
    run = read_manifest(plan.out).facts.get("name", plan.out.resolve().name)
    waiting = [on_first] if on_first is not None and not _count(file) else []

    def on_record(record: EvalRecord) -> None:
        while waiting:
            waiting.pop()(by_id[record.problem], record)
        watch.on_record(record)

    append_missing(
        file,
        source,
        make_record=lambda c: _record(plan, by_id[c.problem_id], c, run=run),
        on_record=on_record,
    )
    if plan.protocol is Protocol.FORCED:
        from tersely.flows.forced import force_answers

        assert local is not None
        force_answers(plan, problems, local, watch=watch, file=plan.out / FORCED_FILE)


def check_plan(plan: Plan) -> None:
    """Refuses budgets and protocols that this sampling cannot give."""
    cap = plan.spec.max_tokens
    for budget in plan.budgets:
        if not 1 <= budget <= cap:
            raise ConfigError(
                f"budget {budget} is outside 1 to the cap {cap}; raise --max-tokens or drop it"
            )
    try:
        check_spec(plan.spec, rows=plan.rows)
    except EngineError as error:
        raise ConfigError(str(error)) from error
    if plan.protocol is Protocol.FORCED and plan.allowance_tokens < 1:
        raise ConfigError(f"--allowance {plan.allowance_tokens} is below 1; give the answer room")
    if plan.endpoint is not None and plan.engine is not Engine.LOCAL:
        raise ConfigError(
            f"--engine {plan.engine!s} samples in this process, and --endpoint on its server; "
            "leave one of them out"
        )
    if plan.endpoint is not None and plan.protocol is not Protocol.FINISHED:
        raise ConfigError(
            f"the protocol {plan.protocol!s} needs the tokens of each sample, which servers do "
            "not give; evaluate a local --model, or use --protocol finished"
        )


def describe(plan: Plan, problems: Sequence[Problem]) -> dict[str, str]:
    """What must be equal for two sessions to write into one folder."""
    spec = plan.spec
    identity = {
        "model": plan.model,
        **_model_identity(plan),
        "benchmark": Path(plan.benchmark).name,
        "benchmark digest": digest(problems),
        "graders": ", ".join(sorted({problem.grader for problem in problems})),
        "samples": str(spec.samples),
        "max tokens": str(spec.max_tokens),
        "temperature": f"{spec.temperature:g}",
        "top-p": f"{spec.top_p:g}",
        "top-k": str(spec.top_k),
        "seed": str(spec.seed),
        "protocol": str(plan.protocol),
    }
    if plan.endpoint is None and plan.engine is not Engine.LOCAL:
        identity["engine"] = str(plan.engine)
    if plan.protocol is not Protocol.FINISHED:
        identity["budgets"] = " ".join(map(str, sorted(set(plan.budgets))))
    if plan.protocol is Protocol.FORCED:
        identity["closing text"] = plan.close_text
        identity["answer allowance tokens"] = str(plan.allowance_tokens)
    return identity


def _model_identity(plan: Plan) -> dict[str, str]:
    if plan.endpoint is not None:
        settings = {**plan.endpoint.extra_body, "stop texts": plan.endpoint.stop_texts}
        return {"request settings": repr(sorted(settings.items()))}
    from tersely.engines.models import folder_of

    folder = folder_of(plan.model)
    prompt_files = [*folder.glob("tokenizer*"), *folder.glob("chat_template*")]
    return {
        "model digest": digest_of(folder),
        "tokenizer and chat template digest": digest_files(f for f in prompt_files if f.is_file()),
    }


def _facts(plan: Plan, planned: int) -> dict[str, str]:
    packages = ("numpy",) if plan.endpoint else ("torch", "transformers", "numpy")
    packages += ("vllm",) if not plan.endpoint and plan.engine is Engine.VLLM else ()
    where = {"endpoint": plan.endpoint.url} if plan.endpoint else {}
    return {
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": shlex.join(["tersely", *sys.argv[1:]]),
        **where,
        "planned samples": str(planned),
        "budgets": " ".join(map(str, sorted(set(plan.budgets)))),
        "name": plan.out.resolve().name,
        "tersely": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "machine": f"{platform.machine()}, {platform.system()}",
    }


def _record(plan: Plan, problem: Problem, completion: Completion, *, run: str) -> EvalRecord:
    return record_of(
        problem,
        completion,
        spec=plan.spec,
        run=run,
        with_text=True,
        with_pieces=completion.sample < SAMPLES_WITH_PIECES,
        model=plan.model,
        prefix_budgets=plan.budgets if plan.protocol is Protocol.ANSWERED else (),
    )


def _remote(plan: Plan, problems: Sequence[Problem]) -> tuple[Source, Local | None]:
    served = _served(plan, problems)
    HTTPSampler(served.endpoint).check()
    return served.sample, None


def _served(plan: Plan, problems: Sequence[Problem]) -> Served:
    assert plan.endpoint is not None
    by_id = {problem.id: problem for problem in problems}
    return Served(
        endpoint=plan.endpoint,
        problems=problems,
        spec=plan.spec,
        file=plan.out / RECORDS_FILE,
        grade=lambda c, run: _record(plan, by_id[c.problem_id], c, run=run),
    )


def _local(plan: Plan, problems: Sequence[Problem]) -> tuple[Source, Local | None]:
    from tersely.engines.pieces import split_text

    local = _open(plan)
    _check_positions(plan, problems, local)
    ids_file = plan.out / TOKENS_FILE if plan.protocol is Protocol.FORCED else None

    def source(skip: AbstractSet[tuple[str, int]], keep: OnCompletion) -> None:
        if ids_file is not None and ids_file.is_file():
            jsonl.repair_torn_tail(ids_file)

        def on_rollout(rollout: Rollout) -> None:
            if ids_file is not None:
                jsonl.append(ids_file, _tokens(rollout))
            keep(as_completion(rollout, split_text=lambda ids: split_text(local.tokenizer, ids)))

        local.sampler.sample(problems, plan.spec, skip=skip, on_rollout=on_rollout)

    return source, local


def _open(plan: Plan) -> Local:
    """The model's tokenizer and the engine that samples from it, in half precision on a GPU."""
    from tersely.engines.hf_sampler import make_sampler
    from tersely.engines.models import (
        device,
        folder_of,
        load_policy,
        load_tokenizer,
        sampling_dtype,
    )

    if plan.engine is Engine.VLLM:
        from tersely.engines.vllm_sampler import VLLMSampler

        tokenizer = load_tokenizer(plan.model)
        return Local(tokenizer, VLLMSampler(folder_of(plan.model), tokenizer, rows=plan.rows))
    model, tokenizer = load_policy(plan.model, dtype=sampling_dtype(device()))
    return Local(tokenizer, make_sampler(model, tokenizer, rows=plan.rows, engine=plan.engine))


def _check_positions(plan: Plan, problems: Sequence[Problem], local: Local) -> None:
    """Refuses, before anything is written, a cap or an allowance that the model has no room for."""
    closing = local.tokenizer(plan.close_text, add_special_tokens=False)["input_ids"]
    forced = plan.protocol is Protocol.FORCED
    extra = len(closing) + plan.allowance_tokens if forced else 0
    longest = max(plan.spec.max_tokens, max(plan.budgets) + extra)
    try:
        local.sampler.desk.jobs(problems, replace(plan.spec, samples=1, max_tokens=longest))
    except EngineError as error:
        raise ConfigError(f"--max-tokens {plan.spec.max_tokens}: {error}") from error


def _tokens(rollout: Rollout) -> TokenRecord:
    return TokenRecord(
        problem=rollout.problem_id,
        sample=rollout.sample,
        prompt_ids=rollout.prompt_ids,
        completion_ids=rollout.completion_ids,
        finish=rollout.finish,
        thinking_open=rollout.thinking_open,
    )


def _count(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.is_file() else 0
