"""Evaluation: sample once at the largest budget, grade, keep one record a sample."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from tersely.core import jsonl
from tersely.core.digests import check_record_file, note_digests
from tersely.core.types import (
    Completion,
    EvalRecord,
    Finish,
    Grade,
    OnCompletion,
    Problem,
    Rollout,
    SamplingSpec,
    Verdict,
)
from tersely.engines.local.jobs import Sampler
from tersely.metrics.loops import loops
from tersely.tasks import grading
from tersely.tasks.grading.answer import opened
from tersely.tasks.grading.parts import answer_tokens, thinking_tokens
from tersely.tasks.grading.prefixes import answered_budgets

# Texts are kept for the first samples of each problem only: enough to read, small to keep.
SAMPLES_WITH_TEXT = 1
OTHER_END = "it ended neither by a stop token nor at the cap"

# Makes the completions that are not to be skipped and hands each over as it ends.
Source = Callable[[AbstractSet[tuple[str, int]], OnCompletion], None]
MakeRecord = Callable[[Completion], EvalRecord]


def append_missing(
    file: Path,
    source: Source,
    *,
    make_record: MakeRecord,
    on_record: Callable[[EvalRecord], None] = lambda record: None,
) -> None:
    """Appends to ``file`` the samples that it does not hold yet.

    Each sample is written as it ends, and kept nowhere else. A last line that a crash tore is
    dropped and its sample made again; nothing else is, and nothing is made twice.
    """
    held: AbstractSet[tuple[str, int]] = frozenset()
    if file.is_file():
        jsonl.repair_torn_tail(file)
        held = frozenset((r.problem, r.sample) for r in jsonl.read(file, EvalRecord))

    def keep(completion: Completion) -> None:
        record = make_record(completion)
        jsonl.append(file, record)
        on_record(record)

    source(held, keep)


def drop_failed(file: Path) -> int:
    """Takes the failed samples out of a file of records, to be asked for again; how many."""
    if not file.is_file():
        return 0
    jsonl.repair_torn_tail(file)
    records = jsonl.read(file, EvalRecord)
    kept = [record for record in records if record.finish is not Finish.ERROR]
    if len(kept) < len(records):
        jsonl.write(file, kept)
    return len(records) - len(kept)


def evaluate(
    sampler: Sampler,
    problems: Sequence[Problem],
    spec: SamplingSpec,
    *,
    run: str,
    file: Path,
    split_text: Callable[[Sequence[int]], tuple[str, ...]],
    on_record: Callable[[EvalRecord], None] = lambda record: None,
) -> list[EvalRecord]:
    """Evaluates into ``file`` and returns its records, sorted by problem and sample.

    A finished file is read back, not sampled again. Until it is whole, records lie in
    ``file.partial``, where a rerun after a kill finds them.
    """
    if file.is_file():
        check_record_file(file)
        return jsonl.read(file, EvalRecord)
    partial = file.with_name(file.name + ".partial")
    by_id = {problem.id: problem for problem in problems}

    def source(skip: AbstractSet[tuple[str, int]], keep: OnCompletion) -> None:
        def on_rollout(rollout: Rollout) -> None:
            keep(as_completion(rollout, split_text=split_text))

        sampler.run(sampler.codec.jobs(problems, spec, skip=skip), spec, on_rollout=on_rollout)

    def make_record(completion: Completion) -> EvalRecord:
        with_text = completion.sample < SAMPLES_WITH_TEXT
        return record_of(
            by_id[completion.problem_id], completion, spec=spec, run=run, with_text=with_text
        )

    append_missing(partial, source, make_record=make_record, on_record=on_record)
    records = jsonl.read(partial, EvalRecord) if partial.is_file() else []
    order = {problem.id: place for place, problem in enumerate(problems)}
    records.sort(key=lambda record: (order[record.problem], record.sample))
    jsonl.write(partial, records)
    # Before it has its name: whatever has it was held against its digest ever after.
    note_digests(file.parent.parent, {f"{file.parent.name}/{file.name}": partial})
    partial.replace(file)
    return records


def as_completion(
    rollout: Rollout, *, split_text: Callable[[Sequence[int]], tuple[str, ...]]
) -> Completion:
    """A local rollout as an evaluation needs it."""
    pieces = split_text(rollout.completion_ids)
    return Completion(
        problem_id=rollout.problem_id,
        sample=rollout.sample,
        text=rollout.text,
        tokens=rollout.tokens,
        finish=rollout.finish,
        pieces=pieces,
        thinking_open=rollout.thinking_open,
        thinking_tokens=thinking_tokens(pieces, thinking_open=rollout.thinking_open),
    )


def record_of(
    problem: Problem,
    completion: Completion,
    *,
    spec: SamplingSpec,
    run: str,
    with_text: bool,
    with_pieces: bool = True,
    model: str | None = None,
    prefix_budgets: Sequence[int] = (),
) -> EvalRecord:
    """The graded record of one sample; one that failed is not graded, and its reason is kept.

    ``prefix_budgets`` are those whose prefixes are graded too; they need ``completion.pieces``.
    """
    failed = completion.finish is Finish.ERROR
    whole = opened(completion.text, thinking_open=completion.thinking_open)
    verdict = Verdict(grade=Grade.UNGRADED) if failed else grading.grade(problem, whole)
    pieces = completion.pieces
    answered = first_right = None
    if pieces is not None:
        first_right = answer_tokens(problem, pieces, verdict.grade, tokens=completion.tokens)
        if prefix_budgets:
            answered = _answered(problem, completion, verdict, budgets=prefix_budgets)
    return EvalRecord(
        run=run,
        benchmark=problem.source,
        problem=problem.id,
        sample=completion.sample,
        grade=Grade(verdict.grade),
        tokens=completion.tokens,
        finish=completion.finish,
        cap_tokens=spec.cap_tokens,
        seed=spec.seed,
        difficulty=problem.difficulty,
        effort=problem.effort,
        answer_tokens=first_right,
        prompt=problem.prompt if with_text else None,
        text=completion.text if with_text and (completion.text or not completion.failure) else None,
        pieces=pieces if with_text and with_pieces else None,
        model=model,
        extracted=verdict.extracted,
        answered_budgets=answered,
        score=verdict.score,
        thinking_open=completion.thinking_open,
        failure=completion.failure or (OTHER_END if failed else None),
        thinking_tokens=None if failed else completion.thinking_tokens,
        loops=None if failed else loops(completion.text),
        endpoint=completion.endpoint,
    )


def _answered(
    problem: Problem, completion: Completion, verdict: Verdict, *, budgets: Sequence[int]
) -> tuple[int, ...]:
    """The stop token is no text: from the last token on the whole completion's grade stands."""
    assert completion.pieces is not None
    whole = [b for b in budgets if b >= completion.tokens and verdict.grade is Grade.CORRECT]

    def is_right(text: str) -> bool:
        begun = opened(text, thinking_open=completion.thinking_open)
        return grading.grade(problem, begun).grade is Grade.CORRECT

    parts = answered_budgets(
        completion.pieces,
        budgets=[b for b in budgets if b < completion.tokens],
        is_right=is_right,
    )
    return tuple(sorted((*parts, *whole)))
