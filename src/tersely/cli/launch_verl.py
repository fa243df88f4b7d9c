"""``tersely launch verl``: a recipe on verl and Ray."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tersely.cli.frame import messages, plain_errors, show
from tersely.cli.launched import carry_out
from tersely.cli.options import LaunchFolder, MeanTokens, Resume, ResumeFrom
from tersely.cli.report import show_run
from tersely.core.extras import first_absent, refuse_absent, say_missing

if TYPE_CHECKING:
    from tersely.flows.recipe.recipe import Recipe
    from tersely.flows.train.folder import Resumption


NEEDED = ("verl", "ray", "torch", "transformers", "hydra", "omegaconf")


StallSeconds = Annotated[
    float,
    typer.Option(
        min=1,
        help="Seconds without a new rollout, record or checkpoint, after which verl counts as hung "
        "and is ended.",
    ),
]


def launch_verl(
    recipe: Annotated[
        Path,
        typer.Argument(
            help="Recipe (TOML), or a shipped one's name; [verl] holds verl's own keys."
        ),
    ],
    nodes: Annotated[int, typer.Option(min=1, max=10_000, help="Machines of the Ray cluster.")] = 1,
    gpus_per_node: Annotated[int, typer.Option(min=1, max=1_000, help="GPUs of each machine.")] = 8,
    out: LaunchFolder = None,
    resume: Resume = False,
    resume_from: ResumeFrom = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Override a setting, e.g. --set verl.model_engine=megatron. Repeatable."
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check all, print verl's settings and the price, and stop."),
    ] = False,
    mean_tokens: MeanTokens = None,
    stall_s: StallSeconds = 7200,
) -> None:
    """Train with verl on Ray: our grader, rewards, masks and records, its sharding and sampling."""
    from tersely.flows.recipe.recipe import find_recipe, keys_of, read_recipe
    from tersely.flows.train.folder import Resumption

    with plain_errors():
        file = find_recipe(recipe)
        settings = read_recipe(file, overrides=set_ or [])
        folder = out or Path("runs") / file.stem
        if dry_run:
            lines = _plan(settings, folder, nodes=nodes, gpus_per_node=gpus_per_node)
            _price(settings, gpus=nodes * gpus_per_node, mean_tokens=mean_tokens)
            _show(lines)
            return
        start = Resumption(resume, resume_from, keys_of(set_ or []))
        _launch(settings, folder, start, nodes=nodes, gpus_per_node=gpus_per_node, stall_s=stall_s)


def _price(settings: "Recipe", *, gpus: int, mean_tokens: int | None) -> None:
    from tersely.cli.price import show_price
    from tersely.flows.verl.settings import setup_of, validates
    from tersely.flows.verl.template import template_settings

    show_price(
        settings,
        setup_of(settings, gpus=gpus),
        evaluations=0,
        mean_tokens=mean_tokens,
        # verl evaluates with the training's cap.
        test_cap_tokens=settings.sampling.cap_tokens,
        template=template_settings(settings),
    )
    messages.print(
        "evaluations: verl's validations, on all GPUs, not priced"
        if validates(settings)
        else "evaluations: none, for evaluation.budgets reach beyond sampling.cap_tokens; use "
        "tersely eval on checkpoints",
    )


def _plan(
    settings: "Recipe", folder: Path, *, nodes: int, gpus_per_node: int
) -> "list[str] | None":
    """verl's overrides; None where it is not installed to check them."""
    if first_absent(*NEEDED) is None:
        from tersely.flows.verl.launch import plan_verl

        return plan_verl(settings, folder, nodes=nodes, gpus_per_node=gpus_per_node)
    from tersely.flows.verl.settings import check_supported

    check_supported(settings, gpus=nodes * gpus_per_node)
    return None


def _show(lines: "list[str] | None") -> None:
    drawn = "\n".join(f"# verl: {line}" for line in lines or ())
    show(drawn, {"verl": lines, "engine_installed": lines is not None})
    needed = say_missing(first_absent(*NEEDED) or "verl", what="the run itself", extra="verl")
    if lines is None:
        messages.print(f"note: verl has neither composed nor checked its configuration; {needed}")
        return
    from tersely.flows.verl.process import MAIN

    messages.print(f"starts: python -m {MAIN} with the lines above")


def _launch(
    settings: "Recipe",
    folder: Path,
    start: "Resumption",
    *,
    nodes: int,
    gpus_per_node: int,
    stall_s: float,
) -> None:
    from tersely.flows.recipe.recipe import RECIPE_FILE

    refuse_absent(*NEEDED, what="tersely launch verl", extra="verl")
    messages.print(f"loading {settings.model.path} and its problems ...")
    from tersely.flows.verl.launch import launch_verl as run_verl

    carry_out(
        lambda observer: run_verl(
            settings,
            folder,
            nodes=nodes,
            gpus_per_node=gpus_per_node,
            **start._asdict(),
            stall_s=stall_s,
            observer=observer,
        ),
        folder=folder,
        report=lambda: _report(settings, folder),
        again=f"tersely launch verl {folder / RECIPE_FILE} --out {folder} --nodes {nodes} "
        f"--gpus-per-node {gpus_per_node} --resume",
    )


def _report(settings: "Recipe", folder: Path) -> None:
    from tersely.flows.verl.settings import validates

    if validates(settings):
        show_run(folder)
        return
    messages.print(
        f"evaluation.budgets reach beyond sampling.cap_tokens, where verl does not sample: "
        f"merge the checkpoint (python -m verl.model_merger) and run tersely eval on it; "
        f"records: {folder}",
        soft_wrap=True,
    )
