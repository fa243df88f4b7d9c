"""``tersely diagnose``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.text import Text

from tersely.cli.frame import plain_errors, show
from tersely.cli.options import pair
from tersely.core.errors import ConfigError, no_such
from tersely.report.tables.terminal import draw_text

if TYPE_CHECKING:
    from tersely.flows.diagnose import Diagnosis


def diagnose(
    path: Annotated[Path, typer.Argument(help="A run folder, or a file of its steps.")],
    from_: Annotated[
        str,
        typer.Option(
            "--from", help="Who wrote it: tersely, trl (its state, console or ms-swift), verl, csv."
        ),
    ] = "tersely",
    column: Annotated[
        list[str] | None,
        typer.Option(help="OURS=THEIRS, e.g. --column tokens_mean=length. Repeatable."),
    ] = None,
) -> None:
    """Say what stage a run is in, what is going wrong, and what to change."""
    with plain_errors():
        from tersely.flows.diagnose import diagnose as find
        from tersely.readers.steplogs import Writer, read_steps

        if from_ not in list(Writer):
            raise ConfigError(no_such("reader of step logs", from_, Writer))
        columns = dict(pair(entry, example="tokens_mean=length") for entry in column or ())
        found = find(read_steps(path, writer=Writer(from_), columns=columns))
        show(_draw(found, path), {"kind": "diagnosis", **found._asdict()})


def _draw(found: "Diagnosis", path: Path) -> Group:
    lines: list[Text] = []

    def say(text: str, style: str = "") -> None:
        lines.append(draw_text(text, style))

    say(f"{path}: {found.steps:,} steps, the last is {found.last_step}", "bold")
    say(found.stage)
    for effect in found.effects:
        say(f"• {effect}")
    if not found.alarms:
        say("No alarm.", "green")
    for alarm in found.alarms:
        say("")
        say(
            f"{alarm.severity.value}: {alarm.name}, first seen at step {alarm.step}",
            "bold red" if alarm.severity.value == "error" else "bold yellow",
        )
        say(f"  Seen: {alarm.evidence}.")
        say(f"  Why: {alarm.reason}.")
        say(f"  Change: {alarm.advice}.")
    for unknown in found.unknown:
        say(f"Note: {unknown}", "dim")
    return Group(*lines)
