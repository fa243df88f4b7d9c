"""``tersely train`` and ``tersely lab pretrain``."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tersely.cli.frame import (
    INTERRUPTED,
    messages,
    on_signals,
    plain_errors,
    use_threads,
)
from tersely.cli.offline import outward
from tersely.cli.options import (
    AllowUnsandboxed,
    MeanTokens,
    RecipeOrDemo,
    RecipeOverrides,
    Resume,
    ResumeFrom,
    Threads,
)
from tersely.cli.report import show_run
from tersely.core.errors import ConfigError

if TYPE_CHECKING:
    from tersely.flows.recipe.recipe import Recipe
    from tersely.flows.train.folder import Resumption

DEMO_FOLDER = Path("runs/demo")


def train(
    recipe: RecipeOrDemo = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Run folder to write. Default: runs/demo, or runs/ and the recipe's name."
        ),
    ] = None,
    resume: Resume = False,
    resume_from: ResumeFrom = None,
    set_: RecipeOverrides = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the resolved recipe and its cost, and stop.")
    ] = False,
    mean_tokens: MeanTokens = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed. Default: the recipe's.")] = None,
    threads: Threads = None,
    allow_unsandboxed: AllowUnsandboxed = False,
) -> None:
    """Shorten a reasoner with RL: a run folder with checkpoints, records and report.html."""
    from tersely.flows.recipe.recipe import find_recipe, keys_of, read_recipe, shipped
    from tersely.flows.train.folder import Resumption
    from tersely.tasks import sandbox

    with plain_errors():
        sandbox.allow_unsandboxed(allow_unsandboxed)
        resuming = resume or resume_from is not None
        file = _own_recipe(out or DEMO_FOLDER) if recipe is None and resuming else None
        file = file or (shipped("demo") if recipe is None else find_recipe(recipe))
        folder = out or (DEMO_FOLDER if recipe is None else Path("runs") / file.stem)
        given = {"seed": seed, "model.cpu_threads": threads or None}
        overrides = [f"{key}={value}" for key, value in given.items() if value is not None]
        settings = read_recipe(file, overrides=[*(set_ or []), *overrides])
        by_hand = [*keys_of(set_ or []), *(["model.cpu_threads"] if threads else [])]
        if dry_run:
            _show_price(settings, mean_tokens=mean_tokens)
            return
        _train(settings, folder, Resumption(resume, resume_from, by_hand))


def _own_recipe(folder: Path) -> Path | None:
    """The recipe that a run folder keeps: a resume that names none goes on with it."""
    from tersely.flows.recipe.recipe import RECIPE_FILE

    file = folder / RECIPE_FILE
    return file if file.is_file() else None


def _show_price(settings: "Recipe", *, mean_tokens: int | None) -> None:
    from tersely.cli.price import show_price
    from tersely.flows.price.cost import count_evaluations
    from tersely.flows.price.memory import Setup

    setup = Setup(rows=settings.sampling.rows, local=True)
    evaluations = count_evaluations(settings)
    show_price(settings, setup, evaluations=evaluations, mean_tokens=mean_tokens)


def _train(settings: "Recipe", folder: Path, start: "Resumption") -> None:
    from tersely.flows.recipe.recipe import RECIPE_FILE
    from tersely.flows.tracking import Tracking
    from tersely.flows.train.folder import check_folder
    from tersely.flows.train.progress import Progress

    if start.resume or start.resume_from is not None:
        check_folder(settings, folder, resume=True)
    messages.print(f"loading {settings.model.path} and its problems ...")
    use_threads(settings.model.cpu_threads)
    from tersely.flows.train.loop import train as run_training

    progress = Progress(messages)
    with Tracking(folder, progress, environment=outward()) as observer:
        with (
            progress.display.bars,
            on_signals(progress.display.ask_to_stop, signal.SIGINT, signal.SIGTERM),
        ):
            try:
                outcome = run_training(settings, folder, **start._asdict(), observer=observer)
                done = f"after step {outcome.steps_done} of {outcome.steps}; all of it is saved"
            except KeyboardInterrupt:
                outcome = None
                done = "at once; what came after the last checkpoint is made again"
        if outcome is None or not outcome.finished:
            again = f"tersely train {folder / RECIPE_FILE} --out {folder} --resume"
            messages.print(f"stopped {done}. Go on with: {again}", soft_wrap=True)
            raise typer.Exit(INTERRUPTED)
        show_run(folder)


def lab_pretrain(
    out: Annotated[Path, typer.Option(help="Folder to write both models and the training run to.")],
    seed: Annotated[int, typer.Option(help="Seed of weights, worked solutions and training.")] = 0,
    check: Annotated[
        bool, typer.Option("--check", help="Compare the models with the shipped ones.")
    ] = False,
) -> None:
    """Make the lab's models again from their seed, both stages (2 cores: under 40 minutes)."""
    from tersely.flows.train.pretrain_lab import pretrain_lab

    with plain_errors():
        if out.exists() and any(out.iterdir()):
            raise ConfigError(f"{out} exists and is not empty; choose another --out")
        same = pretrain_lab(out, seed=seed, console=messages, check=check)
    if check and not same:
        raise typer.Exit(1)
