"""``tersely merge``."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from tersely.cli.frame import messages, plain_errors, show
from tersely.core.errors import ConfigError, shortened
from tersely.core.lock import lock_folder


def merge(
    first: Annotated[str, typer.Argument(metavar="A", help="Model folder, or 'lab'.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Model folder of the same model.")],
    out: Annotated[Path, typer.Option(help="Folder to write weight-W in, for each weight.")],
    weight: Annotated[
        str, typer.Option(help="Of B, 0 to 1: 0 is A and 1 is B. Several: 0.25,0.5,0.75.")
    ] = "0.5",
) -> None:
    """Mean of two checkpoints' weights, such as a verbose and a terse one: A + weight (B - A)."""
    with plain_errors():
        weights = _weights(weight)
        from tersely.flows import merge as merging

        messages.print(f"merging {first} and {second} ...")
        with lock_folder(out):
            folders = merging.merge(first, second, weights, out)
        show("\n".join(str(folder) for folder in folders), {"kind": "merge", "folders": folders})
        messages.print(
            f"next: tersely eval --model {shlex.quote(str(folders[0]))} --benchmark ... --out ...",
            soft_wrap=True,
        )


def _weights(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(
            f"--weight {shortened(text)!r} is no list of numbers; write --weight 0.25,0.5"
        ) from None
