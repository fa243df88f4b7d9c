"""``tersely launch``: a recipe on an engine of many processes."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tersely.cli.frame import messages, plain_errors, use_threads
from tersely.cli.launch_verl import launch_verl
from tersely.cli.launched import carry_out
from tersely.cli.options import LaunchFolder, MeanTokens, Resume, ResumeFrom
from tersely.cli.report import show_run

if TYPE_CHECKING:
    from tersely.flows.recipe.recipe import Recipe
    from tersely.flows.train.folder import Resumption

# A launched run is evaluated before its first step and after its last.
ENDS = 2

launch_app = typer.Typer(
    help="The same recipe on a distributed engine.", no_args_is_help=True, add_completion=False
)

launch_app.command("verl")(launch_verl)


@launch_app.command("trl")
def launch_trl(
    recipe: Annotated[
        Path,
        typer.Argument(
            help="Recipe (TOML), or a shipped one's name; \\[trl] holds GRPOConfig's own."
        ),
    ],
    processes: Annotated[
        int, typer.Option(min=1, help="Processes on this machine: one for each GPU.")
    ] = 1,
    run: LaunchFolder = None,
    resume: Resume = False,
    resume_from: ResumeFrom = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override a setting, e.g. --set trl.use_vllm=true. Repeatable."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check all, print TRL's settings and the price, and stop."),
    ] = False,
    mean_tokens: MeanTokens = None,
) -> None:
    """Train with TRL on accelerate: our rewards, targets, masks and records, its processes."""
    from tersely.flows.recipe.recipe import find_recipe, keys_of, read_recipe
    from tersely.flows.train.folder import Resumption

    with plain_errors():
        file = find_recipe(recipe)
        settings = read_recipe(file, overrides=set_ or [])
        folder = run or Path("runs") / file.stem
        if dry_run:
            _show(settings, folder, processes=processes, mean_tokens=mean_tokens)
            return
        start = Resumption(resume, resume_from, keys_of(set_ or []))
        _launch(settings, folder, start, processes=processes)


def _show(settings: "Recipe", folder: Path, *, processes: int, mean_tokens: int | None) -> None:
    from tersely.cli.price import show_price
    from tersely.flows.recipe.recipe import as_toml
    from tersely.flows.trl.launch import plan_trl, worker_command
    from tersely.flows.trl.settings import setup_of

    # Before TRL is looked for: a price is of use before anything is installed.
    setup = setup_of(settings, processes=processes)
    show_price(settings, setup, evaluations=ENDS, mean_tokens=mean_tokens)
    planned: dict[str, Any] = plan_trl(settings, folder, processes=processes)
    sys.stdout.write(as_toml(settings))
    for name, value in sorted(planned.items()):
        print(f"# trl.{name} = {value!r}")
    command = " ".join(worker_command(folder, processes=processes))
    messages.print(f"processes: {command}", highlight=False, soft_wrap=True)


def _launch(settings: "Recipe", folder: Path, start: "Resumption", *, processes: int) -> None:
    from tersely.flows.recipe.recipe import RECIPE_FILE

    messages.print(f"loading {settings.model.path} and its problems ...", highlight=False)
    use_threads(settings.model.cpu_threads)
    from tersely.flows.trl.launch import launch_trl as run_trl

    carry_out(
        lambda progress: run_trl(
            settings,
            folder,
            processes=processes,
            **start._asdict(),
            observer=progress,
        ),
        again=f"tersely launch trl {folder / RECIPE_FILE} --run {folder} --processes {processes} "
        "--resume",
    )
    show_run(folder)
