"""Problems from a file, and the band of difficulty that a run draws from."""

import difflib
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from tersely.core.errors import ConfigError, DataError, TerselyWarning, no_such
from tersely.core.types import Grade, Message, Problem
from tersely.tasks import grading
from tersely.tasks.questions import final_answer, split_chat, text_of
from tersely.tasks.tables import ENDINGS, TableRow, cell, missing_column, read_rows

Text = Annotated[str, Field(min_length=1)]


NO_COLUMNS: Mapping[str, str] = MappingProxyType({})
# Where verl's rows keep what we call so.
_VERL = {
    "answer": ("reward_model.ground_truth",),
    "source": ("data_source",),
    **{
        name: (f"extra_info.{name}",)
        for name in ("id", "grader", "difficulty", "reference_tokens", "reference_accuracy")
    },
}
# By verl's data_source, as verl itself chooses how to score a row.
_VERL_GRADERS = {
    "openai/gsm8k": "number",
    "lighteval/MATH": "math",
    "DigitalLearningGmbH/MATH-lighteval": "math",
    "HuggingFaceH4/MATH-500": "math",
    "math_dapo": "math",
    "math": "math",
}
# A worked solution is no answer to these; the others have golds of a form of their own.
_FINAL_ANSWERS = ("exact", "number", "math", "choice", "ordered")
# Under which names others have them.
_ALSO_CALLED = {
    "prompt": ("question", "problem", "query", "instruction", "input"),
    "answer": ("final_answer", "gold", "target", "solution", "label", "output"),
}


class _ChatLine(BaseModel):
    role: Text
    content: str


class _ProblemLine(BaseModel, coerce_numbers_to_str=True, allow_inf_nan=False):
    prompt: Text
    answer: Text
    id: str | None = None
    source: str | None = None
    grader: str = "exact"
    difficulty: float | None = None
    reference_tokens: Annotated[float, Field(gt=0)] | None = None
    reference_accuracy: Annotated[float, Field(ge=0, le=1)] | None = None
    earlier: list[_ChatLine] = []


def with_system(problems: Sequence[Problem], text: str, *, where: str) -> list[Problem]:
    """The problems with a system message before everything else.

    Args:
        where: the option or key that gives it, for errors.
    Raises:
        ConfigError: it is empty, or a problem has a system message of its own.
    """
    if not text.strip():
        raise ConfigError(f"{where} is empty; write a text, or leave it out")
    for problem in problems:
        if any(message.role in ("system", "developer") for message in problem.earlier):
            raise ConfigError(
                f"{where}: problem {problem.id!r} has a {problem.earlier[0].role} message of its "
                "own, and a chat has one; leave this one out, or take that one out of the problems"
            )
    message = Message(role="system", content=text)
    return [replace(problem, earlier=(message, *problem.earlier)) for problem in problems]


def digest(problems: Sequence[Problem]) -> str:
    """A short digest of the problems, their answers and graders, in order."""
    state = blake2b(digest_size=8)
    for p in problems:
        parts = [p.id, p.prompt, p.answer, p.grader]
        if p.reference_tokens is not None or p.reference_accuracy is not None:
            parts.append(f"{p.reference_tokens} {p.reference_accuracy}")
        parts += [part for message in p.earlier for part in (message.role, message.content)]
        state.update("\x1f".join(parts).encode())
        state.update(b"\x1e")
    return state.hexdigest()


def read_problems(path: Path, *, columns: Mapping[str, str] = NO_COLUMNS) -> list[Problem]:
    """Reads one problem a row of a JSONL, JSON, CSV, TSV or Parquet file: ``prompt`` and
    ``answer``, and if wanted ``id``, ``source``, ``grader`` (default exact), ``difficulty``,
    ``reference_tokens`` and ``reference_accuracy``; other columns are ignored. A prompt may be a
    chat that ends with the user's message, an answer a worked solution that ends in a box or in
    ``#### 72``, which is graded as a number unless a grader is named; verl's rows are read too.

    Args:
        columns: our name to the file's, where they differ; ``a.b`` goes into an object. The name
            of a grader under ``grader`` stands for itself.
    Raises:
        ConfigError: the file does not exist, or a column is no name of ours.
        DataError: a row is not such a problem, answers are of several types, an id stands twice,
            or there is no row at all.
    """
    if not path.is_file():
        raise ConfigError(_say_missing(path))
    for name in columns:
        if name not in _ProblemLine.model_fields:
            raise ConfigError(no_such("field", name, _ProblemLine.model_fields, of="a problem"))
    problems: dict[str, Problem] = {}
    kinds: dict[str, str] = {}
    as_numbers = 0
    for place, row in read_rows(path):
        kinds.setdefault(_kind(_find(row, "answer", columns)), place)
        problem = _problem(row, columns, place=place, source=path.stem)
        if problem.id in problems:
            raise _twice(problems[problem.id], problem)
        problems[problem.id] = problem
        as_numbers += _is_hashed_number(row, columns)
    if not problems:
        raise DataError(f"{path} holds no problem; expected one JSON object a line")
    if len(kinds) > 1:
        listed = ", ".join(f"{kind} at {place}" for kind, place in kinds.items())
        raise DataError(f"answers are of several types: {listed}; write all of them as text")
    if as_numbers:
        warnings.warn(
            f"{path}: {as_numbers:,} answers end in #### and a number, and no grader is named: "
            f"they are graded by number; name another with {path.name}?grader=NAME",
            TerselyWarning,
            stacklevel=2,
        )
    return list(problems.values())


def _say_missing(path: Path) -> str:
    """That there is no such file, what there is instead, and how one is made."""
    there = path.parent if path.parent.is_dir() else Path()
    files = {f.name.partition(".")[0]: f for f in there.iterdir() if f.suffix in (*ENDINGS, ".gz")}
    near = difflib.get_close_matches(path.name.partition(".")[0], files, n=1)
    meant = f" (is it {files[near[0]]}?)" if near else ""
    return (
        f"no problem file at {path}{meant}; give a file with prompt and answer, or make one with "
        "tersely curate or tersely benchmarks --write (docs/real-models.md)"
    )


def _twice(first: Problem, again: Problem) -> DataError:
    """The error of two rows of one id, which is of the prompt where a row has none."""
    if (first.prompt, first.earlier) != (again.prompt, again.earlier):
        return DataError(
            f"{again.place}: problem id {again.id!r} stands twice, first at {first.place}; give "
            "each row an id of its own"
        )
    other = "" if first.answer == again.answer else ", and another answer"
    return DataError(
        f"{again.place}: the prompt {again.prompt[:60]!r} stands twice, first at {first.place}, "
        f"with the same problem id{other}; remove one, or give each an id of its own"
    )


def _problem(row: TableRow, columns: Mapping[str, str], *, place: str, source: str) -> Problem:
    found = {name: _find(row, name, columns) for name in _ProblemLine.model_fields}
    found["grader"] = _grader(row, found, columns)
    for name in columns:
        if found[name] is None:
            raise _no_cell(name, columns[name], row, place=place)
    try:
        found |= _prompt(found["prompt"], row)
        found["answer"] = _answer(found["answer"], row, grader=found["grader"])
        line = _ProblemLine.model_validate({k: v for k, v in found.items() if v is not None})
    except (ValueError, DataError) as error:
        raise DataError(f"{place} is not a problem: {_first_line(error)}") from error
    said = [part for message in line.earlier for part in (message.role, message.content)]
    fallback = blake2b("\x1f".join([*said, line.prompt]).encode(), digest_size=6).hexdigest()
    return Problem(
        id=line.id or fallback,
        prompt=line.prompt,
        answer=line.answer,
        source=line.source or source,
        grader=line.grader,
        difficulty=line.difficulty,
        reference_tokens=line.reference_tokens,
        reference_accuracy=line.reference_accuracy,
        earlier=tuple(Message(role=m.role, content=m.content) for m in line.earlier),
        place=place,
    )


def _no_cell(name: str, column: str, row: TableRow, *, place: str) -> DataError:
    """The error of a column that was named and that the row does not have, or has empty."""
    if column in row:
        return DataError(
            f"{place} has nothing under {column!r}, which holds the {name}; correct it or leave "
            "the row out"
        )
    fix = f"name the one that holds the {name}"
    if name == "grader":
        near = difflib.get_close_matches(column.lower(), grading.names(), n=1)
        fix += f", or one of {', '.join(grading.names())}"
        fix += f"; did you mean the grader {near[0]!r}?" if near else ""
    return missing_column(column, row, place=place, fix=fix)


def _prompt(value: Any, row: TableRow) -> dict[str, Any]:
    """The prompt, and of one given as a chat what stands before its last message."""
    if value is None:
        raise DataError(_say_none("prompt", row))
    if isinstance(value, list):
        return _split_prompt(value)
    if isinstance(value, dict):
        raise DataError(
            f"prompt: {str(value)[:60]} is a dict; write it as text or name the part of it that "
            f"is the prompt (?prompt=COLUMN.{next(iter(value), 'PART')})"
        )
    if value == "":
        raise DataError("prompt: '' is empty; correct it or leave the row out")
    return {"prompt": value}


def _say_none(name: str, row: TableRow) -> str:
    """That a row has no prompt or answer, and how to name the column that has it."""
    likely = next((other for other in _ALSO_CALLED[name] if other in row), "COLUMN")
    return (
        f"{name}: there is none; the row has {', '.join(row)}; correct it, leave it out or name "
        f"the column (?{name}={likely})"
    )


def _split_prompt(messages: list[Any]) -> dict[str, Any]:
    """A prompt given as a chat: its last message, and what stands before it."""
    if not messages or not all(isinstance(message, dict) for message in messages):
        return {"prompt": text_of(messages)}
    earlier, question = split_chat(messages)
    return {"prompt": question, "earlier": earlier}


def _grader(row: TableRow, found: Mapping[str, Any], columns: Mapping[str, str]) -> Any:
    """The grader that the file's name or the row names; else what verl would score it by."""
    if columns.get("grader") in grading.names():
        return columns["grader"]
    if found["grader"] is None and _is_hashed_number(row, columns):
        return "number"
    if found["grader"] is not None or "reward_model" not in row:
        return found["grader"]
    source = str(found["source"])
    return _VERL_GRADERS.get("math_dapo" if source.startswith("aime") else source)


def _answer(value: Any, row: TableRow, *, grader: Any) -> str:
    """The gold answer as text, without the solution that leads to it."""
    if value is None:
        raise DataError(_say_none("answer", row))
    if isinstance(value, list | dict):
        raise DataError(
            f"answer: {str(value)[:60]} is a {type(value).__name__}; write the one answer as text "
            "or name the part of it that is the answer (?answer=COLUMN.0)"
        )
    try:
        text = text_of(value)
    except DataError as error:
        raise DataError(f"answer: {error}") from error
    if not text.strip():
        raise DataError(f"answer: {text!r} is empty; correct it or leave the row out")
    return final_answer(text) if (grader or "exact") in _FINAL_ANSWERS else text


def _is_hashed_number(row: TableRow, columns: Mapping[str, str]) -> bool:
    """Whether the answer is a worked solution that ends in ``#### 72``, and no grader is named."""
    answer = _find(row, "answer", columns)
    hashed = isinstance(answer, str) and "####" in answer
    if not hashed or "grader" in columns or _find(row, "grader", columns) is not None:
        return False
    return grading.load("number")("", final_answer(answer)).grade is not Grade.UNGRADED


def _find(row: TableRow, name: str, columns: Mapping[str, str]) -> Any:
    """The cell of our column, or of verl's that holds the same; None where there is none."""
    wanted = (columns[name],) if name in columns else (name, *_VERL.get(name, ()))
    for column in wanted:
        with suppress(KeyError):
            if (value := cell(row, column)) is not None:
                return value
    return None


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "a truth value"
    return "a number" if isinstance(value, int | float | Decimal) else f"a {type(value).__name__}"


def _first_line(error: Exception) -> str:
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
            raise ConfigError(no_such("source", source, sorted(known), of="these problems"))
    return [problem for problem in problems if problem.source in sources]
