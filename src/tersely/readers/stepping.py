"""Rows of a log as columns of numbers, and as records of a step each: rows of one step, of late
evaluations, and of logs that count rollouts, updates of the policy and evaluations apart."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from tersely.dynamics.log import not_superseded

# How tools write a value that is not there, and one that is no finite number.
NOTHING = ("", "none", "null", "na", "n/a", "<na>", "-", "–")
BLANK = (*NOTHING, "nan", "-nan", "+nan", "inf", "-inf")
# Objects in which loggers put a row's figures; their names say nothing of them.
_WRAPPERS = ("data", "metrics", "scalars", "logs")
# Objects within objects that are looked into.
DEEPEST = 4
# What a log may count apart, each with a column of its own: ``rollout/step``.
_CLOCKS = ("rollout", "train", "eval")


class LogColumn(NamedTuple):
    """The cells of a column that are there.

    Args:
        row_K: the rows that say something of it, be it that it is not a number.
        value_K: NaN where it is none.
        odd: the first row, counted from 1, whose cell should be a number and is none, and the cell.
        odd_cells: how many such there are.
    """

    row_K: Int[np.ndarray, " K"]
    value_K: Float[np.ndarray, " K"]
    odd: tuple[int, Any] | None = None
    odd_cells: int = 0

    def within(self, first: int, end: int) -> "LogColumn":
        """Its cells in rows from the first to before the end."""
        low, high = np.searchsorted(self.row_K, [first, end])
        return self._replace(row_K=self.row_K[low:high], value_K=self.value_K[low:high])


class Records(NamedTuple):
    """A step's values by our names, in the order in which they were written.

    Args:
        row_R: the first row of each.
        values: NaN where unknown.
        there: where a row says something of it.
    """

    step_R: Float[np.ndarray, " R"]
    row_R: Int[np.ndarray, " R"]
    values: Mapping[str, Float[np.ndarray, " R"]]
    there: Mapping[str, Bool[np.ndarray, " R"]]

    def only(self, keep_R: Any) -> "Records":
        """Those records alone, by a mask or by their places."""
        return Records(
            self.step_R[keep_R],
            self.row_R[keep_R],
            {our: value_R[keep_R] for our, value_R in self.values.items()},
            {our: there_R[keep_R] for our, there_R in self.there.items()},
        )

    def saying(self, *, but: str) -> Bool[np.ndarray, " R"]:
        """Which say something of another column than that."""
        others = [there_R for our, there_R in self.there.items() if our != but]
        return np.any(others, axis=0) if others else np.zeros(self.step_R.shape, dtype=bool)


class Joined(NamedTuple):
    """Records of one clock.

    Args:
        updates: of the policy a batch of rollouts (S); NaN if the log does not tell.
    """

    records: Records
    updates: float


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
        return math.nan


def columns_of(
    rows: Sequence[Mapping[str, Any]], *, deepest: int = DEEPEST
) -> dict[str, LogColumn]:
    """The columns of rows; what stands in an object is a column of its own, ``train/loss``."""
    alike: dict[tuple[str, ...], list[int]] = {}
    for place, row in enumerate(rows):
        alike.setdefault(tuple(row), []).append(place)
    parts: dict[str, list[LogColumn]] = {}
    for names, places in alike.items():
        row_K = np.array(places, dtype=np.int64)
        for name in names:
            values = [rows[place][name] for place in places]
            for inner, column in _columns(str(name), row_K, values, deepest):
                parts.setdefault(inner, []).append(column)
    return {
        name: columns[0] if len(columns) == 1 else _joined(columns)
        for name, columns in parts.items()
    }


def _columns(
    name: str, row_K: Int[np.ndarray, " K"], values: Sequence[Any], deepest: int
) -> Iterator[tuple[str, LogColumn]]:
    """The column of these cells, or where they are objects those of their parts."""
    try:
        value_K = np.asarray(values, dtype=float)
    except (TypeError, ValueError, OverflowError):
        value_K = np.empty((0, 0))
    if value_K.ndim == 1:
        there_K = ~np.isnan(value_K)
        there_K[~there_K] = [values[int(k)] is not None for k in np.flatnonzero(~there_K)]
        yield name, LogColumn(row_K[there_K], value_K[there_K])
        return
    objects = [k for k, value in enumerate(values) if deepest and isinstance(value, dict)]
    if objects:
        # Those with a type are W&B's images, tables and histograms.
        inside = [values[k] if "_type" not in values[k] else {} for k in objects]
        prefix = "" if name in _WRAPPERS else f"{name}/"
        for inner, column in columns_of(inside, deepest=deepest - 1).items():
            yield prefix + inner, column._replace(row_K=row_K[objects][column.row_K])
    left = [
        k for k, value in enumerate(values) if not (_is_absent(value) or isinstance(value, dict))
    ]
    if left or not objects:
        value_K = np.array([number(values[k]) for k in left], dtype=float)
        bad = [k for k, value in zip(left, value_K, strict=True) if math.isnan(value)]
        odd = [k for k in bad if str(values[k]).strip().lower() not in BLANK]
        first = (int(row_K[odd[0]]) + 1, values[odd[0]]) if odd else None
        yield name, LogColumn(row_K[left], value_K, first, len(odd))


def _joined(columns: Sequence[LogColumn]) -> LogColumn:
    row_K = np.concatenate([column.row_K for column in columns])
    order = np.argsort(row_K, kind="stable")
    value_K = np.concatenate([column.value_K for column in columns])
    odd = min((column.odd for column in columns if column.odd), default=None, key=lambda at: at[0])
    return LogColumn(row_K[order], value_K[order], odd, sum(c.odd_cells for c in columns))


def _is_absent(value: Any) -> bool:
    """Whether a cell says that there is no value, not that it is NaN."""
    return value is None or (isinstance(value, str) and value.strip().lower() in NOTHING)


def records_of(
    columns: Mapping[str, LogColumn], sources: Mapping[str, Sequence[str]], *, rows: int
) -> Records:
    """The rows that have a step and something else that is known.

    An evaluation alone, without a step, is of the last step before it.

    Args:
        sources: their names by ours; of each row the first that is a number counts.
        rows: how many there are.
    """
    step_R, _ = _filled(columns, sources["step"], rows)
    filled = {our: _filled(columns, t, rows) for our, t in sources.items() if our != "step"}
    every = Records(
        step_R,
        np.arange(rows),
        {our: value_R for our, (value_R, _) in filled.items()},
        {our: there_R for our, (_, there_R) in filled.items()},
    )
    has_step_R = np.isfinite(step_R)
    others_R = every.saying(but="eval_accuracy")
    if "eval_accuracy" in every.there and has_step_R.any():
        stray_R = every.there["eval_accuracy"] & ~has_step_R & ~others_R
        last_R = np.maximum.accumulate(np.where(has_step_R, np.arange(rows), -1))
        last_R[last_R < 0] = np.argmax(has_step_R)
        every = every._replace(step_R=np.where(stray_R, step_R[last_R], step_R))
    return _by_stream(every.only(np.isfinite(every.step_R) & every.saying(but="")))


def _by_stream(records: Records) -> Records:
    """Rows of processes that log different columns at their own pace, in the order of steps.

    Where the rows of one fall back by themselves, they stay as they are: that is a restart.
    """
    step_R = records.step_R
    if not (np.diff(step_R) < 0).any():
        return records
    said_RC = np.stack(list(records.there.values()), axis=1)
    kinds_SC, kind_R = np.unique(said_RC, axis=0, return_inverse=True)
    streams: list[tuple[set[int], set[int]]] = []
    for kind, said_C in enumerate(kinds_SC):
        columns, kinds = set(np.flatnonzero(said_C).tolist()), {kind}
        for shared in [stream for stream in streams if stream[0] & columns]:
            streams.remove(shared)
            columns, kinds = columns | shared[0], kinds | shared[1]
        streams.append((columns, kinds))
    own = [step_R[np.isin(kind_R.ravel(), list(kinds))] for _, kinds in streams]
    if len(own) == 1 or any((np.diff(step_K) < 0).any() for step_K in own):
        return records
    return records.only(np.argsort(step_R, kind="stable"))


def _filled(
    columns: Mapping[str, LogColumn], theirs: Iterable[str], rows: int
) -> tuple[Float[np.ndarray, " R"], Bool[np.ndarray, " R"]]:
    value_R, there_R = np.full(rows, np.nan), np.zeros(rows, dtype=bool)
    for name in theirs:
        if name in columns:
            row_K, value_K = columns[name].row_K, columns[name].value_K
            there_R[row_K] = True
            free_K = np.isnan(value_R[row_K])
            value_R[row_K[free_K]] = value_K[free_K]
    return value_R, there_R


def merged(records: Records) -> Records:
    """Rows of one step that say different things, as one; loggers write them apart."""
    step_R = records.step_R
    new_R = np.append(True, step_R[1:] != step_R[:-1])[: step_R.size]
    if new_R.all():
        return records
    _part_conflicts(records, new_R)
    group_R = np.cumsum(new_R) - 1
    count = int(group_R[-1]) + 1
    values = {our: np.full(count, np.nan) for our in records.values}
    there = {our: np.zeros(count, dtype=bool) for our in records.values}
    for our, there_R in records.there.items():
        values[our][group_R[there_R]] = records.values[our][there_R]
        there[our][group_R[there_R]] = True
    return Records(step_R[new_R], records.row_R[new_R], values, there)


def _part_conflicts(records: Records, new_R: Bool[np.ndarray, " R"]) -> None:
    """Marks as new the rows that say of their step something else than those before."""
    group_R = np.cumsum(new_R) - 1
    conflicting: set[int] = set()
    for our, there_R in records.there.items():
        group_K, value_K = group_R[there_R], records.values[our][there_R]
        same_K = (value_K[1:] == value_K[:-1]) | (np.isnan(value_K[1:]) & np.isnan(value_K[:-1]))
        conflicting.update(group_K[1:][(group_K[1:] == group_K[:-1]) & ~same_K].tolist())
    for group in conflicting:
        low, high = np.searchsorted(group_R, [group, group + 1])
        seen: dict[str, str] = {}
        for row in range(low, high):
            # As text, NaN is as NaN.
            said = {
                o: str(records.values[o][row])
                for o, there_R in records.there.items()
                if there_R[row]
            }
            if any(seen.get(our, value) != value for our, value in said.items()):
                new_R[row], seen = True, {}
            seen.update(said)


def with_evaluations(records: Records) -> Records:
    """Records that hold an evaluation alone, put to the last record up to their step: such a row
    may come late, and is no restart."""
    kept_R = records.saying(but="eval_accuracy")
    if kept_R.all() or not kept_R.any():
        return records
    held_R, there_R = (each["eval_accuracy"].copy() for each in (records.values, records.there))
    kept = np.flatnonzero(kept_R)
    early = None
    for row in np.flatnonzero(~kept_R):
        at = int(np.searchsorted(kept, row)) - 1
        while at >= 0 and records.step_R[kept[at]] > records.step_R[row]:
            at -= 1
        if at >= 0:
            held_R[kept[at]], there_R[kept[at]] = held_R[row], True
        else:
            early = held_R[row]
    if early is not None and not there_R[kept[0]]:
        held_R[kept[0]], there_R[kept[0]] = early, True
    both = (
        {**records.values, "eval_accuracy": held_R},
        {**records.there, "eval_accuracy": there_R},
    )
    return Records(records.step_R, records.row_R, *both).only(kept_R)


def has_clocks(columns: Mapping[str, LogColumn], steps: Sequence[str], *, apart: bool) -> bool:
    """Whether the log counts its rollouts, its updates and its evaluations apart.

    Args:
        steps: its columns of steps, the first of each row counting.
        apart: whether its tool does so, also where its logger dropped the names of the clocks.
    """
    clocks = [f"{clock}/step" for clock in _CLOCKS]
    counted = [name for name in steps if name in clocks]
    if counted:
        return len(counted) > 1 and steps[0] in clocks
    written = {clock for clock in _CLOCKS if any(name.startswith(f"{clock}/") for name in columns)}
    return apart and len(written) > 1


def main_clock(
    columns: Mapping[str, LogColumn], sources: Mapping[str, Sequence[str]]
) -> dict[str, Sequence[str]]:
    """The sources of what goes by the clock to which the others are joined."""
    parts = _parts(columns, sources)
    return next((parts[clock] for clock in _CLOCKS if clock in parts), dict(sources))


def join(
    columns: Mapping[str, LogColumn], sources: Mapping[str, Sequence[str]], *, rows: int
) -> Joined:
    """One record a batch of rollouts, with the means of its updates and with its evaluation."""
    parts = _parts(columns, sources)
    main = next(clock for clock in _CLOCKS if clock in parts)
    records = merged(records_of(columns, parts[main], rows=rows))
    kept_K, updates = not_superseded(records.step_R), np.nan
    values, there = dict(records.values), dict(records.there)
    for clock in ("train", "eval"):
        if clock == main or clock not in parts:
            continue
        other = merged(records_of(columns, parts[clock], rows=rows))
        other = other.only(not_superseded(other.step_R))
        if not other.step_R.size:
            continue
        counted = parts[clock]["step"][0] == f"{clock}/step"
        if clock == "train":
            each = _updates(records, other, in_order=counted)
            at_T = _last_at(records.step_R[kept_K], other.step_R // each)
            updates = float(np.median(np.unique(at_T, return_counts=True)[1]))
        elif main == "rollout" and (counted or parts[clock]["step"] == parts[main]["step"]):
            at_T = _last_at(records.step_R[kept_K], other.step_R)
        else:
            at_T = _last_at(records.row_R[kept_K], other.row_R)
        for our, value_R in _spread(other, kept_K[at_T], records.step_R.size):
            values[our], there[our] = value_R, ~np.isnan(value_R)
    return Joined(Records(records.step_R, records.row_R, values, there), updates)


def _parts(
    columns: Mapping[str, LogColumn], sources: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, Sequence[str]]]:
    """What goes by each clock; what goes by none of them goes by that of rollouts."""
    parts: dict[str, dict[str, Sequence[str]]] = {}
    for our, theirs in sources.items():
        clock = theirs[0].partition("/")[0] if theirs else ""
        if our != "step":
            parts.setdefault(clock if clock in _CLOCKS else "rollout", {})[our] = theirs
    for clock, those in parts.items():
        own = f"{clock}/step"
        those["step"] = [own] if own in columns else sources["step"]
    return parts


def _last_at(at_K: Any, at_T: Any) -> Int[np.ndarray, " T"]:
    """The place of the last of the ascending K that is not above each of T; else of the first."""
    place_T: Int[np.ndarray, " T"] = np.searchsorted(at_K, at_T, side="right") - 1
    return place_T.clip(min=0)


def _updates(rollouts: Records, updates: Records, *, in_order: bool) -> int:
    """How much the clock of updates advances while that of rollouts advances by 1.

    Args:
        in_order: whether rows stand in the order of time: then updates between rollouts count,
            which is right also where rollouts are sampled ahead.
    """
    step_R, step_T = rollouts.step_R, updates.step_R
    if step_R.size < 2:
        return max(int(step_T.size), 1)
    if not in_order:
        spans = [
            s[-1] - s[0] + (np.median(np.diff(s)) if s.size > 1 else 1)
            for s in (np.unique(step_T), np.unique(step_R))
        ]
        return max(round(float(spans[0] / spans[1])), 1)
    done_R = np.searchsorted(updates.row_R, rollouts.row_R)
    seen_R = np.where(done_R > 0, step_T[np.maximum(done_R - 1, 0)], step_T[0] - 1)
    rises_R = np.diff(step_R)
    ahead = rises_R > 0
    each = np.median(np.diff(seen_R)[ahead] / rises_R[ahead]) if ahead.any() else 1.0
    return max(round(float(each)), 1)


def _spread(
    other: Records, place_T: Int[np.ndarray, " T"], size: int
) -> Iterator[tuple[str, Float[np.ndarray, " R"]]]:
    """Each column at those places, the mean of those that come to one; NaN is never hidden."""
    for our, value_T in other.values.items():
        there_T = other.there[our]
        count_R = np.bincount(place_T[there_T], minlength=size)
        sum_R = np.bincount(place_T[there_T], weights=value_T[there_T], minlength=size)
        with np.errstate(invalid="ignore", divide="ignore"):
            yield our, sum_R / count_R
