"""The *forced* protocol: at each budget the thinking is closed and the model has to answer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tersely.core import jsonl
from tersely.core.errors import DataError
from tersely.core.types import Finish, ForcedRecord, Problem, Rollout, SamplingSpec, TokenRecord
from tersely.engines.local.jobs import Job
from tersely.engines.tokens import decode_whole
from tersely.flows.evaluate.local import TOKENS_FILE, Local
from tersely.flows.evaluate.plan import Plan
from tersely.flows.observer import Observer
from tersely.tasks import grading
from tersely.tasks.grading.answer import END_THINK, answer_part, closes_thinking, opened


class _Cut(NamedTuple):
    """One sample cut at one budget: the tokens to go on from, and how many were put in."""

    problem: Problem
    sample: int
    budget_tokens: int
    thinking_open: bool
    prompt_ids: tuple[int, ...]
    prefix_ids: tuple[int, ...]
    closing_tokens: int


def force_answers(
    plan: Plan, problems: Sequence[Problem], local: Local, *, observer: Observer, file: Path
) -> None:
    """Generates and grades an answer for every sample that a budget cuts; appends to ``file``.

    What is there already is not generated again. The closing text is put in only where the
    prefix, or the prompt, has not closed the thinking already.
    """
    cuts = _cuts(plan, problems, local.tokenizer)
    done = set()
    if file.is_file():
        jsonl.repair_torn_tail(file)
        records = jsonl.read(file, ForcedRecord)
        done = {(r.problem, r.sample, r.budget_tokens) for r in records}
    else:
        jsonl.write(file, [])
    left = {_key(cut): cut for cut in cuts if (cut.problem.id, *_key(cut)[1:]) not in done}
    observer.on_sampling("forcing answers", len(cuts), len(cuts) - len(left))
    jobs = [
        Job(number, _job_id(cut), cut.sample, cut.prompt_ids + cut.prefix_ids)
        for number, cut in enumerate(left.values())
    ]
    by_job = {(_job_id(cut), cut.sample): cut for cut in left.values()}

    def keep(rollout: Rollout) -> None:
        cut = by_job[rollout.problem_id, rollout.sample]
        jsonl.append(file, _record(cut, rollout, local.tokenizer))
        observer.on_sample(None)

    local.sampler.run(jobs, _spec(plan), on_rollout=keep)


def _spec(plan: Plan) -> SamplingSpec:
    spec = plan.spec
    return SamplingSpec(
        samples=1,
        cap_tokens=plan.allowance_tokens,
        seed=spec.seed,
        temperature=spec.temperature,
        top_p=spec.top_p,
        top_k=spec.top_k,
    )


def _cuts(plan: Plan, problems: Sequence[Problem], tokenizer: Any) -> list[_Cut]:
    by_id = {problem.id: problem for problem in problems}
    closing = tuple(tokenizer(plan.close_text, add_special_tokens=False)["input_ids"])
    # A sample whose record was torn off by a crash was made again: its tokens stand twice, alike.
    file = plan.out / TOKENS_FILE
    made = (
        {(t.problem, t.sample): t for t in jsonl.read(file, TokenRecord)} if file.is_file() else {}
    )
    if len(made) < len(problems) * plan.spec.samples:
        raise DataError(
            f"{file} holds the tokens of {len(made):,} of "
            f"{len(problems) * plan.spec.samples:,} samples; start anew in another folder"
        )
    cuts = []
    for tokens in made.values():
        for budget in sorted(plan.budgets):
            if tokens.finish is Finish.STOP and len(tokens.completion_ids) <= budget:
                continue
            prefix = tokens.completion_ids[:budget]
            put_in = () if _answers(tokenizer, tokens, prefix) else closing
            cuts.append(
                _Cut(
                    problem=by_id[tokens.problem],
                    sample=tokens.sample,
                    budget_tokens=budget,
                    thinking_open=tokens.thinking_open,
                    prompt_ids=tokens.prompt_ids,
                    prefix_ids=prefix + put_in,
                    closing_tokens=len(put_in),
                )
            )
    return cuts


def _answers(tokenizer: Any, tokens: TokenRecord, prefix: Sequence[int]) -> bool:
    """Whether the thinking is over at the end of the prefix, in it or in the prompt's own end."""
    text = decode_whole(tokenizer, prefix)
    begun = opened(text, thinking_open=tokens.thinking_open)
    closed = END_THINK in text or closes_thinking(decode_whole(tokenizer, tokens.prompt_ids))
    return closed and answer_part(begun) is not None


def _key(cut: _Cut) -> tuple[str, int, int]:
    return cut.problem.id, cut.sample, cut.budget_tokens


def _job_id(cut: _Cut) -> str:
    """Its own random numbers: a function of problem, budget and sample."""
    return f"{cut.problem.id} forced at {cut.budget_tokens}"


def _record(cut: _Cut, rollout: Rollout, tokenizer: Any) -> ForcedRecord:
    prefix = decode_whole(tokenizer, cut.prefix_ids)
    begun = opened(prefix + rollout.text, thinking_open=cut.thinking_open)
    verdict = grading.grade(cut.problem, begun)
    return ForcedRecord(
        problem=cut.problem.id,
        sample=cut.sample,
        budget_tokens=cut.budget_tokens,
        grade=verdict.grade,
        extra_tokens=cut.closing_tokens + rollout.tokens,
        finish=rollout.finish,
        extracted=verdict.extracted,
        text=rollout.text,
    )
