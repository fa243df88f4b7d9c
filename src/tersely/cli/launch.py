"""``tersely launch``: a recipe on an engine of many processes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tersely.cli.frame import messages, plain_errors, show, use_threads
from tersely.cli.launched import carry_out
from tersely.cli.options import LaunchFolder, MeanTokens, Resume, ResumeFrom
from tersely.cli.report import show_run
from tersely.core.extras import first_absent, refuse_absent, say_missing

if TYPE_CHECKING:
    from tersely.flows.recipe.recipe import Recipe
    from tersely.flows.train.folder import Resumption

NEEDED = ("trl", "torch", "transformers", "accelerate")
# A launched run is evaluated before its first step and after its last.
ENDS = 2


def launch_trl(
    recipe: Annotated[
        Path,
        typer.Argument(
            help="Recipe (TOML), or a shipped one's name; [trl] holds GRPOConfig's own."
        ),
    ],
    processes: Annotated[
        int, typer.Option(min=1, max=10_000, help="Processes on this machine: one for each GPU.")
    ] = 1,
    out: LaunchFolder = None,
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
        folder = out or Path("runs") / file.stem
        if dry_run:
            _show(settings, folder, processes=processes, mean_tokens=mean_tokens)
            return
        start = Resumption(resume, resume_from, keys_of(set_ or []))
        _launch(settings, folder, start, processes=processes)


def _show(settings: "Recipe", folder: Path, *, processes: int, mean_tokens: int | None) -> None:
    from tersely.cli.price import show_price
    from tersely.flows.trl.settings import setup_of, template_settings, unchecked_settings

    # A price is of use before anything is installed.
    setup = setup_of(settings, processes=processes)
    absent = first_absent(*NEEDED)
    planned: dict[str, Any]
    if absent is None:
        from tersely.flows.trl.launch import plan_trl, worker_command

        planned = plan_trl(settings, folder, processes=processes, dry=True)
        note = f"processes: {' '.join(worker_command(folder, processes=processes))}"
    else:
        planned = unchecked_settings(settings, folder, processes=processes)
        needed = say_missing(absent, what="the run itself", extra="trl")
        note = f"note: TRL has not checked these settings; {needed}"
    show_price(
        settings,
        setup,
        evaluations=ENDS,
        mean_tokens=mean_tokens,
        template=template_settings(settings),
    )
    lines = (f"# trl.{name} = {value!r}" for name, value in sorted(planned.items()))
    named = {name: str(value) for name, value in planned.items()}
    show("\n".join(lines), {"trl": named, "engine_installed": absent is None})
    messages.print(note, soft_wrap=absent is None)


def _launch(settings: "Recipe", folder: Path, start: "Resumption", *, processes: int) -> None:
    from tersely.flows.recipe.recipe import RECIPE_FILE

    refuse_absent(*NEEDED, what="tersely launch trl", extra="trl")
    messages.print(f"loading {settings.model.path} and its problems ...")
    use_threads(settings.model.cpu_threads)
    from tersely.flows.trl.launch import launch_trl as run_trl

    carry_out(
        lambda observer: run_trl(
            settings,
            folder,
            processes=processes,
            **start._asdict(),
            observer=observer,
        ),
        folder=folder,
        report=lambda: show_run(folder),
        again=f"tersely launch trl {folder / RECIPE_FILE} --out {folder} --processes {processes} "
        "--resume",
    )
