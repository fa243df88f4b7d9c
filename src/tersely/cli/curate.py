"""``tersely curate``."""

import os
import shlex
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tersely.cli.frame import INTERRUPTED, messages, on_signals, output, plain_errors
from tersely.core.errors import ConfigError
from tersely.metrics.budgets import Protocol

if TYPE_CHECKING:
    from tersely.core.types import Problem
    from tersely.engines.http import Endpoint
    from tersely.flows.curate import Choice, Curated
    from tersely.flows.evaluation import Plan


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
    max_tokens: Annotated[int, typer.Option(help="Sampled cap in tokens.")] = 16384,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 1.0,
    top_p: Annotated[float, typer.Option(help="Nucleus; 1 is off.")] = 1.0,
    top_k: Annotated[int, typer.Option(help="Most likely tokens; 0 is off.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of sampling, and of --limit's draw.")] = 0,
    pool: Annotated[int | None, typer.Option(help="Sample only the first so many prompts.")] = None,
    rows: Annotated[int, typer.Option(help="Samples in flight at once, in this process.")] = 256,
    threads: Annotated[int, typer.Option(help="CPU threads here; 0: one a core.")] = 0,
    select: Annotated[
        str | None,
        typer.Option(
            help="easy (pass rate > 0.5), hard (<= 0.5), full, or mixes: all three of "
            "equal size. Default: easy."
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
            help="Instead: as many prompts as have this mean share of samples that are "
            "right within --target-tokens, from the densest on."
        ),
    ] = None,
    target_tokens: Annotated[int | None, typer.Option(help="L_T in tokens, for --density.")] = None,
    limit: Annotated[int | None, typer.Option(help="Most prompts of a set.")] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="A benchmark, by name or file, whose problems must not be trained on. Repeatable."
        ),
    ] = None,
    keep_duplicates: Annotated[bool, typer.Option(help="Leave near-duplicates in.")] = False,
) -> None:
    """Sample prompts a few times each, and keep those to train on, by pass rate."""
    with plain_errors():
        from tersely.core.types import SamplingSpec
        from tersely.flows.curate import Choice, Select, check_choice
        from tersely.flows.evaluation import Plan, load_benchmark

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
        check_choice(choice, cap_tokens=max_tokens)
        plan = Plan(
            model=model,
            benchmark="",
            out=out / "samples",
            spec=SamplingSpec(
                samples=samples,
                max_tokens=max_tokens,
                seed=seed,
                temperature=temperature,
                top_p=top_p,
                top_k=top_k,
            ),
            budgets=(max_tokens,),
            protocol=Protocol.FINISHED,
            endpoint=_endpoint(endpoint, model),
            rows=rows,
        )
        _run(_pool(problems, pool), plan, choice, against=against or (), threads=threads)


def _run(
    pool: "Sequence[Problem]",
    plan: "Plan",
    choice: "Choice",
    *,
    against: Sequence[str],
    threads: int,
) -> None:
    from tersely.flows.curate import choose, sample_pool
    from tersely.flows.curated_files import write_curated
    from tersely.flows.eval_progress import EvalProgress

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
    folder = plan.out.parent
    write_curated(folder, curated, facts=_facts(plan, choice, against=against))
    _show(curated, folder)


def _pool(name: str, limit: int | None) -> "list[Problem]":
    if limit is not None and limit < 1:
        raise ConfigError(f"--pool {limit} is below 1; sample at least one prompt")
    if name == "lab":
        from tersely.lab.problems import FAMILIES, Split, draw_problems

        per_family = -(-(limit or 400) // len(FAMILIES))
        return draw_problems(per_family=per_family, seed=0, split=Split.TRAIN)[:limit]
    from tersely.flows.evaluation import load_benchmark

    return load_benchmark(name)[:limit]


def _endpoint(url: str | None, model: str) -> "Endpoint | None":
    if url is None:
        return None
    if model == "lab":
        raise ConfigError("--endpoint needs --model NAME, the name that the server knows it by")
    from tersely.engines.http import Endpoint

    return Endpoint(url=url, model=model, api_key=os.environ.get("OPENAI_API_KEY"))


def _ends(text: str | None, *, option: str) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"{option} {text!r} is not LOW,HIGH; write {option} 0.25,0.75") from None
    return low, high


def _facts(plan: "Plan", choice: "Choice", *, against: Sequence[str]) -> dict[str, str]:
    from tersely.core.manifest import read_manifest

    identity = read_manifest(plan.out).identity
    return {
        "model": plan.model,
        **{key: identity[key] for key in ("model digest",) if key in identity},
        "samples a prompt": str(plan.spec.samples),
        "cap (tokens)": f"{plan.spec.max_tokens:,}",
        "temperature": f"{plan.spec.temperature:g}",
        "top-p": f"{plan.spec.top_p:g}",
        "top-k": str(plan.spec.top_k),
        "seed": str(plan.spec.seed),
        "held against": ", ".join(against) or "no benchmark",
        "chosen on": date.today().isoformat(),
        "command": shlex.join(["tersely", *sys.argv[1:]]),
    }


def _show(curated: "Curated", folder: Path) -> None:
    from tersely.report.curated import draw_curated

    kept = {name: len(chosen.problems) for name, chosen in curated.sets.items()}
    reasons = {
        name: Counter(each.reason for each in chosen.dropped)
        for name, chosen in curated.sets.items()
    }
    output().print(draw_curated(curated.rates, kept=kept, left_out=reasons))
    for name in curated.sets:
        output().print(f"{name}: {folder / name}", highlight=False, soft_wrap=True)
