"""``tersely diagnose``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tersely.cli.frame import output, plain_errors
from tersely.cli.options import pair
from tersely.core.errors import ConfigError

if TYPE_CHECKING:
    from tersely.flows.diagnose import Diagnosis


def diagnose(
    path: Annotated[Path, typer.Argument(help="A run folder, or a file of its steps.")],
    from_: Annotated[
        str,
        typer.Option("--from", help="Who wrote it: tersely, trl (trainer_state.json), verl, csv."),
    ] = "tersely",
    column: Annotated[
        list[str] | None,
        typer.Option(help="OURS=THEIRS, e.g. --column tokens_mean=length. Repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Say what stage a run is in, what is going wrong, and what to change."""
    with plain_errors():
        from tersely.flows.diagnose import diagnose as find
        from tersely.metrics.numbers import plain
        from tersely.readers.steplogs import Writer, read_steps

        if from_ not in list(Writer):
            raise ConfigError(f"--from {from_!r} is none of {', '.join(Writer)}; use one")
        columns = dict(pair(entry, example="tokens_mean=length") for entry in column or ())
        found = find(read_steps(path, writer=Writer(from_), columns=columns))
        if as_json:
            typer.echo(json.dumps(plain(found), indent=2))
        else:
            _show(found, path)


def _show(found: "Diagnosis", path: Path) -> None:
    console = output()

    def say(text: str, style: str = "") -> None:
        console.print(text, style=style, highlight=False, markup=False)

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
