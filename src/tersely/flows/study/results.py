"""The stored result of a finished run: small, and enough to judge every claim again."""

import fcntl
import gzip
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tersely.core import jsonl
from tersely.core.errors import DataError
from tersely.core.storage import replacing
from tersely.core.types import AlarmRecord, EvalRecord, Finish, Grade, Problem, StepRecord
from tersely.dynamics.log import StepLog, make_log
from tersely.metrics.records import SampleTable
from tersely.tasks.problems import digest

COLUMNS = (
    "accuracy",
    "positive_share",
    "zero_signal_share",
    "truncated_share",
    "solved_share",
    "tokens_mean",
    "correct_tokens_mean",
    "wrong_tokens_mean",
    "entropy_mean",
    "sampled_tokens",
)
DIGITS = 5
# Of a run that has just ended; packed with the others when the study's command ends.
ENDING = ".json.gz"
PACKED = "results.parquet"
MAPPINGS = ("steps", "facts")
# Problems, or a few more, whose first sample is kept as text, before the run and after it.
TRACED = 12
WRONG, RIGHT, UNGRADED = 0, 1, 2
OptionalNumber = float | None


class Kept(BaseModel):
    """A part of a result."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Evaluated(Kept):
    """A held-out evaluation after ``step`` steps, samples in the order of problem, then sample.

    ``right``: one digit a sample, 1 correct and ended by itself, 0 not, 2 ungraded. ``texts``:
    the first sample of the problems in ``traced_problems``, at the start and the end of a run.
    """

    step: int
    tokens: list[int]
    right: str
    texts: list[str] = []


class Raised(Kept):
    """An alarm or finding: its name, its severity, and the step where it was first seen."""

    name: str
    severity: str
    step: int | None = None


class Result(Kept):
    """One finished run."""

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    unit: str
    seed: int
    pool: str
    held_out: str
    samples: int
    cap_tokens: int
    staleness: int
    last_step: int
    steps: dict[str, list[OptionalNumber]]
    evaluations: list[Evaluated]
    alarms: list[Raised]
    lint: list[Raised]
    seconds: float
    facts: dict[str, str]

    @property
    def by_rl(self) -> bool:
        """Whether it has steps of RL; other runs have only what they spent."""
        return "tokens_mean" in self.steps

    def log(self) -> StepLog:
        """The training curve."""
        columns = {
            name: np.array([np.nan if v is None else v for v in values])
            for name, values in self.steps.items()
        }
        return make_log(np.arange(self.last_step), columns, staleness=float(self.staleness))

    def table(self, moment: float, problems: list[Problem]) -> SampleTable:
        """The evaluation nearest to a share of the run, problems in the order given."""
        wanted = moment * self.last_step
        nearest = min(self.evaluations, key=lambda each: abs(each.step - wanted))
        shape = (len(problems), self.samples)
        codes_PS = np.array([int(digit) for digit in nearest.right]).reshape(shape)
        right_PS = codes_PS == RIGHT
        return SampleTable(
            keys=tuple((p.source, p.id) for p in problems),
            correct_PS=right_PS,
            finished_PS=right_PS,
            graded_PS=codes_PS != UNGRADED,
            tokens_PS=np.array(nearest.tokens).reshape(shape),
            cap_tokens=self.cap_tokens,
        )


def traced_problems(problems: Sequence[Problem]) -> list[int]:
    """The places of the problems whose texts are kept: the first ones of every source."""
    sources = [problem.source for problem in problems]
    each = -(-TRACED // len(set(sources)))
    return [row for row, source in enumerate(sources) if sources[:row].count(source) < each]


def distil(
    run: Path,
    *,
    unit: str,
    seed: int,
    staleness: int,
    pool: str,
    problems: list[Problem],
    lint: list[Raised],
    seconds: float,
    facts: dict[str, str],
    spent: int | None = None,
) -> Result:
    """What is kept of a finished run's folder.

    Args:
        spent: tokens that were sampled to train, of a run without steps of RL.
    """
    steps = jsonl.read(run / "steps.jsonl", StepRecord) if spent is None else []
    curves = {name: [_rounded(getattr(step, name)) for step in steps] for name in COLUMNS}
    alarms = run / "alarms.jsonl"
    raised = jsonl.read(alarms, AlarmRecord) if alarms.is_file() else []
    files = sorted((run / "eval").glob("step-*.jsonl"))
    evaluations = [
        _evaluated(file, problems, traced=file in (files[0], files[-1])) for file in files
    ]
    cap_tokens = jsonl.read(files[0], EvalRecord)[0].cap_tokens
    assert cap_tokens is not None
    return Result(
        unit=unit,
        seed=seed,
        pool=pool,
        held_out=digest(problems),
        samples=len(evaluations[0].tokens) // len(problems),
        cap_tokens=cap_tokens,
        staleness=staleness,
        last_step=len(steps) if spent is None else evaluations[-1].step,
        steps=curves if spent is None else {"sampled_tokens": [float(spent)]},
        evaluations=evaluations,
        alarms=[Raised(name=a.name, severity=a.severity, step=a.step) for a in raised],
        lint=lint,
        seconds=round(seconds, 1),
        facts=facts,
    )


def _evaluated(file: Path, problems: list[Problem], *, traced: bool) -> Evaluated:
    place = {problem.id: row for row, problem in enumerate(problems)}
    records = jsonl.read(file, EvalRecord)
    ordered = sorted(records, key=lambda record: (place[record.problem], record.sample))
    samples = len(ordered) // len(problems)
    firsts = [ordered[row * samples] for row in traced_problems(problems)]
    return Evaluated(
        step=int(file.stem.rpartition("-")[2]),
        tokens=[record.tokens for record in ordered],
        right="".join(str(_code(record)) for record in ordered),
        texts=[record.text or "" for record in firsts] if traced else [],
    )


def _code(record: EvalRecord) -> int:
    if record.grade is Grade.UNGRADED or record.finish is Finish.ERROR:
        return UNGRADED
    return RIGHT if record.grade is Grade.CORRECT and record.finish is Finish.STOP else WRONG


def _rounded(value: float) -> OptionalNumber:
    return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None


def result_file(folder: Path, unit: str) -> Path:
    """The file that a run's result is written to as the run ends."""
    return folder / f"{unit}{ENDING}"


def write_result(file: Path, result: Result) -> None:
    """Whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    content = result.model_dump_json(by_alias=True).encode()
    with replacing(file) as scratch:
        scratch.write_bytes(gzip.compress(content, mtime=0))


def read_result(file: Path) -> Result:
    """A finished run.

    Raises:
        DataError: the file is damaged or of another version.
    """
    try:
        return Result.model_validate_json(gzip.decompress(file.read_bytes()))
    except (OSError, EOFError, ValidationError) as error:
        raise DataError(
            f"{file} is no result of this version; remove it and the run is made again"
        ) from error


def finished_units(folder: Path) -> set[str]:
    """The names of the runs whose results the folder holds."""
    loose = {file.name.removesuffix(ENDING) for file in folder.glob(f"*{ENDING}")}
    return loose | {str(row["unit"]) for row in _packed_rows(folder, columns=["unit"])}


def read_results(folder: Path) -> dict[str, Result]:
    """All finished runs by their names: those in one Parquet file, and those not packed yet.

    Raises:
        DataError: a file is damaged or of another version.
    """
    found = {}
    # Loose files first: while they are packed, each is in one place or in both, never in none.
    loose = [read_result(file) for file in sorted(folder.glob(f"*{ENDING}"))]
    for row in _packed_rows(folder):
        try:
            result = _from_row(row)
        except (ValidationError, LookupError, TypeError) as error:
            raise _no_results(folder / PACKED) from error
        found[result.unit] = result
    return found | {result.unit: result for result in loose}


def pack_results(folder: Path) -> None:
    """Moves all results that lie in files of their own into the folder's Parquet file.

    Killed at any moment, it loses none; two that pack one folder wait for each other.
    """
    if not any(folder.glob(f"*{ENDING}")):
        return
    import polars

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        loose = sorted(folder.glob(f"*{ENDING}"))
        results = read_results(folder)
        rows = [_to_row(results[unit]) for unit in sorted(results)]
        with replacing(folder / PACKED) as scratch:
            polars.DataFrame(rows, schema=_schema()).write_parquet(scratch, compression_level=19)
        for file in loose:
            file.unlink()
    finally:
        os.close(handle)


def _schema() -> dict[str, Any]:
    """The Parquet file's columns: a row is a run, and a mapping is a list of names and values."""
    from polars import Float64, Int64, List, String, Struct

    raised = List(Struct({"name": String, "severity": String, "step": Int64}))
    evaluated = Struct(
        {"step": Int64, "tokens": List(Int64), "right": String, "texts": List(String)}
    )
    counts = ("seed", "samples", "cap_tokens", "staleness", "last_step")
    return {
        "schema": Int64,
        **dict.fromkeys(("unit", "pool", "held_out"), String),
        **dict.fromkeys(counts, Int64),
        "steps": List(Struct({"name": String, "values": List(Float64)})),
        "evaluations": List(evaluated),
        **dict.fromkeys(("alarms", "lint"), raised),
        "seconds": Float64,
        "facts": List(Struct({"name": String, "values": String})),
    }


def _to_row(result: Result) -> dict[str, Any]:
    row = result.model_dump(by_alias=True)
    return row | {
        key: [{"name": name, "values": values} for name, values in row[key].items()]
        for key in MAPPINGS
    }


def _from_row(row: dict[str, Any]) -> Result:
    mappings = {key: {each["name"]: each["values"] for each in row[key]} for key in MAPPINGS}
    return Result.model_validate(row | mappings)


def _packed_rows(folder: Path, columns: list[str] | None = None) -> list[dict[str, Any]]:
    import polars

    file = folder / PACKED
    if not file.is_file():
        return []
    try:
        return polars.read_parquet(file, columns=columns).to_dicts()
    except (polars.exceptions.PolarsError, OSError) as error:
        raise _no_results(file) from error


def _no_results(file: Path) -> DataError:
    return DataError(
        f"{file} holds no results of this version; remove it and its runs are made again"
    )
