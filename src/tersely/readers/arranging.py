"""Rows of a log as columns of ours: one record a step, evaluations at their steps, and notes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from tersely.core.errors import ConfigError, DataError, shortened
from tersely.dynamics.log import StepLog, make_log
from tersely.readers.bounds import (
    SLACK,
    check_bounds,
    check_steps,
    check_twice,
    is_share,
    not_finite,
    other_unit,
)
from tersely.readers.logged import ONE_TAG, LoggedRun, listed
from tersely.readers.lognames import NamedColumns, may_be_accuracy, name_columns, name_of_tag
from tersely.readers.stepping import (
    Joined,
    LogColumn,
    Records,
    columns_of,
    has_clocks,
    join,
    main_clock,
    merged,
    records_of,
    with_evaluations,
)

# Words in other tools' names for what most alarms need.
HINTS = {
    "accuracy": ("acc", "correct", "reward", "score"),
    "tokens_mean": ("length", "tokens"),
    "entropy_mean": ("entropy",),
}
NO_STEP = "no column of steps (step, global_step, Step, ...)"
NO_ROWS = "it has no rows; give a log with a row a step"
PERCENT = ("pct", "percent", "%")
# A log that falls back so often, and loses so much by it, was not written step after step.
MOST_FALLS, MOST_LOST = 5, 0.5
# Parts that are shorter are no runs one after another.
MEAN_STEPS_OF_A_RUN = 5


def arrange(
    run: LoggedRun,
    given: Mapping[str, str],
    *,
    file: Path,
    tool: str | None,
    chosen: str | None,
    alone: bool = True,
) -> StepLog:
    """The log of a run.

    Args:
        given: our name to the log's, as the user says it.
        tool: whose names alone are known; None recognises them.
        chosen: which run, where the rows are of several that were written one after another.
        alone: whether the log holds no run beside this one.
    Raises:
        ConfigError: there is no such run.
        DataError: no row has a step, or the values are not of a training's steps.
    """
    columns, rows = columns_of(run.rows), len(run.rows)
    if not columns:
        raise DataError(f"{file} is no log of steps: {NO_ROWS}")
    check_named(columns, given, file=file)
    if set(columns) == {*ONE_TAG} and not given and (name := name_of_tag(file)):
        columns[name] = columns.pop(ONE_TAG[-1])
    named = name_columns(list(columns), given, tool=tool)
    sources, notes = _choose(columns, named)
    odd = _odd_cells(columns, sources, file=file)
    apart = "step" not in given and has_clocks(
        columns, sources["step"], apart=named.tool is not None and named.tool.clocks
    )
    main = main_clock(columns, sources) if apart else sources
    first = records_of(columns, main, rows=rows)
    if not first.step_R.size:
        _refuse_empty(columns, sources, odd, file=file)
    check_steps(first, sources["step"], file=file)
    low, high, said = _one_run(first, chosen, name=run.name, alone=alone, file=file)
    columns_K = {name: column.within(low, high) for name, column in columns.items()}
    joined = (
        join(columns_K, sources, rows=rows)
        if apart
        else Joined(merged(records_of(columns_K, sources, rows=rows)), np.nan)
    )
    check_twice(joined.records, file=file)
    records = with_evaluations(joined.records)
    log = make_log(records.step_R, records.values, staleness=joined.updates)
    log = log._replace(not_finite=not_finite(log, records))
    _check_order(records, log, file=file)
    check_bounds(log, sources, file=file)
    told = (*run.notes, *said, *_say_updates(joined), *notes, *odd, *log.notes)
    hints = (*_cautions(named, columns), *_say_percent(log, sources))
    return log._replace(notes=(*told, *hints, *_say_unread(columns, named, sources)))


def check_named(columns: Mapping[str, LogColumn], given: Mapping[str, str], *, file: Path) -> None:
    """Refuses a column that the user named where it is not there, or holds what is no number."""
    for our, their in given.items():
        named = f"--column {our}={their}"
        if their not in columns:
            raise DataError(
                f"{file} has no column {their!r}; it has {listed(list(columns))}; correct {named}"
            )
        if (odd := columns[their].odd) is not None:
            raise DataError(
                f"{file}: row {odd[0]} has {shortened(odd[1])!r} in column {their!r}, which is "
                f"no number; write it as 0.5 or 50%, leave it empty, or leave out {named}"
            )


def _odd_cells(
    columns: Mapping[str, LogColumn], sources: dict[str, Sequence[str]], *, file: Path
) -> list[str]:
    """What is to be said of cells that are no numbers; takes columns that have no other away.

    Raises:
        DataError: so is every step.
    """
    notes = []
    for our, theirs in list(sources.items()):
        for their in theirs:
            column = columns.get(their)
            if column is None or column.odd is None:
                continue
            row, cell = column.odd
            named = their if their == our else f"{their} ({our})"
            held = f"holds {shortened(cell)!r} in row {row}"
            if np.isfinite(column.value_K).any():
                cells = f"{column.odd_cells:,} cells" if column.odd_cells > 1 else "a cell"
                notes.append(f"{named} {held}, no number: {cells} of it left out.")
                continue
            if our == "step" and len(theirs) == 1:
                raise DataError(
                    f"{file}: the step (column {their}) {held}, no number; name the column that "
                    "counts steps with --column step=THEIRS"
                )
            notes.append(f"Not read: {named}, which {held}, where one number is to be.")
            sources[our] = [name for name in sources[our] if name != their]
        if our != "step" and not sources[our]:
            del sources[our]
    return notes


def _refuse_empty(
    columns: Mapping[str, LogColumn],
    sources: Mapping[str, Sequence[str]],
    odd: Sequence[str],
    *,
    file: Path,
) -> None:
    if not any(column.row_K.size for column in columns.values()):
        raise DataError(f"{file} has the columns {listed(list(columns))}, but {NO_ROWS}")
    if odd:
        raise DataError(
            f"{file} has no numbers in a column that is known. {odd[0]} Name columns of numbers "
            "with --column OURS=THEIRS"
        )
    lacks = "no row with a step and a column that is known" if sources["step"] else NO_STEP
    raise DataError(
        f"{file} has {lacks}; it has {listed(list(columns))}; {_say_example(columns, sources)}"
    )


def _say_example(columns: Mapping[str, LogColumn], sources: Mapping[str, Sequence[str]]) -> str:
    """How to name the file's own columns, as far as one of them may be what is lacking."""
    known = {their for theirs in sources.values() for their in theirs}
    numbers = {
        name: column.value_K
        for name, column in columns.items()
        if name not in known and np.isfinite(column.value_K).any()
    }
    # What counts: whole numbers that rise from row to row.
    counting = (
        name
        for name, value_K in numbers.items()
        if (np.diff(value_K) > 0).all() and (value_K == np.floor(value_K)).all()
    )
    words = (*HINTS["tokens_mean"], "len", "tok", "value")
    lengths = (n for n in numbers if any(w in n.lower() for w in words) and not other_unit(n))
    found = {"step": "" if sources["step"] else next(counting, "")}
    found["tokens_mean"] = next((n for n in lengths if n != found["step"]), "")
    told = " ".join(f"--column {our}={their}" for our, their in found.items() if their)
    if told:
        return f"name them with --column OURS=THEIRS, for instance {told}"
    if sources["step"]:
        return "name one with --column OURS=THEIRS"
    return "add a column step that counts the steps, or name one with --column step=THEIRS"


def _choose(
    columns: Mapping[str, LogColumn], named: NamedColumns
) -> tuple[dict[str, Sequence[str]], list[str]]:
    """The sources with the columns of accuracy, and what is to be said of the choice."""
    sources, notes = dict(named.sources), []
    for our, choices in named.choices.items():
        shares = [name for name in choices if _are_shares(columns[name])]
        others = [name for name in choices if name not in shares[:1]]
        if shares:
            sources[our] = shares[:1]
            more = (
                f"; it could as well be {listed(others)}: say --column {our}={others[0]}"
                if others
                else ""
            )
            notes.append(f"{our} is read from {shares[0]}{more}.")
        elif choices:
            notes.append(
                f"{our} is not read from {listed(choices)}, whose values are no shares from 0 "
                f"to 1; name another column with --column {our}=THEIRS."
            )
    return sources, notes


def _are_shares(column: LogColumn) -> bool:
    value_K = column.value_K[np.isfinite(column.value_K)]
    return bool(value_K.size) and bool(((value_K >= -SLACK) & (value_K <= 1 + SLACK)).all())


def _one_run(
    records: Records, chosen: str | None, *, name: str, alone: bool, file: Path
) -> tuple[int, int, list[str]]:
    """The rows of the run of that number among those that were written one after another, the last
    of them where none is named; each begins where the step falls back to where the log began.
    What it is called and what is to be said of it.

    Raises:
        ConfigError: there is no such run.
    """
    kept = records.only(records.saying(but="eval_accuracy"))
    kept = kept if kept.step_R.size else records
    step_R = kept.step_R
    change_R = np.diff(step_R)
    falls = np.flatnonzero(change_R < 0) + 1
    # A log may be written newest first.
    in_time = falls.size <= (change_R > 0).sum()
    starts = [int(at) for at in falls if in_time and step_R[at] <= step_R[0]]
    bounds = [0, *starts, step_R.size]
    end = np.iinfo(int).max
    steps = int((change_R != 0).sum()) + 1
    # Steps that fall back more often than runs begin are in no order.
    if not starts or steps < MEAN_STEPS_OF_A_RUN * (falls.size + 1):
        if chosen not in (None, "1", name):
            raise ConfigError(f"{file} holds one run, {name!r}; leave out --run {chosen}")
        return 0, end, []
    names = [str(place) for place in range(1, len(bounds))]
    if chosen is not None and chosen not in (*names, name):
        raise ConfigError(
            f"{file} holds runs {', '.join(names)}; choose one with --run {names[-1]}"
        )
    taken = int(chosen) if chosen in names else len(names)
    ends = ", ".join(
        f"{n}: to step {step_R[b - 1]:.0f}" for n, b in zip(names, bounds[1:], strict=True)
    )
    another = f"; --run {1 if taken > 1 else 2} reads another" if alone else ""
    rows = [0, *(int(kept.row_R[at]) for at in starts), end]
    return (
        rows[taken - 1],
        rows[taken],
        [
            f"{len(names)} runs stand in this log one after another, or one was begun anew "
            f"({ends}): run {taken} is read{another}."
        ],
    )


def _check_order(records: Records, log: StepLog, *, file: Path) -> None:
    falls, rows = int((np.diff(records.step_R) < 0).sum()), records.step_R.size
    if not log.notes and falls >= MOST_FALLS and log.repeated_steps > MOST_LOST * rows:
        raise DataError(
            f"{file}: its steps go back {falls} times in {rows} rows, so that it is no log "
            "of one run in the order of time; sort it by its step, or give one run's rows"
        )
    lost_L = _lost(records.step_R, log.step_N)
    if lost_L.size:
        raise DataError(
            f"{file}: its steps are out of order: step {lost_L[0]:.0f} stands before an earlier "
            "one and is not logged again, as after a restart; sort it by its step"
        )


def _lost(step_R: Float[np.ndarray, " R"], kept_N: Float[np.ndarray, " N"]) -> np.ndarray:
    """The steps that a later row of an earlier step took away and that leave a gap: where a run
    went on from a checkpoint, it logs them again, or others as far from one another."""
    if kept_N.size < 2:
        return np.empty(0)
    gap_G = np.diff(kept_N)
    gone_L = np.setdiff1d(step_R, kept_N)
    gone_L = gone_L[(gone_L > kept_N[0]) & (gone_L < kept_N[-1])]
    lost_L: np.ndarray = gone_L[gap_G[np.searchsorted(kept_N, gone_L) - 1] > np.median(gap_G)]
    return lost_L


def _say_updates(joined: Joined) -> list[str]:
    if not joined.updates > 1:
        return []
    return [
        f"The log counts {joined.updates:g} updates a batch of rollouts: they are read as one "
        f"step, with the mean of each figure, and S is {joined.updates:g}."
    ]


def _cautions(named: NamedColumns, columns: Mapping[str, LogColumn]) -> list[str]:
    """What its tool's readers say of the names that are read first."""
    if named.tool is None:
        return []
    first = {next((t for t in theirs if t in columns), "") for theirs in named.sources.values()}
    bare = {name.removeprefix("train/") for name in first}
    return [said for name, said in named.tool.cautions.items() if name in bare]


def _say_percent(log: StepLog, sources: Mapping[str, Sequence[str]]) -> list[str]:
    """What is read as shares from 0 to 1 though its name says percent."""
    return [
        f"{our} is read from {their} as shares from 0 to 1, which its values are; its name says "
        "percent: if they are, divide the column by 100."
        for our in log.columns
        if is_share(our)
        for their in sources[our]
        if any(word in their.lower() for word in PERCENT)
    ]


def _say_unread(
    columns: Mapping[str, LogColumn], named: NamedColumns, sources: Mapping[str, Sequence[str]]
) -> list[str]:
    """What else the file has, where it lacks what the alarms read most."""
    taken = {their for theirs in sources.values() for their in theirs}
    taken.update(*named.choices.values())
    # What begins so is a logger's own: _step, _timestamp.
    unread = [
        key
        for key, column in columns.items()
        if key not in taken and not key.startswith("_") and np.isfinite(column.value_K).any()
    ]
    lacking = [name for name in HINTS if name not in sources]
    for name in lacking:
        near = [key for key in unread if any(word in key.lower() for word in HINTS[name])]
        near = [key for key in near if name != "tokens_mean" or other_unit(key) is None]
        if name == "accuracy":
            near = [k for k in near if may_be_accuracy(k) and _are_shares(columns[k])]
            near.sort(key=lambda key: not _is_called_accuracy(key))
            rewards = [k for k in sources.get("reward_mean", ()) if k in columns]
            reward = [k for k in rewards if _are_shares(columns[k])]
            if reward and not (near and _is_called_accuracy(near[0])):
                return [_say_reward(reward[0])]
        if near:
            return [
                f"Not read: {listed(near)}; where one of them is {name}, say for instance "
                f"--column {name}={near[0]}."
            ]
    return [f"Not read: {listed(unread)}."] if unread and lacking else []


def _is_called_accuracy(key: str) -> bool:
    return "acc" in key.lower() or "correct" in key.lower()


def _say_reward(their: str) -> str:
    return (
        f"accuracy is in no column of its own; where the reward is 1 for a right answer and 0 "
        f"otherwise, say --column accuracy={their}, which shows the reward that is trained on, not "
        "accuracy, if the two differ."
    )
