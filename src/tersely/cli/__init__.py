"""The command line. Data to stdout, messages to stderr; exit 0 ok, 1 run failed, 2 bad input."""

import os
from typing import Annotated

import typer

# The messages of libraries would drown our own.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

from tersely.cli import offline  # noqa: F401, before any library that reads it
from tersely.cli.advise import advise
from tersely.cli.benchmarks import benchmarks
from tersely.cli.compare import compare
from tersely.cli.curate import curate
from tersely.cli.diagnose import diagnose
from tersely.cli.evaluate import evaluate
from tersely.cli.launch import launch_trl
from tersely.cli.launch_verl import launch_verl
from tersely.cli.lint import lint
from tersely.cli.published import card, push
from tersely.cli.register import add
from tersely.cli.report import report
from tersely.cli.rewards import rewards
from tersely.cli.study import study
from tersely.cli.sweep import sweep
from tersely.cli.train import lab_pretrain, train
from tersely.cli.watch import watch
from tersely.core.version import __version__

app = typer.Typer(
    help="Make reasoning models think shorter and stay right.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
launch_app = typer.Typer(help="The same recipe on a distributed engine.", no_args_is_help=True)
lab_app = typer.Typer(help="The built-in small world.", no_args_is_help=True)


def _print_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"tersely {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Make reasoning models think shorter and stay right."""


CAP = {"max-tokens": "cap-tokens"}
FOLDER = {"run": "out"}
NAME = {"benchmark": "benchmark-name"}

add(app, train, name="train", old=FOLDER)
add(app, evaluate, name="eval", old=CAP)
add(app, sweep, name="sweep")
add(app, report, name="report", old=NAME)
add(app, compare, name="compare", old=NAME)
add(app, advise, name="advise")
add(app, benchmarks, name="benchmarks", old={"write": "out"})
add(app, curate, name="curate", old={**CAP, "pool": "limit"})
add(app, lint, name="lint", old=NAME)
add(app, diagnose, name="diagnose")
add(app, watch, name="watch", as_json=False)
add(app, card, name="card")
add(app, push, name="push")
add(app, rewards, name="rewards", old={"target": "target-tokens", "cap": "cap-tokens"})
add(app, study, name="study", old={"train": "problems"})
add(launch_app, launch_verl, name="launch verl", old=FOLDER)
add(launch_app, launch_trl, name="launch trl", old=FOLDER)
add(lab_app, lab_pretrain, name="lab pretrain", as_json=False)
app.add_typer(launch_app, name="launch")
app.add_typer(lab_app, name="lab")
