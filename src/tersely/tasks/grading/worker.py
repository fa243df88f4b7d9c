"""The process that grades for another: ``python -m tersely.tasks.grading.worker SOCKET MEMORY``.

Requests and replies are JSON, one a line, on the socket whose file number is given. A request is
the name of a module to prepare, or that with a text, a gold answer and the seconds it may take.
"""

import json
import os
import resource
import signal
import socket
import sys
import threading
import time
from importlib import import_module
from typing import Any

# The caller kills at the limit; the kernel does if there is no caller any more.
GRACE_S = 1.0
_PARENT_POLL_S = 0.5


def _die_with(parent: int) -> None:
    """Watches the parent process; a socket would stay open if the parent has forked."""
    while os.getppid() == parent:
        time.sleep(_PARENT_POLL_S)
    os._exit(1)


def _limit(memory_bytes: int) -> None:
    for what, bound in ((resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(what)[1]
        bound = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(what, (bound, hard))


def _reply(request: dict[str, Any]) -> dict[str, Any]:
    module = import_module(request["module"])
    if "text" not in request:
        getattr(module, "prepare", lambda: None)()
        return {}
    # Default action of the alarm: it ends the process even inside one long C call.
    signal.setitimer(signal.ITIMER_REAL, request["limit_s"] + GRACE_S)
    verdict = module.grade(request["text"], request["answer"])
    signal.setitimer(signal.ITIMER_REAL, 0)
    return {"grade": verdict.grade, "extracted": verdict.extracted}


def serve(channel: socket.socket) -> None:
    """Answers requests until the other side is gone; an error of any kind ends the process, so
    that nothing it left behind meets the next answer."""
    with channel.makefile("rb") as requests:
        for line in requests:
            channel.sendall(json.dumps(_reply(json.loads(line))).encode() + b"\n")


def main() -> None:
    number, memory_bytes, parent = map(int, sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    _limit(memory_bytes)
    serve(socket.socket(fileno=number))


if __name__ == "__main__":
    main()
