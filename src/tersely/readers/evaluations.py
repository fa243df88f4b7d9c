"""An evaluation as loaded from disk: ours or a peer's, ready to be measured and drawn."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from tersely.core import jsonl
from tersely.core.digests import check_record_file
from tersely.core.errors import ConfigError, DataError
from tersely.core.forcing import ForcedRecord
from tersely.core.manifest import FILE, EvaluationManifest, list_facts, read_manifest
from tersely.core.types import EvalRecord, Finish, Grade
from tersely.metrics.budgets import Protocol, count_budgets_in, spectrum
from tersely.metrics.failures import FailedSamples, count_failed
from tersely.metrics.records import (
    BudgetOf,
    SampleTable,
    arrange,
    tabulate,
)
from tersely.readers import formats as readers
from tersely.readers.frames import (
    TRACE_CHARACTERS,
    TRACES_A_PROBLEM,
    as_samples,
    read_frame,
    read_traces,
    scan,
)
from tersely.readers.packing import plain_stem
from tersely.readers.questions import find_questions, read_asked
from tersely.readers.reading import SplitsTokens
from tersely.readers.regrading import grade_prefixes, regrade

RECORDS_FILE, FORCED_FILE, PROBLEMS_FILE = "records.jsonl", "forced.jsonl", "problems.jsonl"
OURS = "tersely"
AGAIN = "run the same tersely eval again"
_PROMPTS: dict[str, Any] = {"benchmark": pl.String, "problem": pl.String, "prompt": pl.String}


class Loaded(NamedTuple):
    """What a report or a comparison needs of one evaluation.

    Args:
        name: what to call it: the folder's or the file's name.
        table: all samples; under *answered* or *forced* with the prefixes graded under it.
        protocol: what counts as right at a budget.
        budgets: the budgets to report, ascending, in tokens.
        notes: what was excluded, inferred or left to do; shown under every table.
        facts: model, settings, date and the like by what they are called.
        traces: records with text, in table order; a few a problem at most.
        asked: what each (benchmark, problem) asks and which answer is right, where known.
        failed: samples that could not be made; None if there are none.
        questions: what each asks, also where its right answer is not known.
        budgets_chosen: whether somebody chose the budgets; else they follow from the cap.
    """

    name: str
    table: SampleTable
    protocol: Protocol
    budgets: tuple[int, ...]
    notes: tuple[str, ...]
    facts: Mapping[str, Any]
    traces: tuple[EvalRecord, ...]
    asked: Mapping[tuple[str, str], tuple[str, str]] = MappingProxyType({})
    failed: FailedSamples | None = None
    questions: Mapping[tuple[str, str], str] = MappingProxyType({})
    budgets_chosen: bool = True

    # Fields are arrays, whose comparison has no one truth value: it equals itself alone.
    __eq__, __ne__, __hash__ = object.__eq__, object.__ne__, object.__hash__  # type: ignore[misc]

    def __repr__(self) -> str:
        problems, samples = self.table.tokens_PS.shape
        return (
            f"<evaluation {self.name}: {problems:,} problems, up to {samples:,} samples each, "
            f"budgets {', '.join(map(str, self.budgets))}, protocol {self.protocol}>"
        )


class LoadedSweep(NamedTuple):
    """The evaluations of a sweep's levels that were sampled, in their order.

    Args:
        name: the folder's.
        notes: which levels are left out, and why.
    """

    name: str
    levels: tuple[Loaded, ...]
    notes: tuple[str, ...]
    folder: Path

    def __repr__(self) -> str:
        return f"<sweep {self.name}: {', '.join(level.name for level in self.levels)}>"


def load(
    path: Path,
    *,
    reader: str = OURS,
    options: readers.Options | None = None,
    budgets: Sequence[int] = (),
    protocol: Protocol | None = None,
    budget_of: BudgetOf = BudgetOf.TOKENS,
) -> Loaded:
    """One evaluation: our folder or records file, or a peer's file through its reader.

    ``protocol`` None is the one that our folder was evaluated for, *finished* elsewhere;
    ``budgets`` empty are the folder's own, else the spectrum up to the cap. ``budget_of`` says
    what budgets count.

    Raises:
        ConfigError: there is nothing there, or it cannot be read as asked.
        DataError: the file is damaged or is not what it is said to be.
    """
    if not path.exists():
        raise ConfigError(f"there is no {path}; give an evaluation's folder or a file of records")
    if reader != OURS:
        told = options or readers.Options(run=plain_stem(path))
        return _load_peer(path, reader, told, budgets, protocol or Protocol.FINISHED, budget_of)
    file = _records_file(path)
    has_manifest = (file.parent / FILE).is_file() and file.name == RECORDS_FILE
    manifest = read_manifest(file.parent, EvaluationManifest) if has_manifest else None
    wanted = protocol or _protocol_of(manifest, file)
    _check_countable(budget_of, wanted)
    graded = manifest.budgets or () if manifest else ()
    only_model = None if options is None else _only_model(options)
    frame, notes = _read_frame(file, only_model=only_model)
    table = arrange(as_samples(frame, prefix_budgets=graded))
    if wanted is Protocol.FORCED:
        table, cost = _with_forced(table, file.parent / FORCED_FILE, budgets=graded)
        notes.append(cost)
    name = path.resolve().name if path.is_dir() else path.stem
    table = count_budgets_in(table, budget_of, name=name)
    in_tokens = budget_of is BudgetOf.TOKENS
    stated = manifest.facts.budgets if manifest and in_tokens else None
    chosen = tuple(budgets) or stated or spectrum(table.reach)
    notes += _unfinished(table, manifest)
    asked = read_asked(file.parent / PROBLEMS_FILE)
    return Loaded(
        name=name,
        table=table,
        protocol=wanted,
        budgets=tuple(sorted(set(chosen))),
        notes=tuple(notes),
        facts=list_facts(manifest) if manifest else {},
        traces=tuple(read_traces(file, only_model=only_model)),
        asked=asked,
        questions=find_questions(asked, scan(file, _PROMPTS)),
        failed=_failed(frame),
        budgets_chosen=bool(budgets or stated),
    )


def _read_frame(file: Path, *, only_model: str | None) -> tuple[pl.DataFrame, list[str]]:
    for each in (file.name, FORCED_FILE, PROBLEMS_FILE):
        check_record_file(file.with_name(each))
    frame, notes = read_frame(file)
    return (frame if only_model is None else frame.filter(pl.col("model") == only_model)), notes


def _records_file(path: Path) -> Path:
    file = path / RECORDS_FILE if path.is_dir() else path
    if not file.is_file():
        inside = sorted(path.glob("eval/step-*.jsonl"))
        run = f", or one of the run's evaluations, such as {inside[-1]}" if inside else ""
        raise ConfigError(f"{path} has no {RECORDS_FILE}; give a folder of tersely eval{run}")
    return file


def _failed(frame: pl.DataFrame) -> FailedSamples | None:
    is_failed = pl.col("finish") == Finish.ERROR.value
    failed = frame.filter(is_failed).select("problem", "failure").rows()
    left = set(frame.filter(~is_failed)["problem"])
    return count_failed(failed, made=len(frame), left=left)


def _load_peer(
    path: Path,
    reader: str,
    options: readers.Options,
    budgets: Sequence[int],
    protocol: Protocol,
    budget_of: BudgetOf,
) -> Loaded:
    _check_countable(budget_of, protocol)
    prefixes = options.grader is not None and isinstance(options.count_tokens, SplitsTokens)
    if protocol is not Protocol.FINISHED and not (prefixes and protocol is Protocol.ANSWERED):
        raise ConfigError(
            f"--protocol {protocol!s} needs graded prefixes, which {reader} does not write; "
            "only finished can be read off its files, and answered where --regrade GRADER and "
            "--tokenizer are given too"
        )
    reading = readers.read(path, reader, options)
    name = plain_stem(path)
    table = count_budgets_in(tabulate(reading.records), budget_of, name=name)
    chosen = tuple(sorted(set(budgets))) or spectrum(table.reach)
    reading = _regraded(path, reading, options=options, budgets=chosen)
    models = {r.model for r in reading.records if r.model is not None}
    facts: dict[str, Any] = {"file": path.name, "read as": reader}
    if options.grader is not None:
        facts["graders"] = (options.grader,)
    if models:
        facts["model"] = ", ".join(sorted(models))
    traces = [r for r in reading.records if r.text is not None and r.sample < TRACES_A_PROBLEM]
    sizes = np.cumsum([len(r.text or "") for r in traces])
    graded = chosen if protocol is Protocol.ANSWERED else ()
    table = tabulate(reading.records, prefix_budgets=graded)
    return Loaded(
        name=name,
        table=count_budgets_in(table, budget_of, name=name),
        protocol=protocol,
        budgets=chosen,
        notes=reading.notes,
        facts=facts,
        traces=tuple(traces[: int(np.searchsorted(sizes, TRACE_CHARACTERS, side="right"))]),
        asked={
            (r.benchmark, r.problem): (r.prompt or "", gold)
            for r in reading.records
            if (gold := reading.golds.get((r.benchmark, r.problem))) is not None
        },
        questions=find_questions({}, reading.records),
        budgets_chosen=bool(budgets),
    )


def _check_countable(budget_of: BudgetOf, protocol: Protocol) -> None:
    if budget_of is not BudgetOf.TOKENS and protocol is not Protocol.FINISHED:
        raise ConfigError(
            f"--budget-of {budget_of!s} is for the protocol {Protocol.FINISHED!s}, not "
            f"{protocol!s}, whose prefixes are of tokens; add --protocol {Protocol.FINISHED!s}"
        )


def _regraded(
    path: Path, reading: readers.Reading, *, options: readers.Options, budgets: Sequence[int]
) -> readers.Reading:
    """As read, or graded again if that was asked for: prefixes too, where tokens can be told."""
    if options.grader is None:
        return reading
    again = regrade(path, reading, grader=options.grader)
    tokens = options.count_tokens
    if not isinstance(tokens, SplitsTokens):
        return again
    return grade_prefixes(path, again, grader=options.grader, budgets=budgets, tokenizer=tokens)


def _with_forced(
    table: SampleTable, file: Path, *, budgets: Sequence[int]
) -> tuple[SampleTable, str]:
    """The table with what was right at each budget after forcing, and what that cost."""
    if table.missing:
        raise DataError(f"{file.parent}: {table.missing:,} samples are still to be made; {AGAIN}")
    if not file.is_file():
        raise ConfigError(
            f"{file.parent} holds no forced answers; evaluate with --protocol {Protocol.FORCED!s}"
        )
    forced = jsonl.read(file, ForcedRecord)
    row_of = {problem: row for row, (_, problem) in enumerate(table.keys)}
    budgets_C = np.array(sorted(set(budgets)), dtype=np.int64)
    in_time_PSC = table.finished_PS[:, :, None] & (table.tokens_PS[:, :, None] <= budgets_C)
    prefix_PSC = in_time_PSC & table.correct_PS[:, :, None]
    known_PSC = in_time_PSC.copy()
    graded_PS = table.graded_PS.copy()
    column_of = {budget: column for column, budget in enumerate(budgets_C.tolist())}
    for record in forced:
        place = row_of[record.problem], record.sample, column_of[record.budget_tokens]
        prefix_PSC[place] = record.grade is Grade.CORRECT
        known_PSC[place] = True
        # Ungraded is not wrong: such a sample is left out.
        graded_PS[place[:2]] &= record.grade is not Grade.UNGRADED
    left = int((~known_PSC & table.graded_PS[:, :, None]).sum())
    if left:
        raise DataError(f"{file}: {left:,} answers are still to be forced; {AGAIN}")
    extra = sum(record.extra_tokens for record in forced)
    sampled = int(table.tokens_PS.sum())
    return (
        table._replace(prefix_budgets_C=budgets_C, prefix_PSC=prefix_PSC, graded_PS=graded_PS),
        f"Forced answers: {len(forced):,} extra generations, {extra:,} extra tokens "
        f"({extra / max(sampled, 1):.1%} of the {sampled:,} sampled). A forced answer comes after "
        "the budget: up to the stated allowance on top of it.",
    )


def _unfinished(table: SampleTable, manifest: EvaluationManifest | None) -> list[str]:
    planned = (manifest and manifest.facts.planned_samples) or 0
    made = table.tokens_PS.size - table.missing
    if made >= planned:
        return []
    return [f"Unfinished: {made:,} of {planned:,} samples; {AGAIN}."]


def _only_model(options: readers.Options) -> str | None:
    """The model to keep; the other options are for files of other tools."""
    for name, value in (
        ("--tokenizer", options.count_tokens),
        ("--cap-tokens", options.cap_tokens),
        ("--column", options.columns or None),
        ("--benchmark", options.benchmark),
        ("--regrade", options.grader),
    ):
        if value is not None:
            raise ConfigError(f"{name} is for files of other tools; name the tool with --from")
    return options.model


def _protocol_of(manifest: EvaluationManifest | None, file: Path) -> Protocol:
    name = manifest.protocol if manifest else Protocol.FINISHED.value
    if name not in list(Protocol):
        raise ConfigError(
            f"{file.parent / FILE} names the protocol {name!r}; this version knows "
            f"{', '.join(Protocol)}"
        )
    return Protocol(name)
