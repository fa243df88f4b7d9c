"""What callers of the Python interface give, as the flows take it; wrong types in one sentence."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex

import polars as pl
import polars.selectors as cs

from tersely.checking import MOST, as_path, one_of, whole_numbers
from tersely.core.errors import ConfigError, DataError, check_kind, no_such, shortened
from tersely.dynamics.log import StepLog
from tersely.flows.diagnose import Diagnosis, diagnose
from tersely.flows.evaluate.measuring import Compared, compare_loaded, measure_loaded, name_apart
from tersely.flows.evaluate.pairing import PairBy
from tersely.flows.evaluate.several import ComparedSeveral, compare_several
from tersely.metrics.budgets import Protocol
from tersely.metrics.records import BudgetOf
from tersely.readers import evaluations
from tersely.readers.evaluations import OURS, Loaded, LoadedSweep
from tersely.readers.formats import Options
from tersely.readers.packing import plain_stem
from tersely.readers.reading import UNNAMED
from tersely.readers.recognising import Holds, Recognised, is_evaluation, recognise
from tersely.readers.steplogs import Writer, read_steps
from tersely.readers.sweeps import check_sampled, is_sweep
from tersely.report.pages.exports import Exported, ExportedOfSeveral, export_evaluation
from tersely.report.pages.html import Figure
from tersely.report.pages.several import gather_notes
from tersely.report.tables.conclusions import list_findings, warn_of_lost_problems
from tersely.tasks import grading
from tersely.wording import in_our_words, in_python, reworded

if TYPE_CHECKING:
    from tersely.flows.recipe.recipe import Recipe

# A notebook shows the first and the last four columns: what a figure is, and how large.
FIRST = ("evaluation", "name", "side", "budget_tokens", "unit")
LAST = ("n_problems", "n_samples", "estimate", "low", "high", "p")


@dataclass(frozen=True, kw_only=True)
class FileArguments:
    """What ``load`` is told of a file, beside its path and source; see there."""

    columns: Mapping[str, str] = field(default_factory=dict)
    budgets: Sequence[int] = ()
    protocol: str | None = None
    tokenizer: str | Path | None = None
    cap_tokens: int | None = None
    only_model: str | None = None
    benchmark_name: str | None = None
    regrade: str | None = None
    budget_of: str = BudgetOf.TOKENS
    by_row: bool = False
    run: str | None = None

    def options(self, path: Path) -> Options:
        """As the readers take it."""
        self.check_kinds()
        cap = self.cap_tokens
        if cap is not None:
            check_kind("cap_tokens", cap, SupportsIndex, "a whole number of tokens")
            if not 1 <= (cap := int(cap)) <= MOST:
                raise ConfigError(f"cap_tokens = {cap} must be 1 to 2**53; write cap_tokens=4096")
        if self.regrade is not None and self.regrade not in grading.names():
            raise ConfigError(no_such("grader", self.regrade, grading.names()))
        return Options(
            run=plain_stem(path),
            count_tokens=None if self.tokenizer is None else _counter(self.tokenizer),
            cap_tokens=cap,
            benchmark=self.benchmark_name,
            unnamed=UNNAMED,
            model=self.only_model,
            columns=dict(self.columns),
            grader=self.regrade,
            by_row=self.by_row,
        )

    def check_kinds(self) -> None:
        """Refuses what is of another type than the readers expect."""
        check_kind("columns", self.columns, Mapping, "a dict of our name to the file's")
        for name in (*self.columns, *self.columns.values()):
            if not isinstance(name, str):
                raise ConfigError(
                    f"columns = {shortened(repr(self.columns))} holds {shortened(repr(name))}; "
                    'give names of columns, such as {"tokens": "n_tokens"}'
                )
        for key in ("only_model", "benchmark_name", "regrade", "run"):
            check_kind(key, getattr(self, key), str | None, "a name")
        if not isinstance(self.by_row, bool):
            raise ConfigError(f"by_row = {shortened(repr(self.by_row))} is not True or False")


@in_our_words()
def open_file(
    path: object, source: str | None, asked: FileArguments
) -> Loaded | StepLog | LoadedSweep:
    """What is at the path, through the reader of the tool that wrote it."""
    from tersely.flows.evaluate.swept import load_sweep

    check_kind("source", source, str | None, "the name of a tool, such as 'trl'")
    asked = replace(asked, budgets=whole_numbers("budgets", asked.budgets))
    place = as_path("path", path)
    if source is None and is_sweep(place):
        return load_sweep(place, lambda level: _load(Recognised(level, Holds.SAMPLES, OURS), asked))
    check_sampled(place)
    found = recognise(place, source=source)
    if found.holds is Holds.SAMPLES:
        return _load(found, asked)
    for each in fields(asked):
        if each.name not in ("columns", "run") and getattr(asked, each.name) != each.default:
            raise ConfigError(
                f"{path} is a step log, which {each.name} does not apply to; leave it out"
            )
    asked.check_kinds()
    log = read_steps(
        found.path, writer=Writer(found.source), columns=dict(asked.columns), run=asked.run
    )
    return log._replace(notes=tuple(map(in_python, log.notes)))


def _load(found: Recognised, asked: FileArguments) -> Loaded:
    options = asked.options(found.path)
    if asked.run is not None:
        raise ConfigError(
            f"{found.path} is an evaluation; run chooses one of a step log, leave it out"
        )
    loaded = evaluations.load(
        found.path,
        reader=found.source,
        options=options,
        budgets=asked.budgets,
        protocol=None if asked.protocol is None else one_of(Protocol, "protocol", asked.protocol),
        budget_of=one_of(BudgetOf, "budget_of", asked.budget_of),
    )
    cap = loaded.table.cap_tokens
    if cap is not None and asked.budgets and max(asked.budgets) > cap:
        raise ConfigError(
            f"budget {max(asked.budgets)} exceeds sampled cap {cap}, above which nothing is known; "
            f"give budgets up to {cap}"
        )
    return loaded._replace(notes=tuple(map(in_python, loaded.notes)))


def opened(
    name: str, given: object, asked: FileArguments | None = None
) -> Loaded | StepLog | LoadedSweep:
    """What ``load`` made, or what it makes of a path."""
    if isinstance(given, Loaded | StepLog | LoadedSweep):
        return given
    return open_file(as_path(name, given), None, asked or FileArguments())


def as_evaluations(
    name: str, given: object, asked: FileArguments | None = None
) -> tuple[Loaded, ...]:
    """A loaded evaluation, or the one at a path; of a sweep, all of its levels."""
    found = opened(name, given, asked)
    if isinstance(found, StepLog):
        raise ConfigError(
            f"{name} is a step log, which is for diagnose; give an evaluation, such as one in the "
            "folder eval of a run"
        )
    return found.levels if isinstance(found, LoadedSweep) else (found,)


def diagnose_log(
    name: str,
    given: object,
    *,
    source: str | None = None,
    columns: Mapping[str, str] | None = None,
    run: str | None = None,
    staleness: float | None = None,
) -> tuple[StepLog, Diagnosis]:
    """A step log, or the one at a path, and what is to be said of it."""
    if isinstance(given, Loaded | StepLog | LoadedSweep):
        found: object = given
        told = {"source": source, "columns": columns, "run": run}
        if idle := [key for key, value in told.items() if value is not None]:
            raise ConfigError(f"{name} is loaded already; give {idle[0]} to load, or give its path")
    else:
        found = _read_log(name, given, source, FileArguments(columns=columns or {}, run=run))
    if not isinstance(found, StepLog):
        what = "a sweep" if isinstance(found, LoadedSweep) else "an evaluation"
        raise ConfigError(f"{name} is {what}; give a step log or a run folder")
    if staleness is not None:
        check_kind("staleness", staleness, Real, "a number of updates")
        if not 1 <= staleness < math.inf:
            raise ConfigError(
                f"staleness = {staleness:g} must be at least 1, the S of on-policy training"
            )
        found = found._replace(staleness=float(staleness))
    return found, reworded(diagnose(found))


@in_our_words()
def _read_log(name: str, given: object, source: str | None, asked: FileArguments) -> StepLog:
    """The step log at a path, as ``tersely diagnose`` reads it."""
    place = as_path(name, given)
    asked.check_kinds()
    writer = None if source is None else one_of(Writer, "source", source)
    try:
        log = read_steps(place, writer=writer, columns=asked.columns, run=asked.run)
    except (ConfigError, DataError):
        if is_evaluation(place):
            raise ConfigError(f"{name} is an evaluation; give a step log or a run folder") from None
        raise
    return log._replace(notes=tuple(map(in_python, log.notes)))


def lint_file(
    recipe: object,
    records: object,
    asked: FileArguments,
    *,
    source: str | None,
    overrides: Sequence[str],
    rate: float | None,
) -> pl.DataFrame:
    """The findings on a recipe, from the rollouts at a path; ``rate`` in tokens per second."""
    from tersely.flows.lint import find
    from tersely.flows.lint.facts import gather
    from tersely.flows.lint.forecast import Finding
    from tersely.flows.lint.pool import only_trained, read_pool

    settings = as_recipe(recipe, overrides)
    check_kind("tokens_per_second", rate, Real | None, "a number")
    rate = None if rate is None else float(rate)
    if rate is not None and not 0 < rate < math.inf:
        raise ConfigError(f"tokens_per_second = {rate:g} must be above 0 and finite")
    if isinstance(records, Loaded | LoadedSweep):
        raise ConfigError(f"records is what load made of {records.name}; give lint its path")
    found = recognise(as_path("records", records), source=source)
    if found.holds is Holds.STEPS:
        raise ConfigError(f"{records} is a step log; give the rollouts of the base model")
    options = asked.options(found.path)
    with in_our_words():
        pool = read_pool(found.path, settings, reader=found.source, options=options)
    facts = gather(settings, only_trained(pool, settings), tokens_per_second=rate)
    rows = [(str(each.severity), *map(in_python, each[1:])) for each in find(facts)]
    return pl.DataFrame(rows, schema=dict.fromkeys(Finding._fields, pl.String), orient="row")


def as_recipe(given: object, overrides: Sequence[str]) -> "Recipe":
    """A recipe, or the one of a file or of a shipped name."""
    from tersely.flows.recipe.recipe import Recipe, find_recipe, read_recipe

    if isinstance(overrides, str):
        raise ConfigError(f"overrides = {overrides!r} is no list; write [{overrides!r}]")
    if not isinstance(overrides, list | tuple) or not all(isinstance(o, str) for o in overrides):
        raise ConfigError(
            f"overrides = {shortened(repr(overrides))} is no list of settings; write "
            "['target.tokens=40']"
        )
    if isinstance(given, Recipe):
        if overrides:
            raise ConfigError("overrides are for a recipe's file or name; give one of these")
        return given
    file = find_recipe(as_path("recipe", given))
    with in_our_words():
        return read_recipe(file, overrides=list(overrides))


def compare_all(
    given: Sequence[object],
    *,
    budgets: object = (),
    k: object = (),
    pair_by: str = PairBy.AUTO,
    name: str = "compare",
) -> Compared | ComparedSeveral:
    """All evaluations over the problems that they share, as ``tersely compare`` names them.

    Args:
        name: the function that was called.
    """
    by, sizes = one_of(PairBy, "pair_by", pair_by), whole_numbers("budgets", budgets)
    if len(given) == 1 and type(given[0]) in (list, tuple):
        raise ConfigError(f"{name} was given a list; unpack it with a star: {name}(*evaluations)")
    asked = FileArguments(budgets=sizes, by_row=by is PairBy.ROW)
    sides: list[Loaded] = []
    places: list[Path | None] = []
    for number, each in enumerate(given, start=1):
        levels = as_evaluations(f"evaluation {number}", each, asked)
        known = isinstance(each, str | PathLike) and len(levels) == 1
        sides += levels
        places += [Path(str(each)) if known else None] * len(levels)
    if len(sides) < 2:
        raise ConfigError(
            f"{name} takes two evaluations or more, and was given {len(sides)}; for the figures "
            "of one, call figures"
        )
    ks, named = whole_numbers("k", k), name_apart(sides, places)
    with in_our_words():
        if len(named) == 2:
            return compare_loaded(*named, budgets=sizes, ks=ks, pair_by=by)
        return compare_several(named, budgets=sizes, ks=ks, pair_by=by)


def list_sentences(compared: Compared | ComparedSeveral) -> list[str]:
    """What may be concluded of each pair, then the notes."""
    if isinstance(compared, ComparedSeveral):
        pairs, notes = [each.compared for each in compared.against], gather_notes(compared)
    else:
        pairs, notes = [compared], [*compared.comparison.notes]
    said: list[str] = []
    for before, after, comparison, changes in pairs:
        names = before.name, after.name
        said += warn_of_lost_problems(comparison, changes)
        said += list_findings(comparison, changes, names=names)
    return [in_python(sentence) for sentence in (*said, *notes)]


@in_our_words()
def measure(given: object, k: object) -> list[Exported] | list[ExportedOfSeveral]:
    """The figures of one evaluation, or of each level of a sweep."""
    found, ks = opened("evaluation", given), whole_numbers("k", k)
    levels = as_evaluations("evaluation", found)
    rows = [(level.name, export_evaluation(measure_loaded(level, ks=ks))) for level in levels]
    if isinstance(found, LoadedSweep):
        return [ExportedOfSeveral(name, row) for name, listed in rows for row in listed]
    return rows[0][1]


@in_our_words()
def list_pictures(given: Sequence[object]) -> dict[str, Figure]:
    """What can be drawn of evaluations, of a sweep or of a step log, by name."""
    from tersely.flows.evaluate.swept import measure_sweep
    from tersely.report.pages import comparison, diagnosis, evaluation, several, sweep

    found = opened("data", given[0]) if len(given) == 1 else compare_all(given)
    match found:
        case StepLog():
            if not found.step_N.size:
                raise DataError("the log has no step yet; draw it when it has")
            figure = diagnosis.draw_curves(*diagnose_log("data", found))
            if not figure.spec["concat"]:
                raise DataError(
                    "the log has none of the columns that are drawn, such as tokens_mean"
                )
            return {"steps": figure}
        case LoadedSweep():
            drawn = [sweep.draw_figure(measure_sweep(found.folder))]
        case Loaded():
            drawn = evaluation.draw_figures(found, measure_loaded(found))
        case ComparedSeveral():
            drawn = several.draw_figures(found)
        case Compared():
            drawn = comparison.draw_figures(*found)
    return {figure.name: figure for figure in drawn}


def as_frame(rows: Sequence[Exported | ExportedOfSeveral]) -> pl.DataFrame:
    """Rows of an export as a frame; what is not defined is null."""
    frame = pl.DataFrame(map(_flat, rows), infer_schema_length=None)
    first = [name for name in FIRST if name in frame.columns]
    frame = frame.select(*first, pl.exclude(*first, *LAST), *LAST)
    return frame.with_columns(cs.float().fill_nan(None), pl.col("budget_tokens").cast(pl.Int64))


def _flat(row: Exported | ExportedOfSeveral) -> dict[str, Any]:
    if isinstance(row, ExportedOfSeveral):
        return {"evaluation": row.evaluation, **row.of_each._asdict()}
    return row._asdict()


def _counter(tokenizer: str | Path) -> Any:
    from tersely.engines.tokens import make_counter

    return make_counter(str(as_path("tokenizer", tokenizer)))
