"""What runs inside a sandbox: limits itself, then runs a program, serves calls to it, or checks it.

A script for a bare interpreter: ``python child.py MODE SOURCE READY USER FUNCTION LIMIT...``.
SOURCE and READY are open files (the code; told when the code starts), USER is the user number to
become or empty, FUNCTION a name or empty, and each LIMIT reads ``RLIMIT_CPU=6``. It imports as
little as it can: importing takes longer than all that the sandbox does.
"""

import os
import resource
import sys
from types import ModuleType

RECURSION_LIMIT = 50_000
PACKAGES = "/packages"
# The names that LiveCodeBench gives to every program, in the order in which one hides another.
# Source: LiveCodeBench, lcb_runner/evaluation/testing_util.py.
PRELUDE = (
    *("string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random"),
    *(
        "statistics",
        "itertools",
        "functools",
        "operator",
        "io",
        "sys",
        "json",
        "builtins",
        "typing",
    ),
)


def free_names(source: str) -> set[str]:
    """The names that the code reads as globals and binds nowhere, builtins left out."""
    import builtins
    import symtable

    read, bound = set(), set(dir(builtins))
    tables = [symtable.symtable(source, "program.py", "exec")]
    top = tables[0]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        for symbol in table.get_symbols():
            if table is top or symbol.is_global():
                name = symbol.get_name()
                if symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace():
                    bound.add(name)
                elif symbol.is_referenced():
                    read.add(name)
    return read - bound


def _prelude(names: set[str]) -> dict[str, object]:
    """What the prelude binds these names to; nothing is imported for a program that needs none."""
    found: dict[str, object] = {}
    for name in PRELUDE if names else ():
        module = __import__(name)
        public = getattr(module, "__all__", None) or [n for n in dir(module) if n[0] != "_"]
        found |= {wanted: getattr(module, wanted) for wanted in names.intersection(public)}
    return found | {name: __import__(name) for name in names.intersection(PRELUDE)}


def execute(source: str, *, name: str) -> ModuleType:
    """Runs the program as a module of that name."""
    code = compile(source, "program.py", "exec")
    module = sys.modules[name] = ModuleType(name)
    module.__dict__.update(_prelude(free_names(source)))
    sys.setrecursionlimit(RECURSION_LIMIT)
    exec(code, module.__dict__)
    return module


def run(source: str) -> int:
    """The program between standard input and output; whatever code it exits with is no failure."""
    try:  # noqa: SIM105 - contextlib takes longer to import than a sandbox to start
        execute(source, name="__main__")
    except SystemExit:
        pass
    sys.stdout.flush()
    return 0


def limit(limits: list[str]) -> None:
    """Sets this process's limits; none is raised. Processor time has a second more after the signal
    that tells of its end, so that this end can be told from others."""
    for line in limits:
        name, _, wanted = line.partition("=")
        what = getattr(resource, name)
        hard = resource.getrlimit(what)[1]
        hard = sys.maxsize if hard == resource.RLIM_INFINITY else hard
        bound = min(int(wanted), hard)
        resource.setrlimit(what, (bound, min(bound + (name == "RLIMIT_CPU"), hard)))


def become(user: int) -> None:
    """Gives up root and becomes a user id that no account has."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def _set_exit() -> None:
    """``exit`` and ``quit``, which ``python -S`` leaves out."""
    import _sitebuiltins
    import builtins

    for name in ("exit", "quit"):
        setattr(builtins, name, _sitebuiltins.Quitter(name, "end of file"))


def main(arguments: list[str]) -> int:
    mode, source_file, ready, user, function, *limits = arguments
    with open(int(source_file), encoding="utf-8") as file:
        source = file.read()
    sys.path.append(PACKAGES)
    _set_exit()
    if mode != "run":
        sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
        messages = __import__("messages")
        del sys.path[0]
    if user:
        become(int(user))
    limit(limits)
    os.write(int(ready), b"ready\n")
    os.close(int(ready))
    if mode == "run":
        return run(source)
    if mode == "serve":
        return int(messages.serve(source, execute))
    return int(messages.check(source, free_names(source), function=function))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
