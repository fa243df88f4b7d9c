"""Running untrusted programs: no network, one scratch folder, and resource limits.

``find`` says what can isolate on this machine, ``run`` runs a program between standard input and
output, and a ``SandboxedProcess`` holds a conversation with code.
"""

from tersely.tasks.sandbox.cell import End, ProgramOutcome, SandboxedProcess, Stopped
from tersely.tasks.sandbox.choice import allow_unsandboxed, find, run
from tersely.tasks.sandbox.commands import Isolation, Limits

__all__ = [
    "End",
    "Isolation",
    "Limits",
    "ProgramOutcome",
    "SandboxedProcess",
    "Stopped",
    "allow_unsandboxed",
    "find",
    "run",
]
