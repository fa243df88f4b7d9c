"""``tersely eval``."""

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tersely.cli.frame import INTERRUPTED, messages, numbers, on_signals, plain_errors
from tersely.core.errors import ConfigError
from tersely.engines.local.jobs import Engine
from tersely.metrics.budgets import Protocol, spectrum

if TYPE_CHECKING:
    from tersely.engines.http.sampler import Endpoint
    from tersely.flows.evaluate.plan import Plan


def evaluate(
    benchmark: Annotated[
        str, typer.Option(help="'lab' (400 held-out problems), or a JSONL file of problems.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write; the same command goes on with it.")],
    model: Annotated[
        str, typer.Option(help="'lab', a Hugging Face model folder, or a server's model name.")
    ] = "lab",
    endpoint: Annotated[
        str | None,
        typer.Option(help="OpenAI-compatible server, e.g. http://localhost:8000/v1. None: here."),
    ] = None,
    samples: Annotated[int, typer.Option(help="Samples a problem.")] = 8,
    cap_tokens: Annotated[
        int,
        typer.Option(
            "--cap-tokens",
            "--max-tokens",
            help="Sampled cap: most tokens a sample, its stop token included.",
        ),
    ] = 32768,
    budgets: Annotated[
        str | None,
        typer.Option(
            help="Budgets to report, in tokens: 2048,4096. Default: doublings to the cap."
        ),
    ] = None,
    protocol: Annotated[
        Protocol, typer.Option(help="What counts as right at a budget.")
    ] = Protocol.FINISHED,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 1.0,
    top_p: Annotated[float, typer.Option(help="Nucleus; 1 is off.")] = 1.0,
    top_k: Annotated[int, typer.Option(help="Most likely tokens; 0 is off.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of all sampling.")] = 0,
    limit: Annotated[int | None, typer.Option(help="Only the first problems.")] = None,
    rows: Annotated[int, typer.Option(help="Samples in flight at once, in this process.")] = 256,
    engine: Annotated[Engine, typer.Option(help="What samples in this process.")] = Engine.LOCAL,
    threads: Annotated[int, typer.Option(help="CPU threads here; 0: one a core.")] = 0,
    closing: Annotated[
        str, typer.Option(help="forced: text that closes the thinking.")
    ] = "</think>",
    allowance: Annotated[
        int, typer.Option(help="forced: most tokens of the answer after the budget.")
    ] = 32,
    concurrency: Annotated[int, typer.Option(help="Server: most requests in flight.")] = 64,
    timeout_s: Annotated[float, typer.Option(help="Server: seconds a request may take.")] = 1800.0,
    tries: Annotated[int, typer.Option(help="Server: how often a request is tried.")] = 6,
    per_request: Annotated[int, typer.Option(help="Server: samples a request (n).")] = 1,
    api_key_env: Annotated[
        str, typer.Option(help="Server: environment variable that holds the API key.")
    ] = "OPENAI_API_KEY",
    extra_body: Annotated[
        str | None,
        typer.Option(help="Server: JSON object merged into each request."),
    ] = None,
    stop_text: Annotated[
        list[str] | None,
        typer.Option(help="Server: a stop token's text that it leaves in. Repeatable."),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="Server: folder of the model's tokenizer, where its token counts are wrong."
        ),
    ] = None,
    accept_first: Annotated[
        bool,
        typer.Option(
            "--accept-first", help="Server: go on though its first samples stopped the evaluation."
        ),
    ] = False,
    allow_unsandboxed: Annotated[
        bool,
        typer.Option(
            "--allow-unsandboxed",
            help="Grade programs even where nothing can isolate them from your files and network.",
        ),
    ] = False,
) -> None:
    """Sample once at the cap, grade, and give accuracy at every token budget."""
    with plain_errors():
        from tersely.core.types import SamplingSpec
        from tersely.flows.evaluate.plan import Plan
        from tersely.tasks import sandbox

        sandbox.allow_unsandboxed(allow_unsandboxed)
        plan = Plan(
            model=model,
            benchmark=benchmark,
            out=out,
            spec=SamplingSpec(
                samples=samples,
                cap_tokens=cap_tokens,
                seed=seed,
                temperature=temperature,
                top_p=top_p,
                top_k=top_k,
            ),
            budgets=numbers(budgets, option="--budgets") or spectrum(max(1, cap_tokens)),
            protocol=protocol,
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
                tokenizer=tokenizer,
            ),
            limit=limit,
            rows=rows,
            engine=engine,
            close_text=closing,
            allowance_tokens=allowance,
            accept_first=accept_first,
        )
        _run(plan, threads=threads)


def make_endpoint(
    url: str | None, model: str, *, per_request: int, **settings: Any
) -> "Endpoint | None":
    """The server to sample through; None where sampling is done here.

    Raises:
        ConfigError: the model is not named, or a tokenizer is given without a server.
    """
    if url is None:
        if settings.get("tokenizer") is not None:
            raise ConfigError(
                f"--tokenizer {settings['tokenizer']} counts what a server sends, and there is no "
                "--endpoint: a local --model brings its own; leave --tokenizer out"
            )
        return None
    if model == "lab":
        raise ConfigError("--endpoint needs --model NAME, the name that the server knows it by")
    from tersely.engines.http.sampler import Endpoint

    return Endpoint(url=url, model=model, samples_per_request=per_request, **settings)


def read_json_object(text: str | None) -> dict[str, object]:
    """The object of ``--extra-body``; empty for None.

    Raises:
        ConfigError: it is not a JSON object.
    """
    if text is None:
        return {}
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"--extra-body {text!r} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ConfigError(f"--extra-body {text!r} is no JSON object; write '{{\"key\": 1}}'")
    return value


def _run(plan: "Plan", *, threads: int) -> None:
    from tersely.cli.report import PAGE, Files, show_evaluation
    from tersely.flows.evaluate.progress import EvalProgress
    from tersely.flows.evaluate.session import run_evaluation
    from tersely.readers.evaluations import load

    if plan.endpoint is None:
        messages.print(f"loading {plan.model} ...", highlight=False)
        import torch

        if threads < 0:
            raise ConfigError(f"--threads {threads} is below 0; 0 takes one a core")
        if threads:
            torch.set_num_threads(threads)
    try:
        with (
            on_signals(signal.default_int_handler, signal.SIGTERM),
            EvalProgress(messages) as progress,
        ):
            run_evaluation(plan, watch=progress, on_first=progress.on_first)
    except KeyboardInterrupt:
        messages.print(
            f"stopped; {progress.done:,} samples are saved in {plan.out}. "
            "The same command goes on with the rest.",
            highlight=False,
            soft_wrap=True,
        )
        raise typer.Exit(INTERRUPTED) from None
    show_evaluation(load(plan.out, budgets=plan.budgets), Files(plan.out / PAGE))
