"""``tersely diagnose``."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.text import Text

from tersely.cli.frame import check_written, messages, output, plain_errors, show
from tersely.cli.options import pair
from tersely.core.errors import ConfigError, DataError, no_such
from tersely.report.tables.terminal import draw_text

if TYPE_CHECKING:
    from tersely.dynamics.alarms import Alarm
    from tersely.dynamics.log import StepLog
    from tersely.flows.diagnose import Diagnosis


class FailOn(StrEnum):
    """The least of the alarms for which the command ends with 1."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """What log it is, and how its columns are called."""

    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Who wrote it, if the file does not tell: tersely, trl (its state, console or "
            "ms-swift), verl, openrlhf, nemo_rl, prime_rl, slime, skyrl, areal, roll, "
            "open_instruct, wandb, tensorboard, trackio, mlflow, json, csv.",
        ),
    ] = None
    column: Annotated[
        list[str] | None,
        typer.Option(help="OURS=THEIRS, e.g. --column tokens_mean=length. Repeatable."),
    ] = None
    run: Annotated[str | None, typer.Option(help="Which run, where the log holds several.")] = None
    staleness: Annotated[
        float | None,
        typer.Option(help="Updates a batch of rollouts (S), at least 1, where the log tells none."),
    ] = None


def diagnose(
    path: Annotated[
        Path, typer.Argument(help="A run folder, a file of its steps, or a tracker's folder.")
    ],
    options: LogOptions,
    fail_on: Annotated[
        FailOn | None,
        typer.Option("--fail-on", help="Exit with 1 at an alarm of this severity or a higher one."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a page with the curves, stages and alarms to it.")
    ] = None,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Follow a log that grows: print each new alarm until Ctrl-C."),
    ] = False,
    refresh_s: Annotated[
        float, typer.Option("--refresh-s", help="Seconds between looks of --watch, at least 1.")
    ] = 15.0,
) -> None:
    """Say what stage a run is in, what is going wrong, and what to change."""
    with plain_errors():
        check_written(html=html)
        if not 1 <= refresh_s < inf:
            raise ConfigError(f"--refresh-s {refresh_s:g} is below 1 or endless; give seconds")
        read = _reader(path, options)
        if watch:
            _follow(path, read, html=html, fail_on=fail_on, refresh_s=refresh_s)
            return
        log = read()
        found = _look(log, path, html=html)
        show(_draw(found, path), {"kind": "diagnosis", **found._asdict(), "page": html})
    if _fails(found.alarms, fail_on):
        raise typer.Exit(1)


def _reader(path: Path, options: LogOptions) -> "Callable[[], StepLog]":
    """Reads the log as it is now.

    Raises:
        ConfigError: an option is wrong.
    """
    from tersely.readers.lognames import check_columns
    from tersely.readers.steplogs import Writer, read_steps

    if options.from_ is not None and options.from_ not in list(Writer):
        raise ConfigError(no_such("reader of step logs", options.from_, Writer))
    given, writer = options.staleness, Writer(options.from_) if options.from_ else None
    if given is not None and not 1 <= given < inf:
        raise ConfigError(f"--staleness {given:g} must be at least 1, the S of on-policy training")
    columns: dict[str, str] = {}
    for entry in options.column or ():
        ours, theirs = pair(entry, example="tokens_mean=length")
        if columns.setdefault(ours, theirs) != theirs:
            raise ConfigError(
                f"--column {ours} is given twice, as {columns[ours]!r} and {theirs!r}; give one"
            )
    check_columns(columns)

    def read() -> "StepLog":
        log = read_steps(path, writer=writer, columns=columns, run=options.run)
        return log if given is None else log._replace(staleness=given)

    return read


def _look(
    log: "StepLog", path: Path, *, html: Path | None, before: "Diagnosis | None" = None
) -> "Diagnosis":
    """The diagnosis of the log, also as a page; ``before`` is that of the last look at it."""
    from tersely.flows.diagnose import diagnose as find

    found = find(log, before=before)
    if html is not None:
        from tersely.core.storage import write_atomically
        from tersely.report.pages.diagnosis import draw_diagnosis

        html.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(html, draw_diagnosis(log, found, name=path.resolve().name))
        messages.print(f"page: {html}", soft_wrap=True)
    return found


def _fails(alarms: "list[Alarm]", fail_on: FailOn | None) -> bool:
    if fail_on is None:
        return False
    return any(fail_on is FailOn.WARNING or a.severity.value == FailOn.ERROR for a in alarms)


def _follow(
    path: Path,
    read: "Callable[[], StepLog]",
    *,
    html: Path | None,
    fail_on: FailOn | None,
    refresh_s: float,
) -> None:
    """Prints each alarm once as the log grows, until Ctrl-C or an alarm that ends it.

    Raises:
        Exit: with 1, at an alarm of ``fail_on``.
    """
    found: Diagnosis | None = None
    messages.print(f"watching {path}, every {refresh_s:g} s  (Ctrl-C ends it)", soft_wrap=True)
    try:
        if not _has_begun(path):
            messages.print(f"there is no log at {path} yet: waiting for it", soft_wrap=True)
        while not _has_begun(path):
            time.sleep(refresh_s)
        while True:
            before, found = found, _look_again(path, read, html=html, before=found)
            if _fails(_news(found, before), fail_on):
                raise typer.Exit(1)
            time.sleep(refresh_s)
    except KeyboardInterrupt:
        messages.print("stopped")


def _has_begun(path: Path) -> bool:
    """Whether there is a log; a run folder of ours is made before its first step."""
    return path.exists() and not (
        (path / "manifest.json").is_file() and not (path / "steps.jsonl").is_file()
    )


def _look_again(
    path: Path,
    read: "Callable[[], StepLog]",
    *,
    html: Path | None,
    before: "Diagnosis | None",
) -> "Diagnosis | None":
    """The diagnosis of the log as it is now, with what is new printed; ``before`` where it did not
    grow or cannot be read."""
    try:
        log = read()
    except DataError as error:
        # A tracker may be writing this very moment.
        messages.print(f"not read this time: {error}", soft_wrap=True)
        return before
    if not log.step_N.size or (before is not None and log.step_N[-1] == before.last_step):
        return before
    found = _look(log, path, html=html, before=before)
    messages.print(f"step {found.last_step}: {found.stage}", soft_wrap=True)
    if new := _news(found, before):
        output().print(Group(*_draw_alarms(new)))
    return found


def _news(found: "Diagnosis | None", before: "Diagnosis | None") -> "list[Alarm]":
    """The alarms that the diagnosis before has not."""
    known = {alarm.name for alarm in before.alarms} if before else set()
    return [alarm for alarm in found.alarms if alarm.name not in known] if found else []


def _draw(found: "Diagnosis", path: Path) -> Group:
    lines = [
        draw_text(f"{path}: {found.steps:,} records, the last of step {found.last_step}", "bold"),
        draw_text(found.stage, ""),
        *(draw_text(f"• {effect}", "") for effect in found.effects),
    ]
    if not found.alarms:
        lines.append(draw_text(found.no_alarm, "green"))
    lines += _draw_alarms(found.alarms)
    lines += [draw_text(f"Note: {unknown}", "dim") for unknown in found.unknown]
    return Group(*lines)


def _draw_alarms(alarms: "list[Alarm]") -> list[Text]:
    lines: list[Text] = []
    for alarm in alarms:
        style = "bold red" if alarm.severity.value == "error" else "bold yellow"
        head = f"{alarm.severity.value}: {alarm.name}, first seen at step {alarm.step}"
        lines += [draw_text("", ""), draw_text(head, style)]
        for word, text in (("Seen", alarm.evidence), ("Why", alarm.reason)):
            lines.append(draw_text(f"  {word}: {text}.", ""))
        lines.append(draw_text(f"  Change: {alarm.advice}.", ""))
    return lines
