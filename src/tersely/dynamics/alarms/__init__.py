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
    Steps from which it can be raised, if not ``START + RECENT``; in records that stand for several
    steps each, twice as many, but 8 records.
``EVERY_RECORD: bool``
    It reads gaps, so that a long log is not thinned for it; it then has all its ``moments``.
``moments(log)``
    After how many records it comes to stand, where it may stand for a few only.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from functools import cache
from importlib import import_module
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from tersely.core import lookup
from tersely.dynamics.log import StepLog
from tersely.dynamics.noise import NoisyColumn, NoisyLog
from tersely.dynamics.thinning import Beginnings

START, RECENT = 10, 20
FEW_RECORDS = 8
# Every fifth record is looked at; in longer logs every 100th part of them, up to 80 records.
STRIDE, PART, LARGEST_STRIDE = 5, 100, 80


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
    every_record: bool = False
    moments: Callable[[StepLog], Int[np.ndarray, " M"]] | None = None

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
            every_record=getattr(file, "EVERY_RECORD", False),
            moments=getattr(file, "moments", None),
        )
        for name, file in sorted(files.items(), key=lambda item: (item[1].PLACE, item[0]))
    )


def standing_alarms(log: StepLog) -> list[Alarm]:
    """The alarms at the log's last step; few before ``START + RECENT`` steps."""
    return _standing(Beginnings(log), log.step_N.size, rules()) if log.step_N.size else []


def first_alarms(log: StepLog, *, since: int = 0) -> list[Alarm]:
    """Each alarm at the step where it was first raised, in the order of these steps.

    Up to 1,000 records every fifth is looked at, later every 100th part of them, up to 80; between
    two looks the first record is searched for. What comes and goes between them is not seen, but
    jumps of single records and curves that end are.

    Args:
        since: how many records were looked at before.
    """
    beginnings = Beginnings(log)
    found = {alarm.name: (count, alarm) for count, alarm in _at_moments(beginnings, since)}
    _search(beginnings, _looks(log, since), found, since)
    places = {rule.name: place for place, rule in enumerate(rules())}
    inorder = sorted(found.values(), key=lambda each: (each[0], places[each[1].name]))
    return [alarm for _, alarm in inorder]


def _search(
    beginnings: Beginnings, counts: Iterable[int], found: dict[str, tuple[int, Alarm]], before: int
) -> None:
    """Adds what stands after one of these numbers of records and is not found by then; between
    two of them, first at every fifth record, then at each."""
    for count in counts:
        open_rules = [
            rule
            for rule in rules()
            if not rule.every_record and (rule.name not in found or found[rule.name][0] > count)
        ]
        new = _standing(beginnings, count, open_rules)
        if new and count - before > 1:
            stride = STRIDE if count - before > STRIDE else 1
            _search(beginnings, (*range(before + stride, count, stride), count), found, before)
        else:
            found |= {alarm.name: (count, alarm) for alarm in new}
        before = count


def _looks(log: StepLog, since: int) -> Iterator[int]:
    """The numbers of records after which a log is looked at, the last among them."""
    last = log.step_N.size
    count = min(fewest_records(log, rules()).values())
    while count < last:
        if count > since:
            yield count
        count += STRIDE * max(1, min(count // PART, LARGEST_STRIDE) // STRIDE)
    if last > since:
        yield last


def _at_moments(beginnings: Beginnings, since: int) -> Iterator[tuple[int, Alarm]]:
    last = beginnings.log.step_N.size
    fewest = fewest_records(beginnings.log, rules())
    for rule in rules():
        moments = () if rule.moments is None else rule.moments(beginnings.log)
        for count in (max(int(each), fewest[rule.name]) for each in moments):
            if since < count <= last and (standing := _standing(beginnings, count, [rule])):
                yield count, standing[0]
                break


def _standing(beginnings: Beginnings, count: int, among: Sequence[Rule]) -> list[Alarm]:
    """The alarms of these rules after so many records."""
    thin, whole = (
        NoisyLog(beginnings.until(count), records=count),
        NoisyLog(beginnings.log.until(count)),
    )
    step, fewest = int(whole.step_N[-1]), fewest_records(whole.log, among)
    return [
        Alarm(rule.name, rule.severity, step, evidence, rule.reason, rule.advice)
        for rule in among
        if count >= fewest[rule.name]
        and (evidence := rule.look(whole if rule.every_record else thin)) is not None
    ]


def fewest_records(log: StepLog, among: Iterable[Rule]) -> dict[str, int]:
    """Records from which each rule may look: fewer where a record stands for several steps."""
    clock = NoisyColumn(log.step_N, log.step_N)
    steps = {each.name: START + RECENT if each.fewest is None else each.fewest for each in among}
    return {name: clock.records(n, least=min(n, FEW_RECORDS)) for name, n in steps.items()}
