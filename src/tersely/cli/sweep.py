"""``tersely sweep``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tersely.cli.frame import check_folder, messages, plain_errors, show, use_threads
from tersely.cli.options import AllowUnsandboxed, flattened
from tersely.cli.report import PAGE, Files, show_sweep
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
from tersely.core.errors import ConfigError, EngineError
from tersely.core.types import SamplingSpec
from tersely.flows.evaluate.levels import BUDGET_FIELD, EFFORT_FIELD
from tersely.metrics.budgets import Protocol, spectrum

if TYPE_CHECKING:
    from tersely.flows.evaluate.sweep import Sweep
    from tersely.metrics.failures import FailedSamples
    from tersely.readers.sweeps import SweepKind, SweepLevel

TEMPLATE = "chat_template_kwargs"


@dataclass(frozen=True, kw_only=True)
class LevelOptions:
    """What the levels are; exactly one of the kinds."""

    efforts: Annotated[
        str | None, typer.Option(help="Levels that differ in effort: low,medium,high.")
    ] = None
    budgets: Annotated[
        str | None,
        typer.Option(help="Levels that differ in thinking budget, in tokens: 1024,4096."),
    ] = None
    prompts: Annotated[
        list[Path] | None,
        typer.Option(
            help="A text file with a level's system prompt; its name is the file's. Repeatable."
        ),
    ] = None
    extra_body_each: Annotated[
        Path | None,
        typer.Option(
            help="JSON list or JSON lines, one object a level: its name, and what is merged into "
            "its requests."
        ),
    ] = None
    recipe: Annotated[
        Path | None,
        typer.Option(
            help="Recipe or run folder: ask as in its training, at its levels of effort (or at "
            "those of --efforts), or with its target's sentence for each of --budgets."
        ),
    ] = None
    effort_field: Annotated[
        str | None,
        typer.Option(
            help="Field of the request that holds the effort; dots go into objects. Default: "
            "reasoning_effort; here, without a server: chat_template_kwargs.reasoning_effort."
        ),
    ] = None
    budget_field: Annotated[
        str,
        typer.Option(
            help="Field of the request that holds the budget: vLLM's is the default, SGLang's is "
            "custom_params.thinking_budget."
        ),
    ] = BUDGET_FIELD


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """What is evaluated at every level, and how it is sampled."""

    out: Annotated[
        Path,
        typer.Option(help="Folder to write, one evaluation a level; the same command resumes it."),
    ]
    levels: LevelOptions
    source: ModelOptions
    prompt: PromptOptions
    samples: Annotated[int, typer.Option(max=MOST_SAMPLES, help="Samples a problem.")] = 8
    cap_tokens: Annotated[
        int,
        typer.Option(
            max=MOST_TOKENS, help="Sampled cap: most tokens a sample, its stop token included."
        ),
    ] = 32768
    draw: DrawOptions
    seed: Annotated[
        int, typer.Option(max=MOST_SEED, help="Seed of all sampling, the same at every level.")
    ] = 0
    limit: Annotated[int | None, typer.Option(help="Only the first problems.")] = None
    local: LocalOptions
    server: ServerOptions
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="Server: folder of the model's tokenizer, where its token counts are wrong."
        ),
    ] = None
    accept_first: Annotated[
        bool,
        typer.Option(
            "--accept-first", help="Server: continue even if first samples failed the check."
        ),
    ] = False
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show the levels and what they send and cost; ask nothing."),
    ] = False
    allow_unsandboxed: AllowUnsandboxed = False


@flattened
def sweep(
    benchmark: Annotated[
        str,
        typer.Argument(
            help="'lab', 'lab-hard', 'lab-all', a set by its name, gym:TASK, or a file of problems."
        ),
    ],
    options: SweepOptions,
) -> None:
    """The same problems and seeds at every effort, budget or prompt: accuracy over the tokens that
    samples really took, and whether the server obeyed."""
    with plain_errors():
        from tersely.flows.evaluate.sweep import check_sweep
        from tersely.tasks import sandbox

        sandbox.allow_unsandboxed(options.allow_unsandboxed)
        check_folder(out=options.out)
        check_engine(options.local)
        planned = _plan(benchmark, options)
        check_sweep(planned)
        if options.dry_run:
            _show_plan(planned)
            return
        _run(planned, threads=options.local.threads)


def _plan(benchmark: str, options: SweepOptions) -> "Sweep":
    from tersely.flows.evaluate.plan import Plan
    from tersely.flows.evaluate.sweep import Sweep

    is_served = bool(options.source.endpoint)
    kind, levels = _levels(options.levels, cap_tokens=options.cap_tokens, is_served=is_served)
    spec = SamplingSpec(
        samples=options.samples,
        cap_tokens=options.cap_tokens,
        seed=options.seed,
        temperature=options.draw.temperature,
        top_p=options.draw.top_p,
        top_k=options.draw.top_k,
    )
    plan = Plan(
        model=options.source.model,
        benchmark=benchmark,
        out=options.out,
        spec=spec,
        budgets=spectrum(max(1, options.cap_tokens)),
        protocol=Protocol.FINISHED,
        endpoint=make_endpoint(options.source, options.server, tokenizer=options.tokenizer),
        limit=options.limit,
        rows=options.local.rows,
        engine=options.local.engine,
        accept_first=options.accept_first,
        retry_failed=options.server.retry_failed,
        chat_template_kwargs=options.prompt.template,
        system_prompt=options.prompt.system,
    )
    return Sweep(plan=plan, kind=kind, levels=levels)


def _levels(
    options: LevelOptions, *, cap_tokens: int, is_served: bool
) -> "tuple[SweepKind, tuple[SweepLevel, ...]]":
    from tersely.flows.evaluate import levels
    from tersely.readers.sweeps import SweepKind

    as_trained = options.recipe is not None and not options.budgets
    given = {
        SweepKind.EFFORTS: options.efforts or as_trained,
        SweepKind.BUDGETS: options.budgets,
        SweepKind.PROMPTS: options.prompts,
        SweepKind.BODIES: options.extra_body_each,
    }
    kinds = [kind for kind, value in given.items() if value]
    if len(kinds) != 1:
        said = " and ".join(f"--{kind}" for kind in kinds) or "none of them is given"
        raise ConfigError(
            "a sweep is over one of --efforts, --budgets, --prompts or --extra-body-each "
            f"({said}); give one, put all that differs into --extra-body-each, or give --recipe"
        )
    if options.recipe is not None:
        return kinds[0], _trained_levels(options, options.recipe, cap_tokens=cap_tokens)
    if options.efforts:
        usual = EFFORT_FIELD if is_served else f"{TEMPLATE}.{EFFORT_FIELD}"
        return kinds[0], levels.effort_levels(options.efforts, field=options.effort_field or usual)
    if options.budgets:
        field = options.budget_field
        found = levels.budget_levels(options.budgets, cap_tokens=cap_tokens, field=field)
        return kinds[0], found
    if options.prompts:
        return kinds[0], levels.prompt_levels(options.prompts)
    assert options.extra_body_each is not None
    return kinds[0], levels.body_levels(options.extra_body_each)


def _trained_levels(
    options: LevelOptions, recipe: Path, *, cap_tokens: int
) -> "tuple[SweepLevel, ...]":
    from tersely.flows.evaluate.levels import recipe_levels
    from tersely.flows.recipe.recipe import RECIPE_FILE, find_recipe, read_recipe

    file = recipe / RECIPE_FILE if recipe.is_dir() else recipe
    if options.prompts or options.extra_body_each:
        raise ConfigError("--recipe goes with --efforts or --budgets, or alone")
    return recipe_levels(
        read_recipe(find_recipe(file)),
        efforts=options.efforts,
        budgets=options.budgets,
        cap_tokens=cap_tokens,
    )


def _show_plan(sweep: "Sweep") -> None:
    from tersely.flows.evaluate.levels import describe_sends
    from tersely.flows.evaluate.session import load_benchmark
    from tersely.report.tables.terminal import FittedRecords

    problems = len(load_benchmark(sweep.plan.benchmark, limit=sweep.plan.limit))
    each, n = problems * sweep.plan.spec.samples, len(sweep.levels)
    rows = [(level.name, describe_sends(level)) for level in sweep.levels]
    facts = {
        "kind": "sweep plan",
        "over": sweep.kind,
        "levels": [
            {"name": level.name, "sends": level.sends, "system_prompt": level.system_prompt}
            | ({"phrase": level.phrase} if level.phrase else {})
            for level in sweep.levels
        ],
        "n_problems": problems,
        "samples_per_level": each,
        "samples": each * n,
        "most_tokens": each * n * sweep.plan.spec.cap_tokens,
    }
    show(FittedRecords(("level", "sends"), rows), facts)
    show(
        f"{n} levels × {problems:,} problems × {sweep.plan.spec.samples} samples = "
        f"{each * n:,} samples, at most {facts['most_tokens']:,} tokens",
        facts,
    )


def _run(sweep: "Sweep", *, threads: int) -> None:
    from tersely.flows.evaluate.sweep import run_sweep

    if sweep.plan.endpoint is None:
        messages.print(f"loading {sweep.plan.model} ...")
        use_threads(threads)
    with sampling_progress(None) as progress:
        record = run_sweep(sweep, observer=progress, on_first=progress.on_first)
    failed = [level for level in record.levels if level.refused is not None]
    if len(record.levels) - len(failed) < 2:
        raise EngineError(
            f"fewer than two levels were sampled, so that there is nothing to compare; "
            f"{failed[0].name} failed: {failed[0].refused}"
        )
    measured = show_sweep(sweep.plan.out, Files(sweep.plan.out / PAGE))
    if failed or any(_is_half_failed(side.failed) for side in measured.sides):
        raise typer.Exit(1)


def _is_half_failed(failed: "FailedSamples | None") -> bool:
    return failed is not None and 2 * failed.samples >= failed.made
