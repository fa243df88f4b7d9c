"""Problems from a JSONL file, and the band of difficulty that a run draws from."""

import codecs
import json
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from tersely.core.errors import ConfigError, DataError
from tersely.core.types import Problem

Text = Annotated[str, Field(min_length=1)]


class _Line(BaseModel, coerce_numbers_to_str=True, allow_inf_nan=False):
    prompt: Text
    answer: Text
    id: str | None = None
    source: str | None = None
    grader: str = "exact"
    difficulty: float | None = None
    reference_tokens: Annotated[float, Field(gt=0)] | None = None
    reference_accuracy: Annotated[float, Field(ge=0, le=1)] | None = None


def digest(problems: Sequence[Problem]) -> str:
    """A short digest of the problems, their answers and graders, in order."""
    state = blake2b(digest_size=8)
    for p in problems:
        parts = [p.id, p.prompt, p.answer, p.grader]
        if p.reference_tokens is not None or p.reference_accuracy is not None:
            parts.append(f"{p.reference_tokens} {p.reference_accuracy}")
        state.update("\x1f".join(parts).encode())
        state.update(b"\x1e")
    return state.hexdigest()


def read_problems(path: Path) -> list[Problem]:
    """Reads one problem a line: ``prompt`` and ``answer``, and if wanted ``id``, ``source``,
    ``grader`` (default exact), ``difficulty``, ``reference_tokens`` and ``reference_accuracy``;
    other keys are ignored.

    Raises:
        ConfigError: the file does not exist.
        DataError: a line is not such a problem, an id stands twice, or there is no line at all.
    """
    if not path.is_file():
        raise ConfigError(f"no problem file at {path}; give a JSONL file with prompt and answer")
    problems: dict[str, Problem] = {}
    # Only a newline ends a line: JSON strings may hold the other separators that str.splitlines
    # knows, such as U+2028.
    for number, content in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not content.strip():
            continue
        try:
            line = _Line.model_validate(json.loads(content.removeprefix(codecs.BOM_UTF8)))
        except ValueError as error:
            raise DataError(f"{path}:{number} is not a problem: {_first_line(error)}") from error
        fallback = blake2b(line.prompt.encode(), digest_size=6).hexdigest()
        problem = Problem(
            id=line.id or fallback,
            prompt=line.prompt,
            answer=line.answer,
            source=line.source or path.stem,
            grader=line.grader,
            difficulty=line.difficulty,
            reference_tokens=line.reference_tokens,
            reference_accuracy=line.reference_accuracy,
        )
        if problem.id in problems:
            raise DataError(f"{path}:{number}: problem id {problem.id!r} stands twice")
        problems[problem.id] = problem
    if not problems:
        raise DataError(f"{path} holds no problem; expected one JSON object a line")
    return list(problems.values())


def _first_line(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return ": ".join([*map(str, first["loc"]), first["msg"]])
    return str(error).splitlines()[0]


def in_band(problems: Sequence[Problem], *, low: float, high: float) -> list[Problem]:
    """The problems with ``low <= difficulty <= high``, on the source's own scale.

    Raises:
        ConfigError: a problem has no difficulty, or none lies in the band.
    """
    known = [p.difficulty for p in problems if p.difficulty is not None]
    if len(known) < len(problems):
        raise ConfigError(
            f"{len(problems) - len(known)} of {len(problems)} problems have no difficulty; "
            "leave problems.band out or add a difficulty to every line"
        )
    kept = [p for p in problems if p.difficulty is not None and low <= p.difficulty <= high]
    if not kept:
        raise ConfigError(
            f"problems.band = [{low:g}, {high:g}] is empty: difficulties run from "
            f"{min(known):g} to {max(known):g}; widen the band"
        )
    return kept


def of_sources(problems: Sequence[Problem], sources: Sequence[str]) -> list[Problem]:
    """The problems from the named sources.

    Raises:
        ConfigError: a name is no source of these problems.
    """
    known = {problem.source for problem in problems}
    for source in sources:
        if source not in known:
            raise ConfigError(
                f"problems.sources names {source!r}; there are {', '.join(sorted(known))}"
            )
    return [problem for problem in problems if problem.source in sources]
