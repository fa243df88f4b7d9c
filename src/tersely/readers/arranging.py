"""Rows of a log as columns of ours: one record a step, evaluations at their steps, and checks."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tersely.core.errors import ConfigError, DataError
from tersely.dynamics.log import StepLog, make_log
from tersely.readers.logged import LoggedRun
from tersely.readers.lognames import NamedColumns, may_be_accuracy, name_columns

# Words in other tools' names for what most alarms need.
HINTS = {
    "accuracy": ("acc", "correct", "reward", "score"),
    "tokens_mean": ("length", "tokens"),
    "entropy_mean": ("entropy",),
}
# Words in a name that say it counts something else.
OTHER_UNITS = {"char": "characters", "word": "words", "byte": "bytes", "second": "seconds"}
PERCENT = ("pct", "percent", "%")
NO_STEP = "no column of steps (step, global_step, Step, ...)"
MOST_LISTED = 12
SLACK = 1e-6
# A log that falls back so often, and loses so much by it, was not written step after step.
MOST_FALLS, MOST_LOST = 5, 0.5
# Steps that stand twice: more than this part of them is no restart.
MOST_TWICE, FEWEST_TWICE = 0.4, 3
# Parts that are shorter are no runs one after another.
MEAN_STEPS_OF_A_RUN = 5


class Stepped(NamedTuple):
    """One step's values by our names."""

    step: float
    values: dict[str, float]


def arrange(
    run: LoggedRun, given: Mapping[str, str], *, file: Path, tool: str | None, chosen: str | None
) -> StepLog:
    """The log of a run.

    Args:
        given: our name to the log's, as the user says it.
        tool: whose names alone are known; None recognises them.
        chosen: which run, where the rows are of several that were written one after another.
    Raises:
        ConfigError: there is no such run.
        DataError: no row has a step, or the values are not of a training's steps.
    """
    rows = list(run.rows)
    keys = list(dict.fromkeys(str(key) for row in rows for key in row))
    named = name_columns(keys, given, tool=tool)
    sources, notes = _choose(rows, named)
    records = _merged(_stepped(rows, sources))
    if not records:
        lacks = "no row with a step and a column that is known"
        raise DataError(
            f"{file} has {lacks if sources['step'] else NO_STEP}; it has "
            f"{_listed(keys) or 'no rows'}; name them with --column ours=theirs, for instance "
            "--column step=Step --column tokens_mean=length"
        )
    _check_steps(records, sources, file=file)
    records, said = _one_run(records, chosen, file=file)
    records = _with_evaluations(records)
    ours = list(dict.fromkeys(our for record in records for our in record.values))
    arrays = {our: [r.values.get(our, math.nan) for r in records] for our in ours}
    log = make_log([record.step for record in records], arrays)
    _check_order(records, log, file=file)
    check_bounds(log, sources, file=file)
    taken = {their for theirs in sources.values() for their in theirs}
    named_already = taken.union(*named.choices.values())
    # What begins so is a logger's own: _step, _timestamp.
    left = [key for key in keys if key not in named_already and not key.startswith("_")]
    unread = [key for key in left if _has_number(rows, key)]
    told = (*run.notes, *said, *notes, *log.notes, *_cautions(named, taken, keys))
    told = (*told, *_say_percent(log, sources))
    hints = _say_unread(rows, unread, sources)
    return log._replace(notes=(*told, *hints))


def number(value: Any) -> float:
    """A cell as a number; NaN for what is none."""
    if isinstance(value, str):
        # Consoles print numpy's numbers with their type: np.float64(0.5).
        value = value.rpartition("(")[2].rstrip(") ")
        if value.endswith("%"):
            return number(value[:-1]) / 100
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def _choose(
    rows: Sequence[Mapping[str, Any]], named: NamedColumns
) -> tuple[dict[str, Sequence[str]], list[str]]:
    """The sources with the columns of accuracy, and what is to be said of the choice."""
    sources, notes = dict(named.sources), []
    for our, choices in named.choices.items():
        shares = [name for name in choices if _are_shares(rows, name)]
        others = [name for name in choices if name not in shares[:1]]
        if shares:
            sources[our] = shares[:1]
            more = (
                f"; it could as well be {_listed(others)}: say --column {our}={others[0]}"
                if others
                else ""
            )
            notes.append(f"{our} is read from {shares[0]}{more}.")
        elif choices:
            notes.append(
                f"{our} is not read from {_listed(choices)}, whose values are no shares from 0 "
                f"to 1; name another column with --column {our}=THEIRS."
            )
    return sources, notes


def _are_shares(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    values = [value for row in rows if math.isfinite(value := number(row.get(name)))]
    return bool(values) and all(-SLACK <= value <= 1 + SLACK for value in values)


def _stepped(
    rows: Iterable[Mapping[str, Any]], sources: Mapping[str, Sequence[str]]
) -> list[Stepped]:
    """The rows that have a step and something else that is known."""
    steps = sources["step"]
    others = {our: theirs for our, theirs in sources.items() if our != "step"}
    found = []
    for row in rows:
        step = _first_known(row, steps)
        values = {
            our: _first_known(row, theirs)
            for our, theirs in others.items()
            if any(_is_there(row, their) for their in theirs)
        }
        if math.isfinite(step) and values:
            found.append(Stepped(step, values))
    return found


def _is_there(row: Mapping[str, Any], name: str) -> bool:
    """Whether the row says something of it, be it that it is not a number."""
    value = row.get(name)
    return value is not None and str(value).strip() != ""


def _first_known(row: Mapping[str, Any], theirs: Iterable[str]) -> float:
    values = (number(row[their]) for their in theirs if their in row)
    return next((value for value in values if not math.isnan(value)), math.nan)


def _merged(records: Sequence[Stepped]) -> list[Stepped]:
    """Rows of one step that say different things, as one; loggers write them apart."""
    merged: list[Stepped] = []
    for record in records:
        last = merged[-1] if merged else None
        if last is not None and last.step == record.step:
            same = last.values.keys() & record.values.keys()
            if all(_alike(last.values[name], record.values[name]) for name in same):
                last.values.update(record.values)
                continue
        merged.append(record)
    return merged


def _alike(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def _check_steps(
    records: Sequence[Stepped], sources: Mapping[str, Sequence[str]], *, file: Path
) -> None:
    """Refuses steps that are no counts, and a log in which most of them stand twice."""
    theirs = " or ".join(sources["step"])
    for record in records:
        if record.step != int(record.step) or record.step < 0:
            raise DataError(
                f"{file}: the step (column {theirs}) is {record.step:g}, which counts no steps; "
                "name the column that does with --column step=THEIRS"
            )
    twice = [b for a, b in itertools.pairwise(records) if a.step == b.step]
    if len(twice) >= max(FEWEST_TWICE, MOST_TWICE * len({record.step for record in records})):
        raise DataError(
            f"{file}: {len(twice)} steps stand twice and with other values, first step "
            f"{twice[0].step:.0f}: two runs or two processes wrote it; keep the lines of one, or "
            "add a column 'run' and choose with --run"
        )


def _one_run(
    records: list[Stepped], run: str | None, *, file: Path
) -> tuple[list[Stepped], list[str]]:
    """The run of that number among those that were written one after another; the last of them
    where none is named. Each begins where the step falls back to where the log began."""
    steps = [record.step for record in records]
    falls = [at for at in range(1, len(steps)) if steps[at] < steps[at - 1]]
    rises = sum(steps[at] > steps[at - 1] for at in range(1, len(steps)))
    # A log may be written newest first.
    starts = [at for at in falls if steps[at] <= steps[0]] if len(falls) <= rises else []
    bounds = [0, *starts, len(records)]
    parts = [records[a:b] for a, b in itertools.pairwise(bounds)]
    if len(parts) == 1 or len(records) < MEAN_STEPS_OF_A_RUN * len(parts):
        return records, []
    names = [str(place) for place in range(1, len(parts) + 1)]
    if run is not None and run not in names:
        raise ConfigError(
            f"{file} holds runs {', '.join(names)}; choose one with --run {names[-1]}"
        )
    chosen = int(run or len(parts))
    ends = ", ".join(f"{n}: to step {p[-1].step:.0f}" for n, p in zip(names, parts, strict=True))
    return parts[chosen - 1], [
        f"{len(parts)} runs stand in this log one after another, or one was begun anew ({ends}): "
        f"run {chosen} is read; --run {1 if chosen > 1 else 2} reads another."
    ]


def _with_evaluations(records: Sequence[Stepped]) -> list[Stepped]:
    """Records that hold an evaluation alone, put to the last record up to their step: such a row
    may come late, and is no restart."""
    kept: list[Stepped] = []
    late: list[Stepped] = []
    for record in records:
        if record.values.keys() - {"eval_accuracy"}:
            kept.append(record)
            continue
        place = next((r for r in reversed(kept) if r.step <= record.step), None)
        if place is None:
            late.append(record)
        else:
            place.values.update(record.values)
    if not kept:
        return list(records)
    for record in late[-1:]:
        kept[0].values.update({k: v for k, v in record.values.items() if k not in kept[0].values})
    return kept


def _check_order(records: Sequence[Stepped], log: StepLog, *, file: Path) -> None:
    steps = [record.step for record in records]
    falls = sum(b < a for a, b in itertools.pairwise(steps))
    if not log.notes and falls >= MOST_FALLS and log.repeated_steps > MOST_LOST * len(steps):
        raise DataError(
            f"{file}: its steps go back {falls} times in {len(steps)} rows, so that it is no log "
            "of one run in the order of time; sort it by its step, or give one run's rows"
        )


def _has_number(rows: Iterable[Mapping[str, Any]], key: str) -> bool:
    return any(math.isfinite(number(row.get(key))) for row in rows)


def _listed(keys: Sequence[str]) -> str:
    rest = f" and {len(keys) - MOST_LISTED} more" if len(keys) > MOST_LISTED else ""
    return ", ".join(keys[:MOST_LISTED]) + rest


def _cautions(named: NamedColumns, taken: Iterable[str], keys: Sequence[str]) -> list[str]:
    if named.tool is None:
        return []
    bare = {key.removeprefix("train/") for key in taken if key in keys}
    return [said for name, said in named.tool.cautions.items() if name in bare]


def _say_percent(log: StepLog, sources: Mapping[str, Sequence[str]]) -> list[str]:
    """What is read as shares from 0 to 1 though its name says percent."""
    return [
        f"{our} is read from {their} as shares from 0 to 1, which its values are; its name says "
        "percent: if they are, divide the column by 100."
        for our in log.columns
        if _is_share(our)
        for their in sources[our]
        if any(word in their.lower() for word in PERCENT)
    ]


def _is_share(our: str) -> bool:
    return our in ("accuracy", "eval_accuracy") or our.endswith("_share")


def _say_unread(
    rows: Sequence[Mapping[str, Any]], unread: Sequence[str], sources: Mapping[str, Sequence[str]]
) -> list[str]:
    """What else the file has, where it lacks what the alarms read most."""
    lacking = [name for name in HINTS if name not in sources]
    for name in lacking:
        near = [key for key in unread if any(word in key.lower() for word in HINTS[name])]
        if name == "accuracy":
            near = [k for k in near if may_be_accuracy(k) and _are_shares(rows, k)]
            near.sort(key=lambda key: not _is_called_accuracy(key))
            reward = [k for k in sources.get("reward_mean", ()) if _are_shares(rows, k)]
            if reward and not (near and _is_called_accuracy(near[0])):
                return [_say_reward(reward[0])]
        if near:
            return [
                f"Not read: {_listed(near)}; where one of them is {name}, say for instance "
                f"--column {name}={near[0]}."
            ]
    return [f"Not read: {_listed(unread)}."] if unread and lacking else []


def _is_called_accuracy(key: str) -> bool:
    return "acc" in key.lower() or "correct" in key.lower()


def _say_reward(their: str) -> str:
    return (
        f"accuracy is in no column of its own; where the reward is 1 for a right answer and 0 "
        f"otherwise, say --column accuracy={their}, which shows the reward that is trained on, not "
        "accuracy, if the two differ."
    )


def check_bounds(log: StepLog, sources: Mapping[str, Sequence[str]], *, file: Path) -> None:
    """Refuses what no step can have: a share outside 0 to 1, a length or an entropy below 0, a
    mean length above the cap, a length that counts no tokens."""
    for name, values_N in log.columns.items():
        share = _is_share(name)
        theirs = " or ".join(sources.get(name, [name]))
        of = "" if theirs == name else f" (column {theirs})"
        unit = next((u for word, u in OTHER_UNITS.items() if word in theirs.lower()), None)
        if unit and "tokens" in name:
            raise DataError(
                f"{file}: {name}{of} counts {unit}; name a column of tokens with "
                f"--column {name}=THEIRS"
            )
        if not share and "tokens" not in name and name != "entropy_mean":
            continue
        # Sums of rounded numbers may stand a little above 1.
        (bad_K,) = np.nonzero((values_N < -SLACK) | (share & (values_N > 1 + SLACK)))
        if not bad_K.size:
            continue
        value, step = values_N[bad_K[0]], log.step_N[bad_K[0]]
        bound, fix = _bound(name, share=share)
        raise DataError(
            f"{file}: {name}{of} is {value:g} at step {step:.0f}, and must be {bound}; {fix}"
        )
    _check_cap(log, sources, file=file)


def _bound(name: str, *, share: bool) -> tuple[str, str]:
    if share:
        return "a share from 0 to 1", "divide the column by 100 if it is in percent"
    if name == "entropy_mean":
        return "at least 0", f"name the column of the entropy itself with --column {name}=THEIRS"
    return "a number of tokens, at least 0", "correct the column"


def _check_cap(log: StepLog, sources: Mapping[str, Sequence[str]], *, file: Path) -> None:
    tokens_N, cap_N = log.get("tokens_mean"), log.get("cap_tokens")
    if tokens_N is None or cap_N is None:
        return
    (bad_K,) = np.nonzero(tokens_N > cap_N + 0.5)
    if bad_K.size:
        at = bad_K[0]
        theirs = " or ".join(sources.get("tokens_mean", ["tokens_mean"]))
        raise DataError(
            f"{file}: tokens_mean (column {theirs}) is {tokens_N[at]:,.0f} at step "
            f"{log.step_N[at]:.0f}, above cap_tokens {cap_N[at]:,.0f}: does it count characters? "
            "Name a column of tokens with --column tokens_mean=THEIRS"
        )
