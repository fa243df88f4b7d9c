"""The command line. Data to stdout, messages to stderr; exit 0 ok, 1 run failed, 2 bad input."""

import os

import typer

# Nothing is loaded from a hub; the messages of libraries would drown our own.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

from tersely.cli.benchmarks import benchmarks
from tersely.cli.curate import curate
from tersely.cli.diagnose import diagnose
from tersely.cli.evaluate import evaluate
from tersely.cli.launch import launch_app
from tersely.cli.lint import lint
from tersely.cli.report import compare, report
from tersely.cli.rewards import rewards
from tersely.cli.study import study
from tersely.cli.train import lab_app, train
from tersely.cli.watch import watch

app = typer.Typer(
    help="Make reasoning models think shorter and stay right.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(train)
app.command(name="eval")(evaluate)
app.command()(report)
app.command()(compare)
app.command()(benchmarks)
app.command()(curate)
app.command()(lint)
app.command()(diagnose)
app.command()(watch)
app.command()(rewards)
app.command()(study)
app.add_typer(launch_app, name="launch")
app.add_typer(lab_app, name="lab")
