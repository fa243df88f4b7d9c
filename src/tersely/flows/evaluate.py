"""Evaluation: sample once at the largest budget, grade, keep one record a sample."""

from collections.abc import Callable, Sequence
from pathlib import Path

from tersely.core import jsonl
from tersely.core.types import EvalRecord, Grade, Problem, Rollout, SamplingSpec
from tersely.engines.jobs import Sampler
from tersely.tasks import grading

# Texts are kept for the first samples of each problem only: enough to read, small to keep.
SAMPLES_WITH_TEXT = 1


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

    A finished file is read back, not sampled again. Records are appended to ``file.partial`` as
    samples finish; a rerun after a kill keeps whole problems found there and samples the rest.
    """
    if file.is_file():
        return jsonl.read(file, EvalRecord)
    partial = file.with_name(file.name + ".partial")
    kept = _whole_problems(partial, samples=spec.samples)
    by_id = {problem.id: problem for problem in problems}

    def keep(rollout: Rollout) -> None:
        record = _record(by_id[rollout.problem_id], rollout, spec=spec, run=run, split=split_text)
        kept.append(record)
        jsonl.append(partial, record)
        on_record(record)

    done = {record.problem for record in kept}
    missing = [problem for problem in problems if problem.id not in done]
    sampler.sample(missing, spec, on_rollout=keep)
    order = {problem.id: place for place, problem in enumerate(problems)}
    kept.sort(key=lambda record: (order[record.problem], record.sample))
    jsonl.write(file, kept)
    partial.unlink(missing_ok=True)
    return kept


def _whole_problems(partial: Path, *, samples: int) -> list[EvalRecord]:
    if not partial.is_file():
        return []
    jsonl.repair_torn_tail(partial)
    records = jsonl.read(partial, EvalRecord)
    count: dict[str, int] = {}
    for record in records:
        count[record.problem] = count.get(record.problem, 0) + 1
    kept = [record for record in records if count[record.problem] == samples]
    jsonl.write(partial, kept)
    return kept


def _record(
    problem: Problem,
    rollout: Rollout,
    *,
    spec: SamplingSpec,
    run: str,
    split: Callable[[Sequence[int]], tuple[str, ...]],
) -> EvalRecord:
    verdict = grading.grade(problem, rollout)
    with_text = rollout.sample < SAMPLES_WITH_TEXT
    return EvalRecord(
        run=run,
        benchmark=problem.source,
        problem=problem.id,
        sample=rollout.sample,
        grade=Grade(verdict.grade),
        tokens=rollout.tokens,
        finish=rollout.finish,
        cap_tokens=spec.max_tokens,
        seed=spec.seed,
        difficulty=problem.difficulty,
        prompt=problem.prompt if with_text else None,
        text=rollout.text if with_text else None,
        pieces=split(rollout.completion_ids) if with_text else None,
    )
