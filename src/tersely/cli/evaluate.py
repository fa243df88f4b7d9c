"""``tersely eval``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tersely.cli.frame import messages, numbers, plain_errors, use_threads
from tersely.cli.options import AllowUnsandboxed, flattened
from tersely.cli.sampling import (
    MOST_SAMPLES,
    MOST_SEED,
    MOST_TOKENS,
    DrawOptions,
    LocalOptions,
    ModelOptions,
    PromptOptions,
    ServerOptions,
    check_engine,
    make_endpoint,
    sampling_progress,
)
from tersely.core.types import SamplingSpec
from tersely.metrics.budgets import Protocol, spectrum

if TYPE_CHECKING:
    from tersely.flows.evaluate.plan import Plan


@dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """What is evaluated, at which budgets, and how it is sampled."""

    benchmark: Annotated[
        str,
        typer.Option(
            help="'lab', 'lab-hard' or 'lab-all' (400 held-out problems), a set by its name "
            "(tersely benchmarks lists them), gym:TASK?size=200&seed=0, or a file of problems "
            "(JSONL, JSON, CSV, Parquet)."
        ),
    ]
    out: Annotated[Path, typer.Option(help="Folder to write; the same command resumes it.")]
    source: ModelOptions
    samples: Annotated[int, typer.Option(max=MOST_SAMPLES, help="Samples a problem.")] = 8
    cap_tokens: Annotated[
        int,
        typer.Option(
            max=MOST_TOKENS, help="Sampled cap: most tokens a sample, its stop token included."
        ),
    ] = 32768
    budgets: Annotated[
        str | None,
        typer.Option(
            help="Budgets to report, in tokens: 2048,4096. Default: doublings to the cap."
        ),
    ] = None
    protocol: Annotated[Protocol, typer.Option(help="What counts as right at a budget.")] = (
        Protocol.FINISHED
    )
    draw: DrawOptions
    prompt: PromptOptions
    seed: Annotated[int, typer.Option(max=MOST_SEED, help="Seed of all sampling.")] = 0
    limit: Annotated[int | None, typer.Option(help="Only the first problems.")] = None
    local: LocalOptions
    closing: Annotated[str, typer.Option(help="forced: text that closes the thinking.")] = (
        "</think>"
    )
    allowance: Annotated[
        int,
        typer.Option(max=MOST_TOKENS, help="forced: most tokens of the answer after the budget."),
    ] = 32
    server: ServerOptions
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="Server: folder of the model's tokenizer, where its token counts are wrong, or "
            "for answered and forced where it does not tell its tokens."
        ),
    ] = None
    accept_first: Annotated[
        bool,
        typer.Option(
            "--accept-first", help="Server: continue even if its first samples failed the check."
        ),
    ] = False
    allow_unsandboxed: AllowUnsandboxed = False


@flattened
def evaluate(options: EvalOptions) -> None:
    """Sample once at the cap, grade, and give accuracy at every token budget."""
    with plain_errors():
        from tersely.tasks import sandbox

        sandbox.allow_unsandboxed(options.allow_unsandboxed)
        check_engine(options.local)
        _run(_plan(options), threads=options.local.threads)


def _plan(options: EvalOptions) -> "Plan":
    from tersely.flows.evaluate.plan import Plan

    return Plan(
        model=options.source.model,
        benchmark=options.benchmark,
        out=options.out,
        spec=SamplingSpec(
            samples=options.samples,
            cap_tokens=options.cap_tokens,
            seed=options.seed,
            temperature=options.draw.temperature,
            top_p=options.draw.top_p,
            top_k=options.draw.top_k,
        ),
        budgets=numbers(options.budgets, option="--budgets")
        or spectrum(max(1, options.cap_tokens)),
        protocol=options.protocol,
        endpoint=make_endpoint(options.source, options.server, tokenizer=options.tokenizer),
        limit=options.limit,
        rows=options.local.rows,
        engine=options.local.engine,
        close_text=options.closing,
        allowance_tokens=options.allowance,
        accept_first=options.accept_first,
        retry_failed=options.server.retry_failed,
        chat_template_kwargs=options.prompt.template,
        system_prompt=options.prompt.system,
    )


def _run(plan: "Plan", *, threads: int) -> None:
    from tersely.cli.report import PAGE, Files, show_evaluation
    from tersely.flows.evaluate.session import run_evaluation
    from tersely.readers.evaluations import load

    if plan.endpoint is None:
        messages.print(f"loading {plan.model} ...")
        use_threads(threads)
    with sampling_progress(plan.out) as progress:
        run_evaluation(plan, observer=progress, on_first=progress.on_first)
    show_evaluation(load(plan.out, budgets=plan.budgets), Files(plan.out / PAGE))
