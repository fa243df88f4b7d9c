"""``tersely watch``."""

from math import inf
from pathlib import Path
from typing import Annotated

import typer

from tersely.cli.frame import messages, plain_errors
from tersely.core.errors import ConfigError
from tersely.core.manifest import RunManifest, read_manifest


def watch(
    run: Annotated[
        Path,
        typer.Argument(
            help="A run folder, or another tool's log; the run may still be in progress."
        ),
    ],
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port on this machine; 0 takes a free one.")
    ] = 8765,
    refresh_s: Annotated[
        float, typer.Option("--refresh-s", help="Seconds between refreshes of the page.")
    ] = 15.0,
) -> None:
    """Serve a run's report, or the diagnosis of a log, on this machine; the page refreshes."""
    with plain_errors():
        from tersely.readers.steplogs import Writer, read_steps, recognise

        if run.is_dir() and recognise(run) is Writer.TERSELY:
            read_manifest(run, RunManifest)
        else:
            read_steps(run, columns={})
        if not 1 <= refresh_s < inf:
            raise ConfigError(f"--refresh-s {refresh_s:g} is below 1 or endless; give seconds")
        from tersely.report.pages.serve import make_server

        with make_server(run, port=port, refresh_s=refresh_s) as server:
            host, taken = server.server_address[:2]
            messages.print(f"http://{host!s}:{taken}/  (Ctrl-C ends it)")
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                messages.print("stopped")
