"""``tersely curate``."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tersely.cli.answers import AnswerOptions, answers_of, clear_and_card, show_answers
from tersely.cli.frame import messages, plain_errors, show, use_threads
from tersely.cli.options import AllowUnsandboxed, changed, flattened
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
from tersely.core.errors import ConfigError, no_such, shortened
from tersely.core.lock import lock_folder
from tersely.core.types import SamplingSpec
from tersely.metrics.budgets import Protocol

SHOWN_REPEATS = 8
_NOT_OF_SAMPLING = ("--problems", "--records", "--seed", "--threads", "--allow-unsandboxed")
MOST_LAB_PROMPTS = 100_000

if TYPE_CHECKING:
    from tersely.core.manifest import EvaluationManifest
    from tersely.core.types import Problem
    from tersely.flows.curate.answers import AnswerChoice
    from tersely.flows.curate.choice import Choice
    from tersely.flows.curate.session import Curated
    from tersely.flows.evaluate.plan import Plan


@dataclass(frozen=True, kw_only=True)
class ChoiceOptions:
    """Which prompts are kept."""

    select: Annotated[
        str | None,
        typer.Option(
            help="easy (pass rate > 0.5), hard (0 < pass rate <= 0.5), full, or mixes: a set of "
            "each, equally large. Default: easy."
        ),
    ] = None
    band: Annotated[
        str | None, typer.Option(help="Instead: lowest and highest pass rate, 0.2,0.8.")
    ] = None
    quantiles: Annotated[
        str | None, typer.Option(help="Instead: quantiles of the pass rates, 0.25,0.75.")
    ] = None
    density: Annotated[
        float | None,
        typer.Option(
            help="Instead: the wanted mean positive density, which is the share of samples that "
            "are right within --target-tokens; prompts are dropped from one end to reach it."
        ),
    ] = None
    target_tokens: Annotated[
        int | None,
        typer.Option(help="L_T in tokens; adds positive densities and enables --density."),
    ] = None
    set_size: Annotated[
        int | None, typer.Option(help="Largest number of prompts of a set, drawn by --seed.")
    ] = None
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="A benchmark, by name or file, whose problems must not be trained on. Repeatable."
        ),
    ] = None
    keep_duplicates: Annotated[
        bool, typer.Option("--keep-duplicates", help="Leave near-duplicates in.")
    ] = False


_LIMIT_NOTICE = (
    "notice: --limit samples only the first prompts; in earlier versions it was the size of a "
    "set, which is --set-size now"
)


@dataclass(frozen=True, kw_only=True)
class CurateOptions:
    """Which prompts are sampled, how, and which of them are kept."""

    problems: Annotated[
        str | None,
        typer.Option(
            help="'lab', 'lab-hard' or 'lab-all' (their training halves), a file of problems, or a "
            "set by its name. Needed but for --records."
        ),
    ] = None
    records: Annotated[
        Path | None,
        typer.Option(
            help="Folder of tersely eval, or of a training run with its rollouts, whose samples "
            "are chosen from; none are made."
        ),
    ] = None
    out: Annotated[Path, typer.Option(help="Folder to write; the same command resumes it.")]
    source: ModelOptions
    samples: Annotated[int, typer.Option(max=MOST_SAMPLES, help="Samples a prompt, k.")] = 8
    cap_tokens: Annotated[int, typer.Option(max=MOST_TOKENS, help="Sampled cap in tokens.")] = 16384
    draw: DrawOptions
    prompt: PromptOptions
    seed: Annotated[
        int, typer.Option(max=MOST_SEED, help="Seed of sampling, and of --set-size's draw.")
    ] = 0
    limit: Annotated[
        int | None, typer.Option(help="Sample only the first prompts; see --set-size.")
    ] = None
    local: LocalOptions
    choice: ChoiceOptions
    answers: AnswerOptions
    server: ServerOptions
    allow_unsandboxed: AllowUnsandboxed = False


@flattened
def curate(options: CurateOptions) -> None:
    """Sample prompts a few times each, and keep those to train on, by pass rate.

    The same folder can be chosen from again by other rules; nothing is sampled twice. A set of
    the same name is replaced.
    """
    with plain_errors():
        from tersely.flows.curate.choice import check_choice
        from tersely.tasks import sandbox

        sandbox.allow_unsandboxed(options.allow_unsandboxed)
        check_engine(options.local)
        choice, answers = _choice(options.choice, seed=options.seed), options.answers.choice()
        there = _evaluation(options)
        cap = options.cap_tokens if there is None else _manifest(there).cap_tokens
        check_choice(choice, cap_tokens=cap)
        plan = _plan(options)
        if options.limit is not None and options.choice.set_size is None and there is None:
            messages.print(_LIMIT_NOTICE, soft_wrap=True)
        pool = _pool(options.problems, options.limit) if there is None else _found(options, there)
        with lock_folder(options.out):
            if there is None:
                _sample(pool, plan, threads=options.local.threads)
            _write_and_show(options, pool, there or plan.out, choice, answers)


def _choice(given: ChoiceOptions, *, seed: int) -> "Choice":
    from tersely.flows.curate.choice import Choice, Select
    from tersely.flows.evaluate.session import load_benchmark

    ways = (given.band, given.quantiles, given.density)
    wanted = "easy" if given.select is None and all(way is None for way in ways) else given.select
    if wanted is not None and wanted not in list(Select):
        raise ConfigError(no_such("choice", wanted, Select))
    return Choice(
        select=None if wanted is None else Select(wanted),
        band=_ends(given.band, option="--band"),
        quantiles=_ends(given.quantiles, option="--quantiles"),
        density=given.density,
        target_tokens=given.target_tokens,
        limit=given.set_size,
        seed=seed,
        against=tuple(p for name in given.against or () for p in load_benchmark(name)),
        keep_duplicates=given.keep_duplicates,
    )


def _plan(options: CurateOptions) -> "Plan":
    from tersely.flows.evaluate.plan import Plan

    return Plan(
        model=options.source.model,
        benchmark="",
        out=options.out / "samples",
        spec=SamplingSpec(
            samples=options.samples,
            cap_tokens=options.cap_tokens,
            seed=options.seed,
            temperature=options.draw.temperature,
            top_p=options.draw.top_p,
            top_k=options.draw.top_k,
        ),
        budgets=(options.cap_tokens,),
        protocol=Protocol.FINISHED,
        endpoint=make_endpoint(options.source, options.server),
        rows=options.local.rows,
        engine=options.local.engine,
        retry_failed=options.server.retry_failed,
        chat_template_kwargs=options.prompt.template,
        system_prompt=options.prompt.system,
    )


def _sample(pool: "Sequence[Problem]", plan: "Plan", *, threads: int) -> None:
    from tersely.flows.curate.session import sample_pool

    if plan.endpoint is None:
        messages.print(f"loading {plan.model} ...")
        use_threads(threads)
    with sampling_progress(plan.out) as progress:
        sample_pool(pool, plan, observer=progress)


def _manifest(folder: Path) -> "EvaluationManifest":
    from tersely.core.manifest import FILE, EvaluationManifest, read_manifest
    from tersely.readers.evaluations import PROBLEMS_FILE, RECORDS_FILE

    for name in (FILE, RECORDS_FILE, PROBLEMS_FILE):
        if not (folder / name).is_file():
            raise ConfigError(f"{folder} has no {name}; give a folder that tersely eval wrote")
    return read_manifest(folder, EvaluationManifest)


def _evaluation(options: CurateOptions) -> Path | None:
    """The folder of ``--records``; a run's rollouts become one beside what is written."""
    from tersely.flows.curate.rollouts import ROLLOUTS, gather_rollouts

    run = options.records
    if run is None or not (run / ROLLOUTS).is_dir():
        return run
    with lock_folder(options.out):
        return gather_rollouts(run, options.out / ROLLOUTS)


def _found(options: CurateOptions, there: Path) -> "list[Problem]":
    """The problems of the evaluation that is there."""
    from tersely.core import jsonl
    from tersely.core.types import Problem
    from tersely.readers.evaluations import PROBLEMS_FILE

    if options.problems is not None or options.limit is not None:
        raise ConfigError("--records has problems of its own; leave --problems and --limit out")
    parts = (options, options.source, options.draw, options.prompt, options.local, options.server)
    for name, value in (each for part in parts for each in changed(part).items()):
        if name not in _NOT_OF_SAMPLING:
            said = name if value is True else f"{name} {shortened(value)}"
            raise ConfigError(f"{said} is of sampling, and --records has samples; leave it out")
    return jsonl.read(there / PROBLEMS_FILE, Problem)


def _pool(name: str | None, limit: int | None) -> "list[Problem]":
    if name is None:
        raise ConfigError("give --problems to sample, or --records, samples that are there")
    if limit is not None and limit < 1:
        raise ConfigError(f"--limit {limit} is below 1; sample at least one prompt")
    from tersely.lab.problems import SETS, Split, draw_set

    if name in SETS:
        if limit is not None and limit > MOST_LAB_PROMPTS:
            raise ConfigError(
                f"--limit {limit} is above the {MOST_LAB_PROMPTS:,} prompts that the lab gives; "
                "lower it"
            )
        return draw_set(name, count=limit or 400, seed=0, split=Split.TRAIN)[:limit]
    from tersely.flows.evaluate.session import load_benchmark

    return load_benchmark(name)[:limit]


def _ends(text: str | None, *, option: str) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"{option} {text!r} is not LOW,HIGH; write {option} 0.25,0.75") from None
    return low, high


def _facts(options: CurateOptions, samples: Path, choice: "Choice") -> dict[str, str]:
    from tersely.core.version import __version__

    # Of the manifest, for the same folder may be chosen from years later.
    made = _manifest(samples)
    return {
        "problems": made.benchmark if options.problems is None else options.problems,
        "held against": ", ".join(options.choice.against or ()) or "no benchmark",
        "problems digest": made.benchmark_digest,
        "model": made.model,
        **({"model digest": made.files.model_digest} if made.files else {}),
        **({"endpoint": made.facts.endpoint} if made.facts.endpoint else {}),
        "sampling started": made.facts.started or "",
        "samples a prompt": str(made.samples),
        "cap (tokens)": f"{made.cap_tokens:,}",
        "temperature": f"{made.temperature:g}",
        "top-p": f"{made.top_p:g}",
        "top-k": str(made.top_k),
        "seed": str(made.seed),
        **({"chat template kwargs": there} if (there := made.chat_template_kwargs) else {}),
        **({"system prompt": made.system_prompt} if made.system_prompt else {}),
        "near-duplicates": "kept" if choice.keep_duplicates else "removed, the first kept",
        "chosen on": date.today().isoformat(),
        "tersely": __version__,
        "command": shlex.join(["tersely", *sys.argv[1:]]),
    }


def _write_and_show(
    options: CurateOptions,
    pool: "Sequence[Problem]",
    samples: Path,
    choice: "Choice",
    answers: "AnswerChoice",
) -> None:
    from tersely.flows.curate.files import write_curated
    from tersely.flows.curate.session import choose
    from tersely.readers.evaluations import RECORDS_FILE
    from tersely.report.tables.curated import SetView, draw_curated, write_card
    from tersely.report.tables.documents import describe_sets

    curated = choose(pool, samples / RECORDS_FILE, choice)
    made = answers_of(curated.sets, samples, answers)
    rate_of = {rate.problem: rate for rate in curated.rates}
    views = {
        name: SetView(
            rule=chosen.rule,
            rates=[rate_of[problem.id] for problem in chosen.problems],
            left_out=[(each.source, each.reason) for each in chosen.dropped],
        )
        for name, chosen in curated.sets.items()
    }
    facts, target = _facts(options, samples, choice), choice.target_tokens
    cards = {
        name: write_card(name, view, rates=curated.rates, facts=facts, target_tokens=target)
        for name, view in views.items()
    }
    for name, each in made.items():
        cards[name] += clear_and_card(options.out / name, each)
    write_curated(options.out, curated, cards=cards)
    drawn = draw_curated(curated.rates, views, target_tokens=target)
    show(drawn, describe_sets(curated.rates, views))
    written = {name: options.out / name for name in curated.sets}
    show("\n".join(f"{name}: {at}" for name, at in written.items()), {"folders": written})
    show_answers(options.out, made, samples)
    _show_repeats(curated)


def _show_repeats(curated: "Curated") -> None:
    """Which prompts repeat what; the first of them, since all are in each set's file."""
    from tersely.flows.curate.session import Reason

    dropped = next(iter(curated.sets.values())).dropped
    repeats = [e for e in dropped if e.reason in (Reason.BENCHMARK, Reason.DUPLICATE)]
    for each in repeats[:SHOWN_REPEATS]:
        text = f"{each.reason}: {each.problem} {each.details}"
        messages.print(text, soft_wrap=True)
    if len(repeats) > SHOWN_REPEATS:
        more = len(repeats) - SHOWN_REPEATS
        messages.print(f"... and {more:,} more repeats; dropped.jsonl has each")
