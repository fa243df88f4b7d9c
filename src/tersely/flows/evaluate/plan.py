"""What an evaluation is: its settings, and what must be equal for a session to go on with it."""

import platform
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from tersely import __version__
from tersely.core.digests import PROMPTS, digest_prompts, digest_tokenizer, model_identity
from tersely.core.errors import ConfigError, EngineError
from tersely.core.types import Problem, SamplingSpec
from tersely.engines.http.sampler import Endpoint
from tersely.engines.local.jobs import Engine, check_spec, rendered
from tersely.metrics.budgets import Protocol
from tersely.tasks.problems import digest

# Of the tokenizer that counts what a server's counts leave out.
COUNTING = "--tokenizer digest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that an evaluation is; ``endpoint`` None samples in this process.

    ``budgets`` are reported; under *answered* and *forced* prefixes are graded at them.
    ``close_text`` ends the thinking of a forced answer, ``allowance_tokens`` bounds what follows.
    ``accept_first`` goes on where the first samples of a server would stop the evaluation.
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


def check_plan(plan: Plan) -> None:
    """Refuses budgets and protocols that this sampling cannot give."""
    cap = plan.spec.cap_tokens
    for budget in plan.budgets:
        if not 1 <= budget <= cap:
            raise ConfigError(
                f"budget {budget} is outside 1 to the cap {cap}; raise --cap-tokens or drop it"
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
        **_model_identity(plan, problems),
        "benchmark": Path(plan.benchmark).name,
        "benchmark digest": digest(problems),
        "graders": ", ".join(sorted({problem.grader for problem in problems})),
        "samples": str(spec.samples),
        "max tokens": str(spec.cap_tokens),
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


def _model_identity(plan: Plan, problems: Sequence[Problem]) -> dict[str, str]:
    if plan.endpoint is not None:
        settings = {**plan.endpoint.extra_body, "stop texts": plan.endpoint.stop_texts}
        return {
            "request settings": repr(sorted(settings.items())),
            COUNTING: digest_tokenizer(plan.endpoint.tokenizer),
        }
    from tersely.engines.models import folder_of, load_tokenizer

    tokenizer = load_tokenizer(plan.model)
    prompts = (rendered(tokenizer, problem) for problem in problems)
    return {**model_identity(folder_of(plan.model)), PROMPTS: digest_prompts(prompts)}


def facts_of(plan: Plan, planned: int) -> dict[str, str]:
    """What the manifest tells its reader besides."""
    packages: tuple[str, ...] = ("numpy",) if plan.endpoint else ("torch", "transformers", "numpy")
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
