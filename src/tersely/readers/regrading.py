"""A foreign file's texts graded again by a grader of ours, and how far its verdicts agree."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tersely.core.errors import ConfigError, DataError
from tersely.core.types import EvalRecord, Finish, Grade, Problem, Verdict
from tersely.readers.reading import Reading, SplitsTokens
from tersely.tasks import grading
from tersely.tasks.grading.answer import opened
from tersely.tasks.grading.prefixes import first_correct_tokens

# Samples named in a note, and texts whose prefixes are graded at once.
_SHOWN = 3
_BATCH = 16
# A tokenizer whose counts differ by more than this share from the file's is another model's.
_MOST_DIFFERENCE = 0.1


def regrade(path: Path, reading: Reading, *, grader: str) -> Reading:
    """The samples with our grader's verdicts, and a note on how far the file's agree.

    A sample without a text, or whose right answer the grader cannot use, has no grade.

    Raises:
        ConfigError: there is no such grader.
        DataError: the file holds no texts, or lacks a right answer.
    """
    grading.load(grader)
    records = reading.records
    if not any(record.text is not None for record in records):
        raise DataError(f"{path} holds no texts to grade; map them, or leave --regrade out")
    problems = _problems(path, reading, grader=grader)
    bad = grading.check_gold(list(problems.values()))
    if len(bad) == len(problems):
        raise DataError(
            f"{path}: no right answer can be used by the grader {grader}: {_golds(bad)}; choose "
            f"another with --regrade"
        )
    unusable = {(problem.source, problem.id) for problem, _ in bad}
    gradable = [place for place, record in enumerate(records) if _can_grade(record, unusable)]
    verdicts = dict(
        zip(
            gradable,
            grading.grade_all(
                [(problems[_key(records[i])], graded_text(records[i])) for i in gradable]
            ),
            strict=True,
        )
    )
    again = [
        _with_verdict(record, verdicts.get(place, Verdict(grade=Grade.UNGRADED)))
        for place, record in enumerate(records)
    ]
    notes = [*_agreement(grader, records, again, problems)]
    if bad:
        notes.append(
            f"{len(bad)} right answers cannot be used by {grader}, and their samples have no "
            f"grade: {_golds(bad)}"
        )
    return reading._replace(records=again, notes=(*notes, *reading.notes))


def grade_prefixes(
    path: Path,
    reading: Reading,
    *,
    grader: str,
    budgets: Sequence[int],
    tokenizer: SplitsTokens,
) -> Reading:
    """Regraded samples with what was right at each budget, and where a right answer first stood.

    Raises:
        ConfigError: the tokenizer is not the one that the file's counts were made with.
    """
    problems = _problems(path, reading, grader=grader)
    kept = [
        (place, record)
        for place, record in enumerate(reading.records)
        if record.grade is not Grade.UNGRADED and record.finish is not Finish.ERROR
    ]
    pieces = tokenizer.split_all([record.text or "" for _, record in kept])
    records, counted = list(reading.records), 0
    for batch in _batches(zip(kept, pieces, strict=True)):
        counted += sum(len(one) for _, one in batch)
        graded = _grade_batch([(record, one) for (_, record), one in batch], problems, budgets)
        for ((place, _), _), record in zip(batch, graded, strict=True):
            records[place] = record
    stated = sum(record.tokens for _, record in kept)
    if abs(counted - stated) > _MOST_DIFFERENCE * max(stated, 1):
        raise ConfigError(
            f"{path}: its texts have {counted:,} tokens by --tokenizer and {stated:,} by its own "
            f"counts; give the model's own tokenizer and whole texts, or leave it out"
        )
    return reading._replace(records=records)


def graded_text(record: EvalRecord) -> str:
    """The text as it is graded: with the thinking that its prompt opened."""
    return opened(record.text or "", thinking_open=record.thinking_open)


def _problems(path: Path, reading: Reading, *, grader: str) -> dict[tuple[str, str], Problem]:
    problems = {}
    for record in reading.records:
        key = _key(record)
        if key in problems:
            continue
        gold = reading.golds.get(key)
        if gold is None:
            raise DataError(
                f"{path}: problem {record.problem!r} has no right answer to grade against; map "
                f"one with --column gold=NAME, or leave --regrade out"
            )
        problems[key] = Problem(
            id=record.problem,
            prompt=record.prompt or "",
            answer=gold,
            source=record.benchmark,
            grader=grader,
        )
    return problems


def _key(record: EvalRecord) -> tuple[str, str]:
    return record.benchmark, record.problem


def _can_grade(record: EvalRecord, unusable: set[tuple[str, str]]) -> bool:
    failed = record.text is None or record.finish is Finish.ERROR
    return not failed and _key(record) not in unusable


def _with_verdict(record: EvalRecord, verdict: Verdict) -> EvalRecord:
    return replace(
        record, grade=Grade(verdict.grade), extracted=verdict.extracted, score=verdict.score
    )


def _agreement(
    grader: str,
    before: Sequence[EvalRecord],
    after: Sequence[EvalRecord],
    problems: dict[tuple[str, str], Problem],
) -> Iterator[str]:
    """How many verdicts are the file's, and which are not."""
    pairs = [
        (theirs, ours)
        for theirs, ours in zip(before, after, strict=True)
        if Grade.UNGRADED not in (theirs.grade, ours.grade)
    ]
    ours_right = [o for t, o in pairs if _is_right(o) and not _is_right(t)]
    theirs_right = [o for t, o in pairs if _is_right(t) and not _is_right(o)]
    alike = len(pairs) - len(ours_right) - len(theirs_right)
    if not pairs and any(theirs.grade is not Grade.UNGRADED for theirs in before):
        yield f"graded again by {grader}: no sample that the file graded has a grade here"
        return
    if not pairs:
        yield f"graded by {grader}: the file holds no verdicts of its own to compare with"
        return
    yield f"graded again by {grader}: {alike:,} of {len(pairs):,} verdicts are the file's"
    for records, what in (
        (ours_right, "right here and wrong in the file"),
        (theirs_right, "wrong here and right in the file"),
    ):
        if records:
            shown = "; ".join(_example(record, problems) for record in records[:_SHOWN])
            yield f"{len(records):,} {what}: {shown}"
    lost = sum(
        t.grade is not Grade.UNGRADED and o.grade is Grade.UNGRADED
        for t, o in zip(before, after, strict=True)
    )
    if lost:
        yield f"{lost:,} samples that the file graded have no grade here: left out"


def _is_right(record: EvalRecord) -> bool:
    return record.grade is Grade.CORRECT


def _example(record: EvalRecord, problems: dict[tuple[str, str], Problem]) -> str:
    answer = "no answer" if record.extracted is None else repr(record.extracted[:40])
    gold = problems[_key(record)].answer[:40]
    return f"problem {record.problem} sample {record.sample}: {answer} for {gold!r}"


def _golds(bad: Sequence[tuple[Problem, str]]) -> str:
    return "; ".join(
        f"{problem.id}: {problem.answer[:40]!r} ({reason})" for problem, reason in bad[:_SHOWN]
    )


SplitRecords = tuple[tuple[int, EvalRecord], tuple[str, ...]]


def _batches(items: Iterable[SplitRecords]) -> Iterator[list[SplitRecords]]:
    batch: list[SplitRecords] = []
    for item in items:
        batch.append(item)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _grade_batch(
    samples: Sequence[tuple[EvalRecord, tuple[str, ...]]],
    problems: dict[tuple[str, str], Problem],
    budgets: Sequence[int],
) -> list[EvalRecord]:
    """Each record with its prefixes graded: from the end of its text on, its own grade stands."""
    ends = [min(record.tokens, len(pieces)) for record, pieces in samples]
    parts = [
        (place, budget) for place, end in enumerate(ends) for budget in budgets if budget < end
    ]
    verdicts = grading.grade_all(
        [
            (problems[_key(samples[place][0])], _prefix(*samples[place], budget))
            for place, budget in parts
        ]
    )
    right = [
        {budget for budget in budgets if budget >= end and _is_right(record)}
        for (record, _), end in zip(samples, ends, strict=True)
    ]
    for (place, budget), verdict in zip(parts, verdicts, strict=True):
        if verdict.grade is Grade.CORRECT:
            right[place].add(budget)
    return [
        replace(
            record,
            answered_budgets=tuple(sorted(budgets_right)),
            answer_tokens=_answer_tokens(record, pieces, problems),
        )
        for (record, pieces), budgets_right in zip(samples, right, strict=True)
    ]


def _prefix(record: EvalRecord, pieces: Sequence[str], budget: int) -> str:
    return opened("".join(pieces[:budget]), thinking_open=record.thinking_open)


def _answer_tokens(
    record: EvalRecord, pieces: Sequence[str], problems: dict[tuple[str, str], Problem]
) -> int | None:
    if not _is_right(record):
        return None
    found = first_correct_tokens(problems[_key(record)], pieces)
    return record.tokens if found is None else min(found, record.tokens)
