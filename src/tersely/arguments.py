"""What callers of the Python interface give, as the flows take it; wrong types in one sentence."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeVar

import polars as pl
import polars.selectors as cs

from tersely.core.errors import ConfigError, DataError, check_kind, no_such, shortened
from tersely.dynamics.log import StepLog
from tersely.flows.diagnose import diagnose
from tersely.flows.evaluate.measuring import Compared, compare_loaded, measure_loaded
from tersely.flows.evaluate.pairing import PairBy
from tersely.metrics.budgets import Protocol
from tersely.metrics.measures import Evaluation
from tersely.metrics.records import BudgetOf
from tersely.readers import evaluations
from tersely.readers.evaluations import Loaded
from tersely.readers.formats import Options
from tersely.readers.packing import plain_stem
from tersely.readers.reading import UNNAMED
from tersely.readers.recognising import Holds, recognise, sources
from tersely.readers.steplogs import Writer, read_steps
from tersely.report.pages.exports import Exported
from tersely.tasks import grading

if TYPE_CHECKING:
    from tersely.flows.recipe.recipe import Recipe

# The command line's options and what they are called here.
ARGUMENTS = {
    "--by-row": "by_row",
    "--cap-tokens": "cap_tokens",
    "--budget-of": "budget_of",
    "--budgets": "budgets",
    "--protocol": "protocol",
    "--k": "k",
    "--set": "the override",
    "--from": "source",
    "--column": "columns",
    "--tokenizer": "tokenizer",
    "--only-model": "only_model",
    "--benchmark-name": "benchmark_name",
    "--benchmark": "benchmark_name",
    "--regrade": "regrade",
    "--pair-by": "pair_by",
    "--run": "run",
}
_TOOL = re.compile(rf"--from ({'|'.join(sources())})\b")
_COLUMN = re.compile(r"--column (\w+)=([\w./]+)")
_AGAIN = re.compile(r"\b(resample|evaluate) with (?=--)")
# Options of a command to run stay as they are.
_OPTION = re.compile(
    rf"tersely \w+(?: --?[\w-]+(?: [^\s;,-][^\s;,]*)?)+|(?:{'|'.join(ARGUMENTS)})(?![\w-])"
)
# Up to here a float holds every whole number.
MOST = 2**53
# What a reader of a frame looks for.
FIRST = ("name", "side", "budget_tokens", "unit", "estimate", "low", "high", "p")
_Word = TypeVar("_Word", bound=StrEnum)


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


@contextmanager
def in_our_words() -> Iterator[None]:
    """Messages of readers with our arguments in the place of the command line's options."""
    try:
        yield
    except (ConfigError, DataError) as error:
        said = _AGAIN.sub(r"\1 with tersely eval ", str(error))
        said = _TOOL.sub(r'source="\1"', said)
        said = _COLUMN.sub(r'columns={"\1": "\2"}', said)
        said = _OPTION.sub(lambda found: ARGUMENTS.get(found[0], found[0]), said)
        raise type(error)(said) from error


@in_our_words()
def open_file(path: object, source: str | None, asked: FileArguments) -> Loaded | StepLog:
    """What is at the path, through the reader of the tool that wrote it."""
    check_kind("source", source, str | None, "the name of a tool, such as 'trl'")
    asked = replace(asked, budgets=whole_numbers("budgets", asked.budgets))
    found = recognise(as_path("path", path), source=source)
    options = asked.options(found.path)
    if found.holds is Holds.STEPS:
        for each in fields(asked):
            if each.name not in ("columns", "run") and getattr(asked, each.name) != each.default:
                raise ConfigError(
                    f"{path} is a step log, which {each.name} does not apply to; leave it out"
                )
        return read_log(found.path, found.source, options.columns, run=asked.run)
    if asked.run is not None:
        raise ConfigError(f"{path} is an evaluation; run chooses one of a step log, leave it out")
    return evaluations.load(
        found.path,
        reader=found.source,
        options=options,
        budgets=asked.budgets,
        protocol=None if asked.protocol is None else one_of(Protocol, "protocol", asked.protocol),
        budget_of=one_of(BudgetOf, "budget_of", asked.budget_of),
    )


def read_log(
    path: Path, source: str, columns: Mapping[str, str], *, run: str | None = None
) -> StepLog:
    """The steps of a file whose tool is known."""
    return read_steps(path, writer=Writer(source), columns=columns, run=run)


def as_evaluation(name: str, given: object, asked: FileArguments | None = None) -> Loaded:
    """A loaded evaluation, or the one at a path."""
    found = given
    if not isinstance(given, Loaded | StepLog):
        found = open_file(as_path(name, given), None, asked or FileArguments())
    if not isinstance(found, Loaded):
        raise ConfigError(
            f"{name} is a step log, which is for diagnose; give an evaluation, such as one in the "
            "folder eval of a run"
        )
    return found


def as_log(
    name: str,
    given: object,
    *,
    source: str | None,
    columns: Mapping[str, str] | None,
    run: str | None = None,
) -> StepLog:
    """A step log, or the one at a path."""
    found = given
    if not isinstance(given, Loaded | StepLog):
        found = open_file(
            as_path(name, given), source, FileArguments(columns=columns or {}, run=run)
        )
    told = {"source": source, "columns": columns, "run": run}
    if found is given and (idle := [key for key, value in told.items() if value is not None]):
        raise ConfigError(f"{name} is loaded already; give {idle[0]} to load, or give its path")
    if not isinstance(found, StepLog):
        raise ConfigError(f"{name} is an evaluation; give a step log or a run folder")
    return found


def lint_file(
    recipe: object,
    records: object,
    asked: FileArguments,
    *,
    source: str | None,
    overrides: Sequence[str],
    tokens_per_second: float | None,
) -> pl.DataFrame:
    """The findings on a recipe, from the rollouts at a path."""
    from tersely.flows.lint import find
    from tersely.flows.lint.facts import gather
    from tersely.flows.lint.forecast import Finding
    from tersely.flows.lint.pool import only_trained, read_pool

    settings = as_recipe(recipe, overrides)
    rate = tokens_per_second
    check_kind("tokens_per_second", rate, Real | None, "a number")
    rate = None if rate is None else float(rate)
    if rate is not None and not 0 < rate < math.inf:
        raise ConfigError(f"tokens_per_second = {rate:g} must be above 0 and finite")
    if isinstance(records, Loaded):
        raise ConfigError(f"records is what load made of {records.name}; give lint its path")
    found = recognise(as_path("records", records), source=source)
    if found.holds is Holds.STEPS:
        raise ConfigError(f"{records} is a step log; give the rollouts of the base model")
    options = asked.options(found.path)
    with in_our_words():
        pool = read_pool(found.path, settings, reader=found.source, options=options)
    facts = gather(settings, only_trained(pool, settings), tokens_per_second=rate)
    rows = [(str(each.severity), *each[1:]) for each in find(facts)]
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


def as_path(name: str, value: object) -> Path:
    """A path, whether written as text or not."""
    check_kind(name, value, str | PathLike, "a path")
    if not str(value):
        raise ConfigError(f"{name} is empty; give a file or a folder")
    try:
        path = Path(str(value)).expanduser()
        path.exists()
    except (OSError, RuntimeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{name} = {shortened(value)} cannot be looked up: {why}") from error
    return path


def whole_numbers(name: str, values: object) -> tuple[int, ...]:
    """Whole numbers from 1 on."""
    listed: list[Any] = [values] if isinstance(values, str) else _list(values)
    for value in listed:
        if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
            raise ConfigError(
                f"{name} = {shortened(repr(values))} is no list of whole numbers from 1 on; write "
                f"{name}={'[1, 4]' if name == 'k' else '[1024, 4096]'}"
            )
        if value > MOST:
            raise ConfigError(f"{name} holds {value}, above 2**53; give smaller numbers")
    return tuple(map(int, listed))


def one_of(kind: type[_Word], name: str, value: object) -> _Word:
    """The word of that kind."""
    if not isinstance(value, str) or value not in list(kind):
        raise ConfigError(no_such(name, value, kind))
    return kind(value)


def compare_both(
    before: object, after: object, *, budgets: object, k: object, pair_by: str
) -> Compared:
    """Both evaluations over the problems that they share; two of one name are numbered."""
    by, sizes = one_of(PairBy, "pair_by", pair_by), whole_numbers("budgets", budgets)
    asked = FileArguments(budgets=sizes, by_row=by is PairBy.ROW)
    left, right = as_evaluation("before", before, asked), as_evaluation("after", after, asked)
    if left.name == right.name:
        left = left._replace(name=f"{left.name}-1")
        right = right._replace(name=f"{right.name}-2")
    ks = whole_numbers("k", k)
    with in_our_words():
        return compare_loaded(left, right, budgets=sizes, ks=ks, pair_by=by)


@in_our_words()
def measure(given: object, k: object) -> Evaluation:
    """The figures of one evaluation."""
    return measure_loaded(as_evaluation("evaluation", given), ks=whole_numbers("k", k))


@in_our_words()
def list_pictures(data: object, after: object) -> Mapping[str, Mapping[str, Any]]:
    """What can be drawn of one evaluation, of two, or of a step log, by name."""
    from tersely.report.pages import comparison, evaluation

    if after is not None:
        both = compare_both(data, after, budgets=(), k=(), pair_by="auto")
        drawn = comparison.draw_figures(both.before, both.after, both.comparison, both.changes)
        return {figure.name: {**figure.spec, "title": figure.title} for figure in drawn}
    found = data
    if not isinstance(data, Loaded | StepLog):
        found = open_file(as_path("data", data), None, FileArguments())
    if isinstance(found, StepLog):
        return {"steps": _draw_log(found)}
    loaded = as_evaluation("data", found)
    drawn = evaluation.draw_figures(loaded, measure_loaded(loaded))
    return {figure.name: {**figure.spec, "title": figure.title} for figure in drawn}


def as_frame(rows: Sequence[Exported]) -> pl.DataFrame:
    """Rows of an export as a frame; what is not defined is null."""
    columns = list(Exported._fields)
    frame = pl.DataFrame(rows, schema=columns, orient="row", infer_schema_length=None)
    frame = frame.select(*FIRST, pl.exclude(FIRST))
    return frame.with_columns(cs.float().fill_nan(None), pl.col("budget_tokens").cast(pl.Int64))


def _list(values: object) -> list[Any]:
    try:
        return list(values)  # type: ignore[call-overload, no-any-return]
    except TypeError:
        return [values]


def _counter(tokenizer: str | Path) -> Any:
    from tersely.engines.tokens import make_counter

    return make_counter(str(as_path("tokenizer", tokenizer)))


def _draw_log(log: StepLog) -> Mapping[str, Any]:
    from tersely.report.pages.diagnosis import draw_curves

    if not log.step_N.size:
        raise DataError("the log has no step yet; draw it when it has")
    spec = draw_curves(log, diagnose(log)).spec
    if not spec["concat"]:
        raise DataError("the log has none of the columns that are drawn, such as tokens_mean")
    return spec
