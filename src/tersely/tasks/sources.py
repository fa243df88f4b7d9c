"""Problems by name: a benchmark or training set, a task of reasoning-gym, or a file."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from tersely.core.errors import ConfigError, DataError, no_such
from tersely.core.parsing import parse_json
from tersely.core.types import Problem
from tersely.tasks import benchmarks
from tersely.tasks.benchmarks import LIVECODEBENCH_ROWS, Benchmark, livecodebench_parts
from tersely.tasks.gym import OnDrawn, draw_gym
from tersely.tasks.hub import find_files
from tersely.tasks.problems import read_problems
from tersely.tasks.questions import text_of
from tersely.tasks.tables import ENDINGS, Placed, cell, missing_column, read_rows

GYM = "gym:"
_LABS, _LIVECODEBENCH = ("lab", "lab-hard", "lab-all"), "livecodebench"


def load(names: str, *, on_drawn: OnDrawn | None = None) -> list[Problem]:
    """The problems of a name, or of several between commas.

    A name is a benchmark or training set (``benchmarks.ALL``; ``livecodebench?release=v4_v6``),
    ``gym:TASK?size=200&seed=0&...``, or a JSONL, JSON, CSV, TSV or Parquet file, whose columns
    may be named, and so may the grader of all:
    ``file.parquet?prompt=question&answer=final&grader=math``. A file is taken by its whole name,
    whatever signs are in it.

    Args:
        on_drawn: told how many problems of how many reasoning-gym has drawn; without it, a task
            that draws for more than a minute is refused.
    Raises:
        ConfigError: there is no such set, file or setting.
        DataError: rows are not as they should be, or an id stands twice.
    """
    if Path(names).is_file():
        return read_problems(Path(names))
    problems = [
        problem for name in _between_commas(names) for problem in _load_one(name, on_drawn=on_drawn)
    ]
    seen: set[str] = set()
    for problem in problems:
        if problem.id in seen:
            raise DataError(f"problem id {problem.id!r} stands twice in {names}")
        seen.add(problem.id)
    return problems


def are_files(names: str) -> bool:
    """Whether all that is named are files that are there."""
    named = (name.partition("?")[0] for name in _between_commas(names))
    return Path(names).is_file() or all(Path(file).is_file() for file in named)


def _between_commas(names: str) -> list[str]:
    return [name.strip() for name in names.split(",")]


def _load_one(name: str, *, on_drawn: OnDrawn | None) -> list[Problem]:
    where, _, query = name.partition("?")
    settings = _settings(query, name=name)
    if where.startswith(GYM):
        return draw_gym(where.removeprefix(GYM), settings, on_drawn=on_drawn)
    if where in benchmarks.ALL:
        return load_benchmark(benchmarks.ALL[where], settings)
    if Path(where).suffix in ENDINGS or Path(where).is_file():
        columns = {key: str(value) for key, value in settings.items()}
        return read_problems(Path(where), columns=columns)
    if where in _LABS:
        raise ConfigError(
            f"{name!r} cannot be read as a set of problems: the built-in lab has no file and takes "
            f"no settings; write {where} alone, where problems to sample or to train on are named"
        )
    fix = f"give a file ({', '.join(ENDINGS)}) or gym:TASK"
    raise ConfigError(no_such("set of problems", where, (*_LABS, *benchmarks.ALL), fix=fix))


def _settings(query: str, *, name: str) -> dict[str, Any]:
    """What follows a name's question mark."""
    settings: dict[str, Any] = {}
    for key, text in parse_qsl(query, keep_blank_values=True):
        if key in settings:
            raise ConfigError(f"{key} is set twice in {name!r}; leave one of them out")
        settings[key] = _value(text)
    return settings


def _value(text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError:
        return text


def load_benchmark(
    benchmark: Benchmark, settings: dict[str, Any], *, files: Sequence[Path] | None = None
) -> list[Problem]:
    """The problems of a set on the hub, counted and checked.

    Args:
        settings: ``release`` of LiveCodeBench, nothing for the others.
        files: read these instead of looking for them.
    Raises:
        ConfigError: the files cannot be had, or there is no such setting.
        DataError: another number of rows than at the pinned revision, a missing column or answer.
    """
    patterns, expected = _files_and_rows(benchmark, settings)
    found = find_files(benchmark, patterns) if files is None else files
    rows = [placed for file in found for placed in read_rows(file)]
    if expected and len(rows) not in expected:
        raise DataError(
            f"{benchmark.name}: {benchmark.dataset} at {benchmark.revision} should have "
            f"{' or '.join(f'{n:,}' for n in expected)} rows and has {len(rows):,}; remove its "
            "cached copy and download it again, or give the file by its path"
        )
    problems = list(_problems(benchmark, rows))
    left_out = len(rows) - len(problems)
    if left_out > benchmark.unanswered:
        raise DataError(
            f"{benchmark.name}: {left_out} rows have no answer, {benchmark.unanswered} were known "
            "to have none; give the file by its path to see which"
        )
    return problems


def _files_and_rows(
    benchmark: Benchmark, settings: dict[str, Any]
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    if benchmark.name != _LIVECODEBENCH:
        if settings:
            raise ConfigError(f"{benchmark.name} takes no settings, and {settings} was given")
        return benchmark.files, benchmark.rows
    release = settings.pop("release", None)
    if settings:
        raise ConfigError(f"{benchmark.name} takes release, and {settings} was given")
    if release is None:
        return benchmark.files, benchmark.rows
    parts = livecodebench_parts(str(release))
    files = tuple("test.jsonl" if part == 1 else f"test{part}.jsonl" for part in parts)
    return files, (sum(LIVECODEBENCH_ROWS[part - 1] for part in parts),)


def _problems(benchmark: Benchmark, rows: Iterable[Placed]) -> Iterator[Problem]:
    for number, (place, row) in enumerate(rows):
        keys = filter(None, (benchmark.id_column, benchmark.difficulty_column))
        for column in (*benchmark.layout.columns, *keys):
            try:
                cell(row, column)
            except KeyError:
                raise missing_column(
                    column,
                    row,
                    place=place,
                    fix=f"the files of {benchmark.dataset} have changed; use the pinned revision",
                ) from None
        key = number if benchmark.id_column is None else row[benchmark.id_column]
        problem_id = f"{benchmark.name}/{key}"
        try:
            question = benchmark.layout.read(row, problem_id)
        except DataError as error:
            raise DataError(f"{place}: {error}") from error
        if not question.prompt.strip():
            raise DataError(f"{place} has an empty prompt; correct it or leave it out")
        if question.answer.strip():
            yield Problem(
                id=problem_id,
                prompt=question.prompt.rstrip() + benchmark.suffix,
                answer=question.answer,
                source=benchmark.name,
                grader=benchmark.grader,
                difficulty=_difficulty(benchmark, row),
                place=place,
            )


def _difficulty(benchmark: Benchmark, row: Any) -> float | None:
    """Where the column holds a number, or a text that ends in one (``Level 5``)."""
    if benchmark.difficulty_column is None:
        return None
    last = text_of(row.get(benchmark.difficulty_column)).split()[-1:]
    return float(last[0]) if last and last[0].replace(".", "", 1).isdigit() else None
