"""What ``tersely eval`` and ``tersely curate`` ask about sampling, and show while it goes."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tersely.cli.frame import INTERRUPTED, messages, on_signals
from tersely.core.errors import ConfigError, shortened
from tersely.core.extras import refuse_absent
from tersely.core.parsing import parse_sent
from tersely.engines.local.jobs import Engine

if TYPE_CHECKING:
    from tersely.engines.http.sampler import Endpoint
    from tersely.flows.evaluate.progress import EvalProgress


USUAL_KEY = "OPENAI_API_KEY"
# Beyond these a value is a slip, and its lists would not fit in memory.
MOST_SAMPLES, MOST_TOKENS, MOST_SEED = 10**6, 10**9, 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which model samples, and where."""

    model: Annotated[
        str,
        typer.Option(
            help="'lab' (or 'lab-v1', the first one), a model folder, or a server's model name."
        ),
    ] = "lab"
    endpoint: Annotated[
        list[str] | None,
        typer.Option(
            help="OpenAI-compatible server, http://localhost:8000/v1. None: local. Repeatable: "
            "servers of one model, which share the requests."
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class DrawOptions:
    """How a token is drawn."""

    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 1.0
    top_p: Annotated[float, typer.Option(help="Nucleus; 1 is off.")] = 1.0
    top_k: Annotated[int, typer.Option(max=MOST_TOKENS, help="Most likely tokens; 0 is off.")] = 0


@dataclass(frozen=True, kw_only=True)
class PromptOptions:
    """How a problem becomes a prompt."""

    chat_template_kwargs: Annotated[
        str | None,
        typer.Option(
            help="JSON object given to the chat template, here or by the server: "
            """'{"enable_thinking": false}', or @FILE."""
        ),
    ] = None
    system_prompt: Annotated[
        str | None, typer.Option(help="System message before every problem; @FILE reads a file.")
    ] = None

    @property
    def template(self) -> dict[str, object]:
        """What the chat template is given beside the messages."""
        option = "--chat-template-kwargs"
        return _read_json_object(read_text(self.chat_template_kwargs, option=option), option=option)

    @property
    def system(self) -> str | None:
        """The system message."""
        return read_text(self.system_prompt, option="--system-prompt")


def read_text(given: str | None, *, option: str) -> str | None:
    """An option's text; of ``@FILE`` what the file holds, without the blanks at its end.

    Raises:
        ConfigError: the file cannot be read as text.
    """
    if given is None or not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text(encoding="utf-8").rstrip()
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(f"{option} {given}: {reason}; name a text file after the @") from error


@dataclass(frozen=True, kw_only=True)
class LocalOptions:
    """How this process samples."""

    rows: Annotated[
        int, typer.Option(max=MOST_SAMPLES, help="Samples in flight at once, in this process.")
    ] = 256
    engine: Annotated[Engine, typer.Option(help="What samples in this process.")] = Engine.LOCAL
    threads: Annotated[int, typer.Option(max=1024, help="CPU threads here; 0: one a core.")] = 0


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """How a server is asked."""

    concurrency: Annotated[
        int, typer.Option(max=MOST_SAMPLES, help="Server: most requests in flight, over all.")
    ] = 64
    timeout_s: Annotated[float, typer.Option(help="Server: seconds a request may take.")] = 1800.0
    tries: Annotated[
        int, typer.Option(max=MOST_SAMPLES, help="Server: how often a request is tried.")
    ] = 6
    per_request: Annotated[
        int, typer.Option(max=MOST_SAMPLES, help="Server: samples a request (n).")
    ] = 1
    api_key_env: Annotated[
        str, typer.Option(help="Server: environment variable that holds the API key.")
    ] = USUAL_KEY
    extra_body: Annotated[
        str | None, typer.Option(help="Server: JSON object merged into each request.")
    ] = None
    stop_text: Annotated[
        list[str] | None,
        typer.Option(help="Server: a stop token's text that it leaves in. Repeatable."),
    ] = None
    no_seed: Annotated[
        bool, typer.Option("--no-seed", help="Server: send no seed, for servers that refuse it.")
    ] = False
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Server: ask again for the samples that failed."),
    ] = False


def make_endpoint(
    source: ModelOptions, server: ServerOptions, *, tokenizer: str | None = None
) -> "Endpoint | None":
    """The server or servers to sample through; None where sampling is done here.

    Raises:
        ConfigError: the model is not named, or a tokenizer is given without a server.
    """
    extra_body = _read_json_object(server.extra_body, option="--extra-body")
    if not source.endpoint:
        if tokenizer is not None:
            raise ConfigError(
                f"--tokenizer {tokenizer} counts what a server sends, and there is no "
                "--endpoint: a local --model brings its own; leave --tokenizer out"
            )
        return None
    from tersely.engines.folders import LABS

    if source.model in LABS:
        raise ConfigError("--endpoint needs --model NAME, the name that the server knows it by")
    from tersely.engines.http.sampler import Endpoint

    return Endpoint(
        url=source.endpoint[0],
        more_urls=tuple(source.endpoint[1:]),
        model=source.model,
        samples_per_request=server.per_request,
        concurrency=server.concurrency,
        timeout_s=server.timeout_s,
        tries=server.tries,
        api_key=_read_key(server.api_key_env),
        extra_body=extra_body,
        stop_texts=tuple(server.stop_text or ()),
        tokenizer=tokenizer,
        seeded=not server.no_seed,
    )


def _read_key(variable: str) -> str | None:
    """The key in an environment variable; only the usual one may be absent."""
    key = os.environ.get(variable, "").strip()
    if not key and variable != USUAL_KEY:
        raise ConfigError(f"--api-key-env {variable}: no such variable is set; export it first")
    return key or None


def check_engine(local: LocalOptions) -> None:
    """ConfigError for settings of this process's engine that cannot be used."""
    if local.threads < 0:
        raise ConfigError(f"--threads {local.threads} is below 0; 0 takes one a core")
    if local.engine is Engine.VLLM:
        refuse_absent("vllm", what="--engine vllm", extra="vllm")


def _read_json_object(text: str | None, *, option: str) -> dict[str, object]:
    if text is None:
        return {}
    shown = f"{option} {shortened(text)!r}"
    try:
        value = parse_sent(text)
    except ValueError as error:
        raise ConfigError(f"{shown} is not JSON: {shortened(error)}") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{shown} is no JSON object; write '{{\"key\": 1}}'")
    return value


@contextmanager
def sampling_progress(out: Path | None) -> "Iterator[EvalProgress]":
    """Shows samples as they come; Ctrl-C or SIGTERM ends the command and keeps them.

    Args:
        out: the folder that holds them; None where it is one of several.
    """
    from tersely.flows.evaluate.progress import EvalProgress

    progress = EvalProgress(messages)
    try:
        with on_signals(signal.default_int_handler, signal.SIGTERM), progress.display.bars:
            yield progress
    except KeyboardInterrupt:
        messages.print(
            "stopped; what was sampled is kept. The same command goes on."
            if out is None
            else f"stopped; {progress.done:,} samples are saved in {out}. "
            "The same command goes on with the rest.",
            soft_wrap=True,
        )
        raise typer.Exit(INTERRUPTED) from None
