"""``tersely curate``."""

import os
import shlex
import signal
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tersely.cli.evaluate import make_endpoint, read_json_object
from tersely.cli.frame import INTERRUPTED, messages, on_signals, output, plain_errors
from tersely.core.errors import ConfigError
from tersely.engines.local.jobs import Engine
from tersely.metrics.budgets import Protocol

SHOWN_REPEATS = 8

if TYPE_CHECKING:
    from tersely.core.types import Problem
    from tersely.flows.curate.choice import Choice
    from tersely.flows.curate.session import Curated
    from tersely.flows.evaluate.plan import Plan


def curate(
    problems: Annotated[
        str,
        typer.Option(help="'lab' (its training half), a file of problems, or a set by its name."),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write; the same command goes on with it.")],
    model: Annotated[
        str, typer.Option(help="'lab', a Hugging Face model folder, or a server's model name.")
    ] = "lab",
    endpoint: Annotated[
        str | None,
        typer.Option(help="OpenAI-compatible server, e.g. http://localhost:8000/v1. None: here."),
    ] = None,
    samples: Annotated[int, typer.Option(help="Samples a prompt, k.")] = 8,
    cap_tokens: Annotated[
        int, typer.Option("--cap-tokens", "--max-tokens", help="Sampled cap in tokens.")
    ] = 16384,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 1.0,
    top_p: Annotated[float, typer.Option(help="Nucleus; 1 is off.")] = 1.0,
    top_k: Annotated[int, typer.Option(help="Most likely tokens; 0 is off.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of sampling, and of --limit's draw.")] = 0,
    pool: Annotated[int | None, typer.Option(help="Sample only the first so many prompts.")] = None,
    rows: Annotated[int, typer.Option(help="Samples in flight at once, in this process.")] = 256,
    engine: Annotated[Engine, typer.Option(help="What samples in this process.")] = Engine.LOCAL,
    threads: Annotated[int, typer.Option(help="CPU threads here; 0: one a core.")] = 0,
    select: Annotated[
        str | None,
        typer.Option(
            help="easy (pass rate > 0.5), hard (0 < pass rate <= 0.5), full, or mixes: a set of "
            "each, equally large. Default: easy."
        ),
    ] = None,
    band: Annotated[
        str | None, typer.Option(help="Instead: lowest and highest pass rate, 0.2,0.8.")
    ] = None,
    quantiles: Annotated[
        str | None, typer.Option(help="Instead: quantiles of the pass rates, 0.25,0.75.")
    ] = None,
    density: Annotated[
        float | None,
        typer.Option(
            help="Instead: the mean positive density to come near to, the share of samples that "
            "are right within --target-tokens; prompts leave from the denser or sparser end."
        ),
    ] = None,
    target_tokens: Annotated[
        int | None,
        typer.Option(
            help="L_T in tokens: positive densities are given, and --density can be used."
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Most prompts of a set, drawn by --seed.")
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="A benchmark, by name or file, whose problems must not be trained on. Repeatable."
        ),
    ] = None,
    keep_duplicates: Annotated[
        bool, typer.Option("--keep-duplicates", help="Leave near-duplicates in.")
    ] = False,
    concurrency: Annotated[int, typer.Option(help="Server: most requests in flight.")] = 64,
    timeout_s: Annotated[float, typer.Option(help="Server: seconds a request may take.")] = 1800.0,
    tries: Annotated[int, typer.Option(help="Server: how often a request is tried.")] = 6,
    per_request: Annotated[int, typer.Option(help="Server: samples a request (n).")] = 1,
    api_key_env: Annotated[
        str, typer.Option(help="Server: environment variable that holds the API key.")
    ] = "OPENAI_API_KEY",
    extra_body: Annotated[
        str | None, typer.Option(help="Server: JSON object merged into each request.")
    ] = None,
    stop_text: Annotated[
        list[str] | None,
        typer.Option(help="Server: a stop token's text that it leaves in. Repeatable."),
    ] = None,
    allow_unsandboxed: Annotated[
        bool,
        typer.Option(
            "--allow-unsandboxed",
            help="Grade programs even where nothing can isolate them from your files and network.",
        ),
    ] = False,
) -> None:
    """Sample prompts a few times each, and keep those to train on, by pass rate.

    The same folder can be chosen from again by other rules; nothing is sampled twice. A set of
    the same name is replaced.
    """
    with plain_errors():
        from tersely.core.types import SamplingSpec
        from tersely.flows.curate.choice import Choice, Select, check_choice
        from tersely.flows.evaluate.plan import Plan
        from tersely.flows.evaluate.session import load_benchmark
        from tersely.tasks import sandbox

        sandbox.allow_unsandboxed(allow_unsandboxed)
        if threads < 0:
            raise ConfigError(f"--threads {threads} is below 0; 0 takes one a core")
        ways = (band, quantiles, density)
        wanted = "easy" if select is None and all(way is None for way in ways) else select
        if wanted is not None and wanted not in list(Select):
            raise ConfigError(f"--select {wanted!r} is none of {', '.join(Select)}; use one")
        choice = Choice(
            select=None if wanted is None else Select(wanted),
            band=_ends(band, option="--band"),
            quantiles=_ends(quantiles, option="--quantiles"),
            density=density,
            target_tokens=target_tokens,
            limit=limit,
            seed=seed,
            against=tuple(p for name in against or () for p in load_benchmark(name)),
            keep_duplicates=keep_duplicates,
        )
        check_choice(choice, cap_tokens=cap_tokens)
        plan = Plan(
            model=model,
            benchmark="",
            out=out / "samples",
            spec=SamplingSpec(
                samples=samples,
                cap_tokens=cap_tokens,
                seed=seed,
                temperature=temperature,
                top_p=top_p,
                top_k=top_k,
            ),
            budgets=(cap_tokens,),
            protocol=Protocol.FINISHED,
            endpoint=make_endpoint(
                endpoint,
                model,
                concurrency=concurrency,
                timeout_s=timeout_s,
                tries=tries,
                per_request=per_request,
                api_key=os.environ.get(api_key_env),
                extra_body=read_json_object(extra_body),
                stop_texts=tuple(stop_text or ()),
            ),
            rows=rows,
            engine=engine,
        )
        inputs = {"problems": problems, "held against": ", ".join(against or ()) or "no benchmark"}
        _run(_pool(problems, pool), plan, choice, inputs=inputs, threads=threads)


def _run(
    pool: "Sequence[Problem]",
    plan: "Plan",
    choice: "Choice",
    *,
    inputs: dict[str, str],
    threads: int,
) -> None:
    from tersely.flows.curate.session import choose, sample_pool
    from tersely.flows.evaluate.progress import EvalProgress

    if plan.endpoint is None:
        messages.print(f"loading {plan.model} ...", highlight=False)
        import torch

        if threads:
            torch.set_num_threads(threads)
    try:
        with (
            on_signals(signal.default_int_handler, signal.SIGTERM),
            EvalProgress(messages) as progress,
        ):
            records = sample_pool(pool, plan, watch=progress)
    except KeyboardInterrupt:
        messages.print(
            f"stopped; {progress.done:,} samples are saved in {plan.out}. "
            "The same command goes on with the rest.",
            highlight=False,
            soft_wrap=True,
        )
        raise typer.Exit(INTERRUPTED) from None
    messages.print("choosing ...")
    curated = choose(pool, records, choice)
    facts = inputs | _facts(plan, choice)
    _write_and_show(plan.out.parent, curated, facts, target_tokens=choice.target_tokens)


def _pool(name: str, limit: int | None) -> "list[Problem]":
    if limit is not None and limit < 1:
        raise ConfigError(f"--pool {limit} is below 1; sample at least one prompt")
    if name == "lab":
        from tersely.lab.problems import FAMILIES, Split, draw_problems

        per_family = -(-(limit or 400) // len(FAMILIES))
        return draw_problems(per_family=per_family, seed=0, split=Split.TRAIN)[:limit]
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


def _facts(plan: "Plan", choice: "Choice") -> dict[str, str]:
    from tersely import __version__
    from tersely.core.manifest import read_manifest

    manifest = read_manifest(plan.out)
    # Of the manifest, for the same folder may be chosen from years later.
    sampled = {
        "problems digest": manifest.identity["benchmark digest"],
        "model": plan.model,
        **{key: manifest.identity[key] for key in ("model digest",) if key in manifest.identity},
        **{key: manifest.facts[key] for key in ("endpoint",) if key in manifest.facts},
        "sampling started": manifest.facts["started"],
    }
    return {
        **sampled,
        "samples a prompt": str(plan.spec.samples),
        "cap (tokens)": f"{plan.spec.cap_tokens:,}",
        "temperature": f"{plan.spec.temperature:g}",
        "top-p": f"{plan.spec.top_p:g}",
        "top-k": str(plan.spec.top_k),
        "seed": str(plan.spec.seed),
        "near-duplicates": "kept" if choice.keep_duplicates else "removed, the first kept",
        "chosen on": date.today().isoformat(),
        "tersely": __version__,
        "command": shlex.join(["tersely", *sys.argv[1:]]),
    }


def _write_and_show(
    folder: Path, curated: "Curated", facts: dict[str, str], *, target_tokens: int | None
) -> None:
    from tersely.flows.curate.files import write_curated
    from tersely.report.tables.curated import SetView, draw_curated, write_card

    rate_of = {rate.problem: rate for rate in curated.rates}
    views = {
        name: SetView(
            rule=chosen.rule,
            rates=[rate_of[problem.id] for problem in chosen.problems],
            left_out=[(each.source, each.reason) for each in chosen.dropped],
        )
        for name, chosen in curated.sets.items()
    }
    cards = {
        name: write_card(name, view, rates=curated.rates, facts=facts, target_tokens=target_tokens)
        for name, view in views.items()
    }
    write_curated(folder, curated, cards=cards)
    output().print(draw_curated(curated.rates, views, target_tokens=target_tokens))
    for name in curated.sets:
        output().print(f"{name}: {folder / name}", highlight=False, soft_wrap=True)
    _show_repeats(curated)


def _show_repeats(curated: "Curated") -> None:
    """Which prompts repeat what; the first of them, since all are in each set's file."""
    from tersely.flows.curate.session import Reason

    dropped = next(iter(curated.sets.values())).dropped
    repeats = [e for e in dropped if e.reason in (Reason.BENCHMARK, Reason.DUPLICATE)]
    for each in repeats[:SHOWN_REPEATS]:
        text = f"{each.reason}: {each.problem} {each.details}"
        messages.print(text, highlight=False, markup=False, soft_wrap=True)
    if len(repeats) > SHOWN_REPEATS:
        more = len(repeats) - SHOWN_REPEATS
        messages.print(f"... and {more:,} more repeats; dropped.jsonl has each", highlight=False)
