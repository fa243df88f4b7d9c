"""Floor 1: what is going wrong in a run, from its step log: one alarm a file.

An alarm is found by its file: ``alarms/kl_spike.py`` holds ``kl_spike``, which looks at the log up
to its last step and returns None, or the numbers that it went by. Every rule holds its evidence
against the noise of its columns (``dynamics/noise.py``): a move counts where it has both the size
that the rule asks for and enough standard errors. Sizes are ours: the published curves of
arXiv:2602.20945 that this project holds stay right, and ``bench/alarms.py`` measures the rules on
made runs. A file declares beside the function

``COLUMNS: tuple[str, ...]``
    Columns without any of which it is silent; ``staleness`` stands for S.
``EITHER: tuple[str, ...]``
    Columns of which one is enough, if there are such.
``SEVERITY``, ``REASON``, ``ADVICE``
    How bad it is, what is known of it and where from, and the setting to change.
``PLACE: int``
    Its place among the alarms of one step: lower is said earlier.
``FEWEST: int``
    Steps from which it can be raised, if not ``START + RECENT``.
"""

from collections.abc import Callable
from enum import StrEnum
from functools import cache
from importlib import import_module
from typing import NamedTuple

from tersely.core import lookup
from tersely.dynamics.log import StepLog
from tersely.dynamics.noise import NoisyLog

START, RECENT = 10, 20
STRIDE = 5


class Severity(StrEnum):
    """ERROR: the run will be lost if it continues. WARNING: the run should be checked."""

    ERROR = "error"
    WARNING = "warning"


class Alarm(NamedTuple):
    """What a rule found.

    Args:
        name: of its file, in words.
        step: the last step of the log that it looked at.
        evidence: the numbers that the rule used.
        reason: what this means, and its source.
        advice: the setting to change.
    """

    name: str
    severity: Severity
    step: int
    evidence: str
    reason: str
    advice: str


class Rule(NamedTuple):
    """What a file says of its alarm."""

    name: str
    look: Callable[[NoisyLog], str | None]
    columns: tuple[str, ...]
    severity: Severity
    reason: str
    advice: str
    fewest: int | None = None
    either: tuple[str, ...] = ()

    def missing(self, log: StepLog) -> tuple[str, ...]:
        """What this log lacks of what the rule reads; it is silent for that."""
        lacks = tuple(
            name
            for name in self.columns
            if (log.get(name) is None if name != "staleness" else log.staleness != log.staleness)
        )
        if self.either and log.get(*self.either) is None:
            return (*lacks, self.either[0])
        return lacks


def name_in_words(name: str) -> str:
    """The name of an alarm as it is written, from its file's; older runs wrote ``KL spike``."""
    return name.replace("_", " ").replace("-", " ").lower()


@cache
def rules() -> tuple[Rule, ...]:
    """The alarms of this folder, in their places."""
    files = {name: import_module(f"{__name__}.{name}") for name in lookup.names(__name__)}
    return tuple(
        Rule(
            name=name_in_words(name),
            look=getattr(file, name),
            columns=file.COLUMNS,
            severity=file.SEVERITY,
            reason=file.REASON,
            advice=file.ADVICE,
            fewest=getattr(file, "FEWEST", None),
            either=getattr(file, "EITHER", ()),
        )
        for name, file in sorted(files.items(), key=lambda item: (item[1].PLACE, item[0]))
    )


def standing_alarms(log: StepLog) -> list[Alarm]:
    """The alarms at the log's last step; few before ``START + RECENT`` steps."""
    if not log.step_N.size:
        return []
    step, noisy = int(log.step_N[-1]), NoisyLog(log)
    return [
        Alarm(rule.name, rule.severity, step, evidence, rule.reason, rule.advice)
        for rule in rules()
        if log.step_N.size >= _fewest(rule) and (evidence := rule.look(noisy)) is not None
    ]


def _fewest(rule: Rule) -> int:
    return START + RECENT if rule.fewest is None else rule.fewest


def first_alarms(log: StepLog) -> list[Alarm]:
    """Each alarm at the step where it was first raised, in the order of these steps."""
    found: dict[str, Alarm] = {}
    fewest, last = min(map(_fewest, rules())), log.step_N.size
    # Every fifth record; where something new stands, the records since the last look too.
    for count in sorted({*range(fewest, last + 1, STRIDE), last}):
        names = {alarm.name for alarm in standing_alarms(log.until(count))}
        if names <= found.keys():
            continue
        for earlier in range(max(fewest, count - STRIDE + 1), count + 1):
            for alarm in standing_alarms(log.until(earlier)):
                found.setdefault(alarm.name, alarm)
    return list(found.values())
