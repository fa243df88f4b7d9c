"""What is kept of a finished run: small enough to commit, enough to judge any claim again."""

import gzip
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tersely.core import jsonl
from tersely.core.errors import DataError
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
WRONG, RIGHT, UNGRADED = 0, 1, 2
OptionalNumber = float | None


class Kept(BaseModel):
    """A part of a result."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Evaluated(Kept):
    """A held-out evaluation after ``step`` steps, samples in the order of problem, then sample.

    ``right``: one digit a sample, 1 correct and ended by itself, 0 not, 2 ungraded.
    """

    step: int
    tokens: list[int]
    right: str


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
) -> Result:
    """What is kept of a finished run's folder."""
    steps = jsonl.read(run / "steps.jsonl", StepRecord)
    alarms = run / "alarms.jsonl"
    raised = jsonl.read(alarms, AlarmRecord) if alarms.is_file() else []
    evaluations = [
        _evaluated(jsonl.read(file, EvalRecord), problems, step=int(file.stem.rpartition("-")[2]))
        for file in sorted((run / "eval").glob("step-*.jsonl"))
    ]
    first = jsonl.read(next(iter(sorted((run / "eval").glob("step-*.jsonl")))), EvalRecord)
    cap_tokens = first[0].cap_tokens
    assert cap_tokens is not None
    return Result(
        unit=unit,
        seed=seed,
        pool=pool,
        held_out=digest(problems),
        samples=len(evaluations[0].tokens) // len(problems),
        cap_tokens=cap_tokens,
        staleness=staleness,
        last_step=len(steps),
        steps={name: [_rounded(getattr(step, name)) for step in steps] for name in COLUMNS},
        evaluations=evaluations,
        alarms=[Raised(name=a.name, severity=a.severity, step=a.step) for a in raised],
        lint=lint,
        seconds=round(seconds, 1),
        facts=facts,
    )


def _evaluated(records: list[EvalRecord], problems: list[Problem], *, step: int) -> Evaluated:
    place = {problem.id: row for row, problem in enumerate(problems)}
    ordered = sorted(records, key=lambda record: (place[record.problem], record.sample))
    return Evaluated(
        step=step,
        tokens=[record.tokens for record in ordered],
        right="".join(str(_code(record)) for record in ordered),
    )


def _code(record: EvalRecord) -> int:
    if record.grade is Grade.UNGRADED or record.finish is Finish.ERROR:
        return UNGRADED
    return RIGHT if record.grade is Grade.CORRECT and record.finish is Finish.STOP else WRONG


def _rounded(value: float) -> OptionalNumber:
    return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None


def write_result(file: Path, result: Result) -> None:
    """Whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".part")
    content = result.model_dump_json(by_alias=True).encode()
    unfinished.write_bytes(gzip.compress(content, mtime=0))
    unfinished.replace(file)


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
