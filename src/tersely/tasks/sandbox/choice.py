"""Whether bubblewrap isolates on this machine, found out by trying to break it."""

import shutil
import socket
import warnings
from functools import cache
from pathlib import Path

from tersely.core.errors import ConfigError, GradingError, TerselyWarning
from tersely.tasks.sandbox.cell import End, ProgramOutcome, SandboxedProcess
from tersely.tasks.sandbox.commands import Isolation, Limits

LIMITS = Limits()
# Each line that it prints names a promise that does not hold.
_PROBE = """
import os, socket, sys
port, home, limit, *places = eval(input())
for place in places:
    try:
        open(place + "/tersely-probe", "w").close()
        print("files can be written in", place)
    except OSError:
        pass
with open("scratch", "w") as file:
    file.write("x")
try:
    socket.create_connection(("127.0.0.1", port), 1)
    print("the network can be reached")
except OSError:
    pass
if any(os.path.exists(home + "/" + name) for name in (".bashrc", ".profile", ".ssh", ".cache")):
    print("the home folder can be read")
if sum(name.isdigit() for name in os.listdir("/proc")) > limit:
    print("other processes can be seen")
if os.getuid() == 0:
    print("it runs as root")
children = []
while len(children) <= limit:
    try:
        child = os.fork()
    except OSError:
        break
    if child == 0:
        os.read(os.pipe()[0], 1)
    children.append(child)
else:
    print("processes are not limited")
for child in children:
    os.kill(child, 9)
print("ends")
"""
_PROBE_LIMITS = Limits(wall_s=30.0, cpu_s=20, processes=8)

_choice = {"unsandboxed": False}


def allow_unsandboxed(allowed: bool = True) -> None:
    """Whether, in this process, programs may run with no isolation where there is none to have."""
    _choice["unsandboxed"] = allowed


def run(
    source: str, *, isolation: Isolation, stdin: bytes = b"", limits: Limits = LIMITS
) -> ProgramOutcome:
    """Runs a Python program on this input until it ends or is ended at a limit.

    Raises:
        GradingError: the sandbox could not be started.
    """
    with SandboxedProcess(
        source, isolation=isolation, mode="run", limits=limits, stdin=stdin
    ) as cell:
        return cell.finish()


def find() -> Isolation:
    """Bubblewrap where it holds; elsewhere ``NONE``, if ``allow_unsandboxed`` was said.

    Raises:
        ConfigError: bubblewrap does not isolate, and going without was not allowed.
    """
    why = fault()
    if not why:
        return Isolation.BUBBLEWRAP
    if not _choice["unsandboxed"]:
        missing = shutil.which("bwrap") is None
        fix = "install bubblewrap" if missing else "allow user namespaces"
        raise ConfigError(
            f"programs cannot be isolated here (bubblewrap: {why}); {fix}, or pass "
            "--allow-unsandboxed to run them with your own rights"
        )
    _warn_once(
        f"programs run with your own rights: files and network are open to them (bubblewrap: {why})"
    )
    return Isolation.NONE


@cache
def _warn_once(text: str) -> None:
    warnings.warn(text, TerselyWarning, stacklevel=3)


@cache
def fault() -> str:
    """Why bubblewrap cannot be relied on here; empty if it can. Tried once a process."""
    if shutil.which("bwrap") is None:
        return "not installed"
    with socket.create_server(("127.0.0.1", 0)) as server:
        places = ["/", "/usr", "/dev", "/dev/shm", str(Path(__file__).parent), str(Path.home())]
        facts = (server.getsockname()[1], str(Path.home()), _PROBE_LIMITS.processes, *places)
        try:
            outcome = run(
                _PROBE,
                isolation=Isolation.BUBBLEWRAP,
                stdin=repr(facts).encode(),
                limits=_PROBE_LIMITS,
            )
        except GradingError as error:
            return str(error)
    said = outcome.stdout.decode(errors="replace").splitlines()
    if outcome.end is not End.DONE or said[-1:] != ["ends"]:
        return f"a trial program ended with {outcome.end}"
    return ", ".join(said[:-1])
