"""The records that lint checks a recipe with, as problems by samples."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool, Int

from tersely import rewards
from tersely.core import jsonl
from tersely.core.errors import ConfigError, DataError
from tersely.core.types import Problem
from tersely.flows.recipe.problems import training_problems
from tersely.flows.recipe.recipe import Recipe
from tersely.lab.problems import SETS
from tersely.metrics.lengths import Part, lengths_of
from tersely.metrics.records import (
    NO_ANSWER,
    UNKNOWN_TOKENS,
    SampleTable,
    arrange,
    select,
    tabulate,
)
from tersely.readers import formats as readers
from tersely.readers.evaluations import OURS, PROBLEMS_FILE, RECORDS_FILE
from tersely.readers.frames import as_samples, read_frame, scan
from tersely.tasks import sources
from tersely.tasks.grading.answer import has_thought, opened
from tersely.tasks.repeats import chat_key, check_set


class LintRecords(NamedTuple):
    """P problems by up to S samples.

    Args:
        problems: one a row, with difficulty and references where they are known.
        table: the samples; ungraded ones and padding are not graded in it.
        thought_PS: the thinking is not empty; None if it was not looked at.
        notes: what was left out, inferred or assumed of the records.
    """

    name: str
    problems: tuple[Problem, ...]
    table: SampleTable
    thought_PS: Bool[np.ndarray, "P S"] | None
    notes: tuple[str, ...]

    @property
    def samples_P(self) -> Int[np.ndarray, " P"]:
        """Graded samples of each problem."""
        return np.asarray(self.table.graded_PS.sum(axis=1))

    def rows(self, keep_P: Bool[np.ndarray, " P"]) -> "LintRecords":
        """Some of the problems."""
        rows_Q = np.flatnonzero(keep_P)
        return self._replace(
            problems=tuple(self.problems[row] for row in rows_Q),
            table=select(self.table, rows_P=rows_Q),
            thought_PS=None if self.thought_PS is None else self.thought_PS[rows_Q],
        )


def read_pool(
    path: Path, recipe: Recipe, *, reader: str = OURS, options: readers.Options | None = None
) -> LintRecords:
    """All records of an evaluation's folder or file, ours or a peer's; see ``only_trained``.

    Problems are what the folder's own ``problems.jsonl`` says, or else what the records tell.

    Raises:
        ConfigError: there is nothing there, or it cannot be read as asked.
        DataError: the file is damaged, or lacks what nothing can be said without.
    """
    if not path.exists():
        raise ConfigError(f"there is no {path}; give an evaluation's folder or a file of records")
    with_thoughts = "thought_G" in rewards.needs(recipe.reward.name)
    if reader == OURS:
        pool = _read_ours(path, model=options.model if options else None, thoughts=with_thoughts)
    else:
        reading = readers.read(path, reader, options or readers.Options(run=path.stem))
        table, notes = tabulate(reading.records), reading.notes
        told = {(r.benchmark, r.problem): (r.difficulty, r.effort) for r in reading.records}
        said = [
            (r.benchmark, r.problem, r.sample, r.text, r.thinking_open) for r in reading.records
        ]
        thought_PS = _thoughts(said, table) if with_thoughts else None
        problems = tuple(_bare(key, *told[key]) for key in table.keys)
        pool = LintRecords(path.stem, problems, table, thought_PS, notes)
    _check_parts(path, pool.table, rewards.needs(recipe.reward.name))
    graded = pool.table.graded_PS
    if not graded.any():
        raise DataError(f"{path}: no sample has a grade; nothing can be said of it")
    if not pool.table.tokens_PS[graded].any():
        raise DataError(
            f"{path}: every sample has a length of 0 tokens, and all that is said here is about "
            "lengths; give records with token counts, or a peer's file with --tokenizer"
        )
    return _as_in_file(pool, recipe)


def _check_parts(path: Path, table: SampleTable, needs: frozenset[str]) -> None:
    """Refuses records without the parts of length that the reward is made of.

    Raises:
        DataError: naming the part and how many samples lack it.
    """
    for name, part in (("thinking_G", Part.THINKING), ("first_right_G", Part.AFTER_RIGHT)):
        unknown = lengths_of(table, part).unknown
        if name in needs and unknown:
            raise DataError(
                f"{path}: the reward needs {name}, and {unknown:,} graded samples do not say it; "
                "give those of tersely eval, or a peer's file with --tokenizer"
            )


def _read_ours(path: Path, *, model: str | None, thoughts: bool) -> LintRecords:
    file = path / RECORDS_FILE if path.is_dir() else path
    if not file.is_file():
        raise ConfigError(f"{path} holds no {RECORDS_FILE}; give a folder that tersely eval wrote")
    frame, notes = read_frame(file)
    if model is not None:
        frame = frame.filter(pl.col("model") == model)
    graded = frame["answered_budgets"].explode().drop_nulls().unique().sort().to_list()
    table = arrange(as_samples(frame, prefix_budgets=graded))
    beside = file.parent / PROBLEMS_FILE
    known = {p.id: p for p in jsonl.read(beside, Problem)} if beside.is_file() else {}
    pairs = frame.select("benchmark", "problem", "difficulty", "effort")
    told = {row[:2]: row[2:] for row in pairs.unique(["benchmark", "problem"]).iter_rows()}
    problems = tuple(known.get(key[1]) or _bare(key, *told[key]) for key in table.keys)
    thought_PS = None
    if thoughts:
        kinds = {name: frame.schema[name] for name in ("benchmark", "problem", "sample", "model")}
        texts = {"text": pl.String, "thinking_open": pl.Boolean}
        said = scan(file, {**kinds, **texts})
        if model is not None:
            said = said.filter(pl.col("model") == model)
        told_texts = said.select("benchmark", "problem", "sample", *texts).collect()
        thought_PS = _thoughts(told_texts.iter_rows(), table)
    return LintRecords(
        path.resolve().name if path.is_dir() else path.stem,
        problems,
        table,
        thought_PS,
        tuple(notes),
    )


def _thoughts(
    said: Iterable[tuple[str, str, int, str | None, bool | None]], table: SampleTable
) -> Bool[np.ndarray, "P S"]:
    """Whether each sample has thought; ``said`` is benchmark, problem, sample, text and whether
    the prompt opened the thinking, of each.

    Raises:
        DataError: a sample has no text.
    """
    of_key: dict[tuple[str, str], list[tuple[int, bool]]] = {}
    for benchmark, problem, sample, text, thinking_open in said:
        if text is None:
            raise DataError(
                "the reward looks at whether the thinking is empty, and some records hold no "
                "text; give those of tersely eval, which keep every text"
            )
        thought = has_thought(opened(text, thinking_open=bool(thinking_open)))
        of_key.setdefault((benchmark, problem), []).append((sample, thought))
    thought_PS = np.zeros(table.tokens_PS.shape, dtype=bool)
    for row, key in enumerate(table.keys):
        thoughts = [thought for _, thought in sorted(of_key[key])]
        thought_PS[row, : len(thoughts)] = thoughts
    return thought_PS


def _bare(key: tuple[str, str], difficulty: float | None, effort: str | None) -> Problem:
    """A problem of which only its records are known."""
    return Problem(
        id=key[1], prompt="", answer="", source=key[0], difficulty=difficulty, effort=effort
    )


def _as_in_file(pool: LintRecords, recipe: Recipe) -> LintRecords:
    """Difficulty and references as the recipe's own file has them, whatever its band."""
    if recipe.problems.train in SETS or not sources.are_files(recipe.problems.train):
        return pool
    known = {problem.id: problem for problem in sources.load(recipe.problems.train)}
    return pool._replace(problems=tuple(_own(p, known.get(p.id)) for p in pool.problems))


def _own(recorded: Problem, own: Problem | None) -> Problem:
    """The recipe's own problem where it is the recorded one, which was graded as it was."""
    if own is None or not recorded.prompt:
        return own or recorded
    return replace(own, grader=recorded.grader) if chat_key(own) == chat_key(recorded) else recorded


def only_trained(pool: LintRecords, recipe: Recipe) -> LintRecords:
    """The problems that the recipe trains on and that have a graded sample, with difficulty and
    references as the recipe's own problems have them.

    Where the records hold none of the recipe's problems, or these are not at hand, what the
    records tell stands for them: their problems of the recipe's sources and band.

    Raises:
        ConfigError: there is none.
    """
    try:
        training = training_problems(recipe)
    except (ConfigError, DataError) as error:
        pool = pool._replace(
            notes=(*pool.notes, f"The recipe's problems are not at hand ({error}).")
        )
        return _like_trained(pool, recipe)
    pool = pool._replace(notes=(*pool.notes, *_repeats_of(training)))
    by_chat = {chat_key(problem): problem for problem in training}
    by_id = {problem.id: problem for problem in training}
    mine = [by_chat.get(chat_key(p)) if p.prompt else by_id.get(p.id) for p in pool.problems]
    there = {problem.id for problem in mine if problem is not None}
    keys = {chat_key(problem) for problem in training if problem.id in there}
    used = sum(chat_key(problem) in keys for problem in training)
    if not used:
        note = (
            f"None of the records' {len(pool.problems):,} problems is one of the {len(training):,} "
            "that the recipe trains on; what is said here holds as far as these are like those."
        )
        return _like_trained(pool._replace(notes=(*pool.notes, note)), recipe)
    left = sum(problem is None for problem in mine)
    note = f"The recipe trains on {len(training):,} problems; the records hold {used:,} of them"
    note += f" ({used / len(training):.0%})" if used < len(training) else ""
    note += f", and {left:,} others, which are left out." if left else "."
    known = tuple(
        problem if own is None else own for problem, own in zip(pool.problems, mine, strict=True)
    )
    keep_P = np.array([problem is not None for problem in mine]) & (pool.samples_P > 0)
    if not keep_P.any():
        raise ConfigError(
            f"none of the {used:,} problems that the recipe trains on has a graded sample; give "
            "records of which some could be graded"
        )
    kept = pool._replace(problems=known).rows(keep_P)
    return kept._replace(notes=(*pool.notes, note, *_graded_otherwise(pool.problems, mine)))


def _graded_otherwise(
    recorded: Sequence[Problem], trained: Sequence[Problem | None]
) -> tuple[str, ...]:
    """That the recipe grades problems by other graders than the records were graded by."""
    # Of a problem without a prompt only its records are known, and not its grader.
    pairs = Counter(
        (there.grader, own.grader)
        for there, own in zip(recorded, trained, strict=True)
        if own is not None and there.prompt and there.grader != own.grader
    )
    return tuple(
        f"{count:,} of them were graded by {there} in the records, and the recipe grades them by "
        f"{here}: what is right here may not be right there; evaluate the recipe's own problems."
        for (there, here), count in pairs.items()
    )


def _repeats_of(training: Sequence[Problem]) -> tuple[str, ...]:
    """What training says of prompts that stand twice, or why it refuses them."""
    try:
        said = check_set(training, name="problems.train")
    except DataError as error:
        return (f"Training refuses these problems: {error}.",)
    return (said,) if said else ()


def _like_trained(pool: LintRecords, recipe: Recipe) -> LintRecords:
    """The records' problems of the recipe's sources and band that have a graded sample.

    Raises:
        ConfigError: there is none.
    """
    section, keep_P, notes = recipe.problems, np.ones(len(pool.problems), dtype=bool), []
    if section.sources:
        keep_P = np.array([problem.source in section.sources for problem in pool.problems])
        if not keep_P.any():
            there = ", ".join(sorted({problem.source for problem in pool.problems}))
            notes.append(
                f"problems.sources = {list(section.sources)} are none of the records' ({there}): "
                "all problems are looked at."
            )
            keep_P[:] = True
    if section.band:
        difficulty_P = np.array(
            [np.nan if p.difficulty is None else p.difficulty for p in pool.problems]
        )
        low, high = section.band
        inside_P = (difficulty_P >= low) & (difficulty_P <= high)
        if np.isnan(difficulty_P).all():
            notes.append("The records hold no difficulty: problems.band is not applied here.")
        elif not (keep_P & inside_P).any():
            raise ConfigError(
                f"problems.band = [{low:g}, {high:g}] holds none of the records' problems, whose "
                f"difficulties run from {np.nanmin(difficulty_P):g} to "
                f"{np.nanmax(difficulty_P):g}; give records of the prompts that are trained on"
            )
        else:
            keep_P &= inside_P
    left = int((~keep_P).sum())
    if left:
        notes.append(f"{left:,} problems outside of problems.band or sources are left out.")
    kept = pool.rows(keep_P & (pool.samples_P > 0))
    return kept._replace(notes=(*pool.notes, *notes))


def lacking_references(pool: LintRecords, recipe: Recipe) -> tuple[str, ...]:
    """The references that the reward needs and that some problem does not have."""
    return tuple(
        field
        for field in sorted(rewards.needs(recipe.reward.name) & rewards.REFERENCES)
        if any(getattr(problem, field) is None for problem in pool.problems)
    )


def fill_references(pool: LintRecords, fields: Sequence[str]) -> LintRecords:
    """References of the problems that lack them: the records' own means, as curate writes them."""
    table, filled = pool.table, []
    for row, problem in enumerate(pool.problems):
        graded_S = table.graded_PS[row]
        right_S = table.correct_PS[row] & table.finished_PS[row]
        own = {
            "reference_tokens": float(table.tokens_PS[row][graded_S].mean()),
            "reference_accuracy": float(right_S[graded_S].mean()),
        }
        missing: dict[str, Any] = {
            name: own[name] for name in fields if getattr(problem, name) is None
        }
        filled.append(replace(problem, **missing))
    return pool._replace(problems=tuple(filled))


def prefix_right(pool: LintRecords, *, cap_tokens: int) -> Bool[np.ndarray, "P S"] | None:
    """Whether the first ``cap_tokens`` of each sample grade correct, where prefixes of that length
    were graded; None if not. Where an answer first *stands* is no substitute: it may stand in
    thinking that has not ended, which no grader of a rollout looks at."""
    budgets_C, prefix_PSC = pool.table.prefix_budgets_C, pool.table.prefix_PSC
    if budgets_C is None or prefix_PSC is None or cap_tokens not in budgets_C:
        return None
    return np.asarray(prefix_PSC[:, :, int(np.flatnonzero(budgets_C == cap_tokens)[0])])


def written_right(pool: LintRecords, *, cap_tokens: int) -> Bool[np.ndarray, "P S"]:
    """Samples longer than ``cap_tokens`` that could be right if cut there: a right answer is known
    to stand by then, or it is not known where it does."""
    table = pool.table
    right_PS = table.correct_PS & table.graded_PS & (table.tokens_PS > cap_tokens)
    if table.answer_tokens_PS is None:
        return np.asarray(right_PS)
    unknown_PS = table.answer_tokens_PS == UNKNOWN_TOKENS
    return np.asarray(right_PS & (unknown_PS | (table.answer_tokens_PS <= cap_tokens)))


def without_answer(pool: LintRecords) -> Bool[np.ndarray, "P S"]:
    """Samples in which no answer was found."""
    answer_PS = pool.table.answer_PS
    assert answer_PS is not None
    return np.asarray(answer_PS == NO_ANSWER)
