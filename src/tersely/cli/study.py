"""``tersely study``: the paper's comparisons and your own, run and judged."""

import os
import shlex
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from tersely.cli.frame import INTERRUPTED, messages, on_signals, plain_errors, show, use_threads
from tersely.cli.options import flattened
from tersely.cli.sampling import sampling_progress
from tersely.core.errors import ConfigError
from tersely.core.lock import lock_folder
from tersely.flows.study.lab import Lab

if TYPE_CHECKING:
    from tersely.flows.study.plan import NamedStudy, StudyRun
    from tersely.flows.study.work import StudyFolders

LIST, ALL = "list", "all"


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """How many runs of what, where, and which part of the work is done."""

    seeds: Annotated[
        int, typer.Option(min=1, max=10_000, help="Runs of every arm: seeds 1 to this.")
    ] = 5
    jobs: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Runs side by side. Default: one a core.")
    ] = None
    out: Annotated[Path, typer.Option(help="Folder of run folders and reports.")] = Path(
        "runs/studies"
    )
    results: Annotated[
        Path | None,
        typer.Option(help="Folder of finished runs and the pool. Default: results in --out."),
    ] = None
    lab: Annotated[
        Lab | None,
        typer.Option(
            help="What arms start from, the lab's reasoner or its first model. Default: what "
            "--results was made with, else lab-v2."
        ),
    ] = None
    model: Annotated[
        str | None, typer.Option(help="Model folder or hub id. Default: the lab's.")
    ] = None
    problems: Annotated[
        str | None,
        typer.Option(help="Prompts to train on: a file, a set, gym:TASK. Default: the lab's."),
    ] = None
    benchmark: Annotated[
        str | None, typer.Option(help="Held-out problems, named alike. Default: the lab's.")
    ] = None
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Set a key of every arm's base, e.g. learner.steps=60. Repeatable."
        ),
    ] = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show claims and runs, train nothing.")
    ] = False
    judge_only: Annotated[
        bool, typer.Option("--judge-only", help="Judge the runs that are there, train nothing.")
    ] = False
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep run folders (checkpoints, rollouts) as well.")
    ] = False


@flattened
def study(
    name: Annotated[
        str, typer.Argument(help="list, all, a study's name, or a study of your own (TOML).")
    ],
    options: StudyOptions,
) -> None:
    """Run a study's arms side by side and say, claim by claim, whether it holds."""
    with plain_errors():
        if name == LIST:
            _list()
            return
        from tersely.flows.study.checking import check_file, check_studies
        from tersely.flows.study.plan import base_settings, find_studies, shipped_studies, units_of
        from tersely.flows.study.pool import lab_of, of_then
        from tersely.flows.study.results import pack_results

        seeds, out, jobs = options.seeds, options.out, options.jobs or os.cpu_count() or 1
        bench = _bench(out, options.results or out / "results", keep=options.keep)
        lab = options.lab or lab_of(bench.pool)
        studies = find_studies(name, lab)
        own = studies[0].study.base if len(studies) == 1 else {}
        base = of_then(base_settings(_overrides(options), own=own, lab=lab), bench.pool)
        if Path(name).is_file() and name not in shipped_studies():
            check_file(Path(name))
        check_studies(base, studies)
        units = units_of(base, studies, seeds=seeds)
        _check_trl(studies)
        if options.dry_run:
            _describe(studies, units, bench, base=base)
            return
        trained = True
        if not options.judge_only:
            with lock_folder(out):
                trained = _run(base, studies, units, bench, out=out, jobs=jobs)
                pack_results(bench.results)
        _judge(base, studies, bench, name=Path(name).stem, seeds=seeds, out=out)
    if not trained:
        raise typer.Exit(1)


def _overrides(options: StudyOptions) -> list[tuple[str, Any]]:
    """What is set by hand, by dotted key."""
    from tersely.flows.recipe.recipe import read_value

    given = {
        "model.path": options.model,
        "problems.train": options.problems,
        "problems.test": options.benchmark,
    }
    overrides = [(key, value) for key, value in given.items() if value is not None]
    return overrides + [read_value(entry) for entry in options.set_ or []]


def _check_trl(studies: "Sequence[NamedStudy]") -> None:
    """Refuses settings of arms that the trainers of TRL do not know, before anything is trained;
    without TRL there is nothing to hold them against."""
    from tersely.core.extras import first_absent

    if first_absent("trl"):
        return
    for _, study in studies:
        for name, arm in study.arms.items():
            if arm.method is not None and arm.set.get("trl"):
                from tersely.flows.trl.offline import OfflineTrainer, check_trained

                trainer = OfflineTrainer(arm.method.name)
                check_trained(trainer, arm.set["trl"], where=f"arms.{name}.set.trl")


def _list() -> None:
    from tersely.flows.study.plan import find_studies
    from tersely.report.tables.study import draw_list

    rows = [(n, s.title, s.paper, len(s.arms), len(s.claims)) for n, s in find_studies(ALL)]
    keys = ("name", "title", "paper", "arms", "claims")
    facts = [dict(zip(keys, row, strict=True)) for row in rows]
    show(draw_list(rows), {"kind": "studies", "studies": facts})


def _bench(out: Path, results: Path, *, keep: bool) -> "StudyFolders":
    from tersely.flows.study.pool import StudyPool
    from tersely.flows.study.work import StudyFolders

    return StudyFolders(
        pool=StudyPool(results / "pool"),
        records=out / "work" / "base",
        results=results,
        runs=out / "work",
        keep=keep,
    )


def _describe(
    studies: "list[NamedStudy]",
    units: "list[StudyRun]",
    bench: "StudyFolders",
    *,
    base: dict[str, Any],
) -> None:
    from tersely.flows.study.judged import expectation
    from tersely.flows.study.plan import lengths_of
    from tersely.flows.study.schedule import missing
    from tersely.report.tables.study import draw_claims

    left = len(missing(units, bench))
    planned = []
    for name, each in studies:
        arms = {arm: settings.says for arm, settings in each.arms.items()}
        claims = [(c.says, expectation(c), c.paper) for c in each.claims]
        lines = [
            f"{name}: {each.question} ({each.paper})",
            *(f"  {a}: {s}" for a, s in arms.items()),
        ]
        show(Text("\n".join(lines)), {})
        show(draw_claims(claims), {})
        keys = ("says", "expected", "paper")
        listed = [dict(zip(keys, claim, strict=True)) for claim in claims]
        planned.append({"name": name, "question": each.question, "arms": arms, "claims": listed})
    show("", {"kind": "study plan", "studies": planned, "runs": len(units), "runs_left": left})
    lengths = ", ".join(f"{name} {tokens:.0f}" for name, tokens in lengths_of(base).items())
    messages.print(
        f"arms start from {base['model']['path']}: {lengths} tokens, {base['learner']['steps']} "
        f"steps, prompts of {base['problems']['train']}, held out {base['problems']['test']}"
    )
    messages.print(f"{len(units)} runs, {left} of them to be trained")


def _run(
    base: dict[str, Any],
    studies: "list[NamedStudy]",
    units: "list[StudyRun]",
    bench: "StudyFolders",
    *,
    out: Path,
    jobs: int,
) -> bool:
    """Trains what is missing; whether all of it could be trained."""
    from tersely.flows.study.checking import check_sources
    from tersely.flows.study.progress import StudyProgress
    from tersely.flows.study.schedule import missing, run_units

    if not missing(units, bench):
        return True
    _prepare(base, units, bench, out=out)
    check_sources(studies, bench.pool.held_out())
    progress = StudyProgress(messages, total=len(missing(units, bench)), jobs=jobs)
    with (
        progress.display.bars,
        on_signals(progress.display.ask_to_stop, signal.SIGINT, signal.SIGTERM),
    ):
        failed = run_units(units, bench, jobs=jobs, observer=progress)
    for unit, why in failed:
        messages.print(f"{unit.name} could not be trained: {why}")
    left = len(missing(units, bench))
    if progress.wants_stop():
        again = f"tersely {shlex.join(sys.argv[1:])}"
        messages.print(
            f"stopped; {left} runs are left, and those under way go on where they were: {again}",
            soft_wrap=True,
        )
        raise typer.Exit(INTERRUPTED)
    if not left and not bench.keep:
        shutil.rmtree(bench.stages, ignore_errors=True)
    return not failed


def _prepare(
    base: dict[str, Any], units: "list[StudyRun]", bench: "StudyFolders", *, out: Path
) -> None:
    from tersely.flows.study.pool import add_bands, make_pool, unpack_records

    messages.print("base model, pool and held-out problems ...")
    use_threads(base["model"].get("cpu_threads"))
    with sampling_progress(None) as progress:
        make_pool(base, bench.pool.folder, out / "work" / "pool", observer=progress)
    samples = unpack_records(bench.pool, out / "work")
    add_bands(base, bench.pool, {unit.pool for unit in units}, samples)


def _judge(
    base: dict[str, Any],
    studies: "list[NamedStudy]",
    bench: "StudyFolders",
    *,
    name: str,
    seeds: int,
    out: Path,
) -> None:
    from tersely.flows.study.judged import count_predictions, gather, sum_up
    from tersely.report.pages.study import write_study
    from tersely.report.tables.study import draw_outcome, export_study

    messages.print("judging ...")
    evidence = gather(base, studies, bench, seeds=seeds)
    if not evidence.results:
        raise ConfigError(
            f"{bench.results} holds no finished run of these studies with these "
            "settings to judge; one that was begun before 2026-11-30 may need --lab lab-v1"
        )
    outcomes = [sum_up(evidence, each) for each in studies]
    predictions = count_predictions(evidence)
    drawn = Group(*(draw_outcome(outcome) for outcome in outcomes))
    show(drawn, {"kind": "study", **export_study(outcomes, predictions)})
    messages.print("drawing the report ...")
    page = write_study(outcomes, predictions, out, name=name)
    show(f"report: {page}", {"page": page})
