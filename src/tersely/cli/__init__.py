"""The command line. Data to stdout, messages to stderr; exit 0 ok, 1 run failed, 2 bad input.

A command's module is imported when its words are typed: most need numpy, polars and scipy, and
``tersely --help`` none of them. ``app`` has all commands.
"""

import os
import sys
from collections.abc import Collection, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple

import typer

# The messages of libraries would drown our own.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

from tersely.cli import offline  # noqa: F401, before any library that reads it
from tersely.core.version import __version__


class CommandEntry(NamedTuple):
    """A command of the program.

    Args:
        place: ``file.function`` in this folder.
        about: its line in the list of commands, the first paragraph of the function's docstring.
        old: by the name that an option had, the one that it has; both without dashes.
    """

    place: str
    about: str
    old: Mapping[str, str] = MappingProxyType({})
    as_json: bool = True


_CAP = {"max-tokens": "cap-tokens"}
_FOLDER = {"run": "out"}
_NAME = {"benchmark": "benchmark-name"}

ENTRIES = {
    "train": CommandEntry(
        "train.train",
        "Shorten a reasoner with RL: a run folder with checkpoints, records and report.html.",
        _FOLDER,
    ),
    "eval": CommandEntry(
        "evaluate.evaluate",
        "Sample once at the cap, grade, and give accuracy at every token budget.",
        _CAP,
    ),
    "sweep": CommandEntry(
        "sweep.sweep",
        "The same problems and seeds at every effort, budget or prompt: accuracy over the tokens "
        "that samples really took, and whether the server obeyed.",
    ),
    "report": CommandEntry(
        "report.report",
        "Tables and pictures of one evaluation, sweep or training run: terminal and report.html.",
        _NAME,
    ),
    "compare": CommandEntry(
        "compare.compare",
        "Paired differences at every budget, with intervals; of three or more, a Pareto front too.",
        _NAME,
    ),
    "advise": CommandEntry(
        "advise.advise",
        "Which cap, how many votes, which model or effort: accuracy against tokens or money.",
    ),
    "benchmarks": CommandEntry(
        "benchmarks.benchmarks",
        "List the benchmarks and training sets, or write one to a file.",
        {"write": "out"},
    ),
    "curate": CommandEntry(
        "curate.curate",
        "Sample prompts a few times each, and keep those to train on, by pass rate.",
        {**_CAP, "pool": "limit"},
    ),
    "merge": CommandEntry(
        "merge.merge",
        "Mean of two checkpoints' weights, such as a verbose and a terse one: A + weight (B - A).",
    ),
    "lint": CommandEntry(
        "lint.lint",
        "Say what a recipe will do to a model, from its rollouts, before any GPU time is spent.",
        _NAME,
    ),
    "diagnose": CommandEntry(
        "diagnose.diagnose",
        "Say what stage a run is in, what is going wrong, and what to change.",
    ),
    "watch": CommandEntry(
        "watch.watch",
        "Serve a run's report, or the diagnosis of a log, on this machine; the page refreshes.",
        as_json=False,
    ),
    "card": CommandEntry(
        "published.card",
        "Write a Hugging Face model card beside a checkpoint: recipe, data, figures with "
        "intervals.",
    ),
    "push": CommandEntry(
        "published.push",
        "Upload a checkpoint to the Hugging Face hub: weights, tokenizer, card; no trainer's "
        "state.",
    ),
    "rewards": CommandEntry(
        "rewards.rewards",
        "List the rewards with formula, source and parameters, or draw one over length.",
        {"target": "target-tokens", "cap": "cap-tokens"},
    ),
    "study": CommandEntry(
        "study.study",
        "Run a study's arms side by side and say, claim by claim, whether it holds.",
        {"train": "problems"},
    ),
    "launch verl": CommandEntry(
        "launch_verl.launch_verl",
        "Train with verl on Ray: our grader, rewards, masks and records, its sharding and "
        "sampling.",
        _FOLDER,
    ),
    "launch trl": CommandEntry(
        "launch.launch_trl",
        "Train with TRL on accelerate: our rewards, targets, masks and records, its processes.",
        _FOLDER,
    ),
    "lab pretrain": CommandEntry(
        "train.lab_pretrain",
        "Make the lab's models again from their seed, both stages (2 cores: under 40 minutes).",
        as_json=False,
    ),
}


def _print_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"tersely {__version__}")
        raise typer.Exit
    return wanted


def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Make reasoning models think shorter and stay right."""


def assemble(wanted: Collection[str]) -> typer.Typer:
    """The program, with the ``wanted`` commands; the others are only listed in its help."""
    whole = typer.Typer(
        help="Make reasoning models think shorter and stay right.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    whole.callback()(_options)
    launch = typer.Typer(help="The same recipe on a distributed engine.", no_args_is_help=True)
    lab = typer.Typer(help="The built-in small world.", no_args_is_help=True)
    groups = {"launch": launch, "lab": lab}
    for name, entry in ENTRIES.items():
        first, _, last = name.rpartition(" ")
        if name in wanted:
            _add(groups.get(first, whole), name, entry)
        else:
            groups.get(first, whole).command(last, help=entry.about)(_unused)
    for name, group in groups.items():
        whole.add_typer(group, name=name)
    return whole


def _add(app: typer.Typer, name: str, entry: CommandEntry) -> None:
    from tersely.cli.register import add

    module, function = entry.place.split(".")
    command = getattr(import_module(f"tersely.cli.{module}"), function)
    add(app, command, name=name, old=entry.old, as_json=entry.as_json)


def _unused() -> None:
    """Stands for a command whose words were not typed."""


def main() -> None:
    """The program, with the commands that the words of the command line may mean."""
    completing = any(key.endswith("_COMPLETE") for key in os.environ)
    typed = set(sys.argv[1:])
    assemble([name for name in ENTRIES if completing or typed.issuperset(name.split())])()


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["app"] = made = assemble(ENTRIES)
    return made
