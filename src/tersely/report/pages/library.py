"""The chart library that stands inside every page: Vega, Vega-Lite and Vega-Embed as one script."""

import subprocess
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import version

from tersely.core.cache import cached, kept

VEGA_LITE = "6.4"
_MAKE = (
    "import sys, vl_convert as vl; sys.stdout.write(vl.javascript_bundle(vl_version=sys.argv[1]))"
)
_begun: list[subprocess.Popen[str]] = []


def begin_library() -> None:
    """Begins to put the library together in a process of its own, unless the user's cache has it.

    It takes two seconds, as long as all else that a report does.
    """
    if _begun or not sys.executable or kept(_name()) is not None:
        return
    with suppress(OSError):
        quiet = subprocess.DEVNULL
        _begun.append(
            subprocess.Popen(
                [sys.executable, "-c", _MAKE, VEGA_LITE],
                stdin=quiet,
                stdout=subprocess.PIPE,
                stderr=quiet,
                encoding="utf-8",
            )
        )


@cache
def library() -> str:
    """The script, as it may stand in an element of a page."""
    return cached(_name(), _make).replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _name() -> str:
    return f"vega-{version('vl-convert-python')}-{VEGA_LITE}.js"


def _make() -> str:
    while _begun:
        process = _begun.pop()
        text, _ = process.communicate()
        if process.returncode == 0:
            return text
    import vl_convert

    return vl_convert.javascript_bundle(vl_version=VEGA_LITE)  # type: ignore[call-arg]
