"""What an engine must be for us to call or replace its private functions, and the check of it.

A number says little: a release may keep all that we use, and a patch may break it. So at every
start each private function, a *seam*, is held to its form. Where a version was never tested, the
engine also has to take two rows from end to end, in a process of its own: its probe.
"""

import os
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from functools import reduce
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from inspect import Parameter, signature
from itertools import zip_longest
from typing import NamedTuple

from packaging.specifiers import SpecifierSet

from tersely.core import extras
from tersely.core.errors import ConfigError, TerselyWarning

PROBE_S, SAID_CHARS = 600, 300
# The versions whose probe passed, told to the processes that this one starts; in a probe, that it
# is one, lest it start another.
PASSED, PROBING = "TERSELY_PROBED", "a probe"
# A launcher's own words to its processes: a probe is a single process of its own.
_OF_A_GROUP = ("RANK", "LOCAL_", "WORLD_SIZE", "MASTER_", "GROUP_", "ROLE_", "TORCHELASTIC_")


class Seam(NamedTuple):
    """A private function of an engine.

    Args:
        module: where it is.
        name: its own, dotted if it is a class's.
        takes: its first parameters in order, given by position; None where the name is no matter.
        named: parameters that are given by name.
    """

    module: str
    name: str
    takes: tuple[str | None, ...]
    named: tuple[str, ...] = ()


class ForeignEngine(NamedTuple):
    """An engine that drives us.

    Args:
        extra: of ours, which installs it.
        tested: by package, the least version tested and the first one that is not.
        seams: its private functions that we use.
        probe: the module that has it take two rows; it ends with exit code 0, or with what it
            found as the last line of stderr.
    """

    extra: str
    tested: Mapping[str, tuple[str, str]]
    seams: tuple[Seam, ...]
    probe: str


def check_engine(engine: ForeignEngine) -> None:
    """Refuses an engine that is not what we need; warns of versions that were never tested.

    Raises:
        ConfigError: a package is not there, a seam has another form, or the probe failed.
    """
    found = {package: _version(package, engine.extra) for package in engine.tested}
    ranges = {name: f">={least},<{beyond}" for name, (least, beyond) in engine.tested.items()}
    untested = [
        name
        for name, wanted in ranges.items()
        if not SpecifierSet(wanted).contains(found[name], prereleases=True)
    ]
    fix = " ".join(f"'{name}{ranges[name]}'" for name in untested or ranges)
    problem = next(filter(None, map(misfit, engine.seams)), None)
    installed = ", ".join(f"{name} {found[name]}" for name in untested or ranges)
    state = f"{engine.extra}: {installed}"
    if problem is None and untested and os.environ.get(PASSED) not in (state, PROBING):
        span = ", ".join(name + ranges[name] for name in untested)
        warnings.warn(
            f"{installed}: outside the tested range, {span}; trying {engine.extra} on two rows "
            "(up to a minute) before going on",
            TerselyWarning,
            stacklevel=3,
        )
        problem = run_probe(engine.probe)
    if problem is not None:
        raise ConfigError(f"{installed} cannot be used: {problem}; run pip install {fix}")
    if untested:
        os.environ[PASSED] = state


def _version(package: str, extra: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError as error:
        raise extras.missing(package, what=f"tersely launch {extra}", extra=extra) from error


def misfit(seam: Seam) -> str | None:
    """What is wrong with the form of a seam; None if nothing is.

    Parameters behind ``*args``, as of a decorator, are left to the probe.
    """
    where = f"{seam.module}.{seam.name}"
    try:
        held = reduce(getattr, seam.name.split("."), import_module(seam.module))
    except Exception as error:  # a library that is imported raises what it likes
        return f"{where} is not there ({_one_line(str(error))})"
    try:
        known = signature(held).parameters  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return f"{where} is no function"
    kinds = {each.kind for each in known.values()}
    first, said = list(known)[: len(seam.takes)], f"{where} takes ({', '.join(known)})"
    wanted = [own if own else name for own, name in zip_longest(seam.takes, first, fillvalue="?")]
    if Parameter.VAR_POSITIONAL not in kinds and first != wanted:
        return f"{said}, which does not begin with ({', '.join(wanted)})"
    absent = [name for name in seam.named if name not in known]
    if absent and Parameter.VAR_KEYWORD not in kinds:
        return f"{said}, without {absent[0]}"
    return _unmet(known, (*first, *seam.named), said)


def _unmet(known: Mapping[str, Parameter], given: Sequence[str], said: str) -> str | None:
    plain = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY, Parameter.POSITIONAL_ONLY)
    for name, each in known.items():
        if name not in given and each.default is Parameter.empty and each.kind in plain:
            return f"{said}, of which {name} is needed and not given"
    return None


def run_probe(module: str) -> str | None:
    """What a probe found wrong; None if nothing. It runs on the CPU, alone."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OF_A_GROUP)}
    own = {PASSED: PROBING, "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", module],
            env={**kept, **own},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=PROBE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"two rows took longer than {PROBE_S} s"
    if not done.returncode:
        return None
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    last = lines[-1] if lines else f"the probe ended with exit code {done.returncode}"
    return f"on two rows, {_one_line(last)}"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:SAID_CHARS]
