"""A sweep's folder, read and measured: accuracy over realised tokens, and adherence."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Int

from tersely.core.errors import ConfigError
from tersely.core.types import Finish
from tersely.flows.evaluate.levels import ranks_of
from tersely.flows.evaluate.measuring import BOOTSTRAP_SEED
from tersely.metrics.adherence import (
    UNKNOWN_TEXT,
    Adherence,
    LevelSamples,
    judge_adherence,
    note_accuracy,
)
from tersely.metrics.allpairs import PairDifference, compare_all_pairs
from tersely.metrics.budgets import Protocol, score
from tersely.metrics.pareto import Front, place_on_fronts
from tersely.metrics.records import SampleTable, select
from tersely.metrics.sharing import share
from tersely.readers.evaluations import RECORDS_FILE, Loaded, LoadedSweep, load
from tersely.readers.frames import scan
from tersely.readers.questions import Key
from tersely.readers.sweeps import SweepKind, SweepLevel, SweepRecord, list_levels, read_sweep

_COLUMNS: dict[str, Any] = {
    "benchmark": pl.String,
    "problem": pl.String,
    "sample": pl.Int64,
    "tokens": pl.Int64,
    "thinking_tokens": pl.Int64,
    "finish": pl.String,
    "text": pl.String,
}


class MeasuredSweep(NamedTuple):
    """All levels that were sampled, in order, over the problems that they share.

    Args:
        record: the list of levels, with those that failed.
        levels, sides: the sampled ones, and their evaluations.
        front: accuracy at the cap and mean tokens of each, and whether others are better.
        accuracy: the difference at the cap of every pair of levels.
        notes: what was left out, or is still to do.
    """

    name: str
    record: SweepRecord
    levels: tuple[SweepLevel, ...]
    sides: tuple[Loaded, ...]
    front: Front
    accuracy: tuple[PairDifference, ...]
    adherence: Adherence
    notes: tuple[str, ...]

    @property
    def kind(self) -> SweepKind:
        """What the levels differ in."""
        return self.record.kind


def load_sweep(folder: Path, load_level: Callable[[Path], Loaded]) -> LoadedSweep:
    """The levels of a sweep's folder, each as ``load_level`` reads it.

    Raises:
        ConfigError: as ``list_levels``.
    """
    levels = tuple(load_level(level) for level in list_levels(folder))
    failed = [level for level in read_sweep(folder).levels if level.refused is not None]
    notes = [f"The level {each.name} failed and is left out ({each.refused})." for each in failed]
    return LoadedSweep(folder.resolve().name, levels, tuple(notes), folder)


def measure_sweep(folder: Path) -> MeasuredSweep:
    """Every figure of a sweep.

    Raises:
        ConfigError: it cannot be read, or fewer than two levels were sampled.
    """
    record, folders = read_sweep(folder), list_levels(folder)
    if len(folders) < 2:
        raise ConfigError(
            f"{folder}: only the level {folders[0].name} was sampled, and a sweep compares two or "
            f"more; sweep again, or give its own folder: tersely report {folders[0]}"
        )
    sides = [load(each, protocol=Protocol.FINISHED) for each in folders]
    tables = _graded_everywhere(share([side.table for side in sides]))
    names = [each.name for each in folders]
    levels = tuple(level for level in record.levels if level.name in names)
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    cap = tables[0].reach_tokens
    front = place_on_fronts(tables, budgets=[cap], protocol=Protocol.FINISHED, rng=rng).fronts[0]
    right_LP = np.stack(
        [
            score(table, budgets_B=np.array([cap]), protocol=Protocol.FINISHED).accuracy_PB[:, 0]
            for table in tables
        ]
    )
    n_samples_L = [int(table.graded_PS.sum()) for table in tables]
    accuracy = compare_all_pairs(right_LP, shares=True, n_samples_L=n_samples_L, rng=rng)
    samples = _read_samples(folders, levels, ranks_of(record.kind, levels), keys=tables[0].keys)
    of_all_tokens = all(level.of_all_tokens for level in levels)
    adherence = judge_adherence(samples, rng=rng, of_all_tokens=of_all_tokens)
    return MeasuredSweep(
        folder.resolve().name,
        record,
        levels,
        tuple(side._replace(table=table) for side, table in zip(sides, tables, strict=True)),
        front,
        accuracy,
        note_accuracy(adherence, accuracy),
        tuple(_notes(sides, len(tables[0].keys))),
    )


def _graded_everywhere(tables: Sequence[SampleTable]) -> list[SampleTable]:
    """The tables of one list of problems, less those that a level has no grade of: every figure of
    a sweep is over the same problems."""
    whole_P = np.all([table.graded_PS.any(axis=1) for table in tables], axis=0)
    if whole_P.all() or not whole_P.any():
        return list(tables)
    return [select(table, rows_P=np.flatnonzero(whole_P)) for table in tables]


def _notes(sides: Sequence[Loaded], shared: int) -> list[str]:
    left_out = [(s.name, len(s.table.keys) - shared) for s in sides if len(s.table.keys) > shared]
    notes = []
    if left_out:
        listed = ", ".join(f"{n:,} of {name}" for name, n in left_out)
        notes.append(f"Problems that not all levels have samples of, left out: {listed}.")
    for side in sides:
        notes += [f"{side.name}: {note}" for note in side.notes]
    return notes


def _read_samples(
    folders: Sequence[Path],
    levels: Sequence[SweepLevel],
    ranks: Sequence[int | None],
    *,
    keys: Sequence[Key],
) -> list[LevelSamples]:
    """The samples of each level, at the same place for the same problem and seed."""
    frames = [_read(folder / RECORDS_FILE, keys=keys) for folder in folders]
    most = 1 + max(int(frame["sample"].max() or 0) for frame in frames)  # type: ignore[arg-type]
    texts = pl.concat([frame["text"] for frame in frames]).rank("dense").fill_null(UNKNOWN_TEXT)
    starts = np.cumsum([0, *(len(frame) for frame in frames)])
    return [
        _spread(
            frame,
            level,
            rank,
            text_N=texts[int(start) : int(start) + len(frame)].cast(pl.Int64).to_numpy(),
            shape=(len(keys), most),
        )
        for frame, level, rank, start in zip(frames, levels, ranks, starts[:-1], strict=True)
    ]


def _read(file: Path, *, keys: Sequence[Key]) -> pl.DataFrame:
    """The samples that were made, of these problems, with the place of each problem."""
    named = {"benchmark": pl.String, "problem": pl.String}
    rows = pl.DataFrame(list(keys), schema=named, orient="row").with_row_index("row")
    made = scan(file, _COLUMNS).filter(pl.col("finish") != Finish.ERROR.value).collect()
    return made.join(rows, on=[*named], how="inner", maintain_order="left")


def _spread(
    frame: pl.DataFrame,
    level: SweepLevel,
    rank: int | None,
    *,
    text_N: Int[np.ndarray, " N"],
    shape: tuple[int, int],
) -> LevelSamples:
    place_N = frame["row"].to_numpy(), frame["sample"].to_numpy()
    tokens_PS, thinking_PS = np.full(shape, np.nan), np.full(shape, np.nan)
    tokens_PS[place_N] = frame["tokens"].cast(pl.Float64).to_numpy()
    thinking_PS[place_N] = frame["thinking_tokens"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    cut_PS, text_PS = np.zeros(shape, dtype=bool), np.full(shape, UNKNOWN_TEXT)
    cut_PS[place_N] = (frame["finish"] == Finish.LENGTH.value).to_numpy()
    text_PS[place_N] = text_N
    return LevelSamples(
        name=level.name,
        tokens_PS=tokens_PS,
        thinking_PS=thinking_PS,
        cut_PS=cut_PS,
        text_PS=text_PS,
        budget_tokens=level.budget_tokens,
        rank=rank,
    )
