"""``tersely benchmarks``."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tersely.cli.frame import check_written, messages, plain_errors, show
from tersely.core.errors import ConfigError

if TYPE_CHECKING:
    from tersely.core.types import Problem


def benchmarks(
    name: Annotated[
        str | None,
        typer.Argument(help="A set by name, or gym:TASK?size=200&seed=0. None: list the sets."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="JSONL file to write its problems to; downloads them if needed."),
    ] = None,
    leave_out: Annotated[
        bool,
        typer.Option(
            "--leave-out",
            help="Leave out, and list, problems whose grader does not accept their gold answer.",
        ),
    ] = False,
) -> None:
    """List the benchmarks and training sets, or write one to a file."""
    with plain_errors():
        if name is None:
            if out is not None:
                raise ConfigError(f"--out {out} needs the name of a set to write")
            _list()
            return
        check_written(out=out)
        _write(name, out, leave_out=leave_out)


def _list() -> None:
    from tersely.report.tables.documents import describe_benchmark
    from tersely.report.tables.terminal import FittedRecords
    from tersely.tasks.benchmarks import ALL

    heads = ("name", "problems", "grader", "licence", "dataset", "pinned")
    rows = [
        (
            record.name,
            " or ".join(f"{n:,}" for n in record.rows) or "–",
            record.grader,
            record.licence,
            record.dataset + (" (gated)" if record.gated else ""),
            record.revision[:10] if record.revision else "–",
        )
        for record in ALL.values()
    ]
    sets = [describe_benchmark(record) for record in ALL.values()]
    show(FittedRecords(heads, rows), {"kind": "benchmarks", "sets": sets})


def _write(name: str, file: Path | None, *, leave_out: bool) -> None:
    # Elsewhere nothing is loaded from a hub; this command is there to do so, once.
    if file is not None:
        os.environ["HF_HUB_OFFLINE"] = "0"
    from tersely.core import jsonl
    from tersely.tasks import grading

    problems = _load(name)
    messages.print(f"checking {len(problems):,} gold answers ...")
    if leave_out:
        problems = _without_bad_gold(problems)
    else:
        grading.refuse_bad_gold(problems)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        jsonl.write(file, problems)
    show(
        f"{len(problems):,} problems{'; --out FILE keeps them' if file is None else f': {file}'}",
        {"kind": "problems", "name": name, "problems": len(problems), "file": file},
    )


def _load(name: str) -> "list[Problem]":
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from tersely.tasks.sources import load

    messages.print(f"loading {name} ...")
    columns = (TextColumn("drawing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=messages, transient=True) as progress:
        bar = progress.add_task("", total=None, visible=False)
        return load(
            name,
            on_drawn=lambda done, total: progress.update(
                bar, completed=done, total=total, visible=True
            ),
        )


def _without_bad_gold(problems: "list[Problem]") -> "list[Problem]":
    from tersely.tasks import grading

    bad = {problem.id: reason for problem, reason in grading.check_gold(problems)}
    for problem in problems:
        if problem.id in bad:
            messages.print(
                f"left out {problem.id}: {problem.answer[:60]!r} ({bad[problem.id]})",
                soft_wrap=True,
            )
    if bad:
        messages.print(f"left out {len(bad):,} of {len(problems):,} problems")
    return [problem for problem in problems if problem.id not in bad]
