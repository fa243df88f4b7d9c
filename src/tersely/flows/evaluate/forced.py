"""The *forced* protocol: at each budget the thinking is closed and the model has to answer."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from tersely.core import jsonl
from tersely.core.errors import DataError
from tersely.core.forcing import ForcedRecord, TokenRecord
from tersely.core.types import EvalRecord, Finish, Grade, Problem, Rollout, SamplingSpec, Verdict
from tersely.engines.local.jobs import Job
from tersely.engines.tokens import decode_whole
from tersely.flows.evaluate.local import TOKENS_FILE, Local
from tersely.flows.evaluate.plan import Plan
from tersely.flows.observer import Observer
from tersely.readers.evaluations import RECORDS_FILE
from tersely.tasks import grading
from tersely.tasks.grading.answer import END_THINK, answer_part, closes_thinking, opened


class CutSample(NamedTuple):
    """One sample cut at one budget, and the text that is put in after it."""

    problem: Problem
    sample: int
    budget_tokens: int
    made: TokenRecord
    closing: str

    @property
    def job_id(self) -> str:
        """Its own random numbers: a function of problem, budget and sample."""
        return f"{self.problem.id} forced at {self.budget_tokens}"


class ForcedAnswer(NamedTuple):
    """What the model went on with; ``whole`` is prefix, closing text and answer."""

    whole: str
    text: str
    tokens: int
    closing_tokens: int
    finish: Finish
    failure: str | None = None


@runtime_checkable
class GoesOn(Protocol):
    """What has a model go on from the beginning of a sample: in this process, or on a server."""

    def beginning(self, made: TokenRecord, budget_tokens: int) -> str:
        """The text of a sample's first tokens."""

    def prompt_of(self, problem: Problem, made: TokenRecord) -> str:
        """The prompt as the chat template wrote it; empty where that is not known."""

    def go_on(
        self,
        cuts: Sequence[CutSample],
        spec: SamplingSpec,
        on_answer: Callable[[CutSample, ForcedAnswer], None],
    ) -> None:
        """Has the model answer after each cut; each answer is handed over as it ends."""


def force_answers(
    plan: Plan, problems: Sequence[Problem], engine: GoesOn, *, observer: Observer, file: Path
) -> None:
    """Generates and grades an answer for every sample that a budget cuts; appends to ``file``.

    What is there already is not generated again. The closing text is put in only where the
    prefix, or the prompt, has not closed the thinking already.
    """
    cuts = _cuts(plan, problems, engine)
    done = set()
    if file.is_file():
        jsonl.repair_torn_tail(file)
        records = jsonl.read(file, ForcedRecord)
        if plan.retry_failed and any(record.finish is Finish.ERROR for record in records):
            records = [record for record in records if record.finish is not Finish.ERROR]
            jsonl.write(file, records)
        done = {(r.problem, r.sample, r.budget_tokens) for r in records}
    else:
        jsonl.write(file, [])
    left = [cut for cut in cuts if (cut.problem.id, cut.sample, cut.budget_tokens) not in done]
    observer.on_sampling("forcing answers", len(cuts), len(cuts) - len(left))

    def keep(cut: CutSample, answer: ForcedAnswer) -> None:
        jsonl.append(file, _record(cut, answer))
        observer.on_sample(None)

    engine.go_on(left, _spec(plan), keep)


class LocalAnswers(NamedTuple):
    """A model in this process goes on, token by token, from what it sampled."""

    local: Local
    close_text: str

    def beginning(self, made: TokenRecord, budget_tokens: int) -> str:
        """The text of a sample's first tokens."""
        return decode_whole(self.local.tokenizer, made.completion_ids[:budget_tokens])

    def prompt_of(self, problem: Problem, made: TokenRecord) -> str:
        """The prompt as the chat template wrote it."""
        return decode_whole(self.local.tokenizer, made.prompt_ids)

    def go_on(
        self,
        cuts: Sequence[CutSample],
        spec: SamplingSpec,
        on_answer: Callable[[CutSample, ForcedAnswer], None],
    ) -> None:
        """Has the model answer after each cut."""
        tokenizer = self.local.tokenizer
        closing = tuple(tokenizer(self.close_text, add_special_tokens=False)["input_ids"])
        put_in = [closing if cut.closing else () for cut in cuts]
        prefixes = [
            cut.made.completion_ids[: cut.budget_tokens] + after
            for cut, after in zip(cuts, put_in, strict=True)
        ]
        jobs = [
            Job(number, cut.job_id, cut.sample, cut.made.prompt_ids + prefix)
            for number, (cut, prefix) in enumerate(zip(cuts, prefixes, strict=True))
        ]
        place_of = {(cut.job_id, cut.sample): place for place, cut in enumerate(cuts)}

        def keep(rollout: Rollout) -> None:
            place = place_of[rollout.problem_id, rollout.sample]
            answer = ForcedAnswer(
                whole=decode_whole(tokenizer, prefixes[place]) + rollout.text,
                text=rollout.text,
                tokens=rollout.tokens,
                closing_tokens=len(put_in[place]),
                finish=rollout.finish,
            )
            on_answer(cuts[place], answer)

        self.local.sampler.run(jobs, spec, on_rollout=keep)


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


def _cuts(plan: Plan, problems: Sequence[Problem], engine: GoesOn) -> list[CutSample]:
    by_id = {problem.id: problem for problem in problems}
    cuts = []
    for made in _made(plan, problems):
        problem = by_id[made.problem]
        for budget in sorted(plan.budgets):
            if made.finish is Finish.STOP and _length(made) <= budget:
                continue
            closing = "" if _answers(engine, problem, made, budget) else plan.close_text
            cuts.append(CutSample(problem, made.sample, budget, made, closing))
    return cuts


def _made(plan: Plan, problems: Sequence[Problem]) -> list[TokenRecord]:
    """The tokens of all samples but those that failed.

    Raises:
        DataError: some are missing.
    """
    # A sample whose record was torn off by a crash was made again: its tokens stand twice; the
    # last are those of the record.
    file = plan.out / TOKENS_FILE
    read = jsonl.read(file, TokenRecord) if file.is_file() else []
    made = {(t.problem, t.sample): t for t in read}
    wanted = len(problems) * plan.spec.samples
    if plan.endpoint is not None:
        records = jsonl.read(plan.out / RECORDS_FILE, EvalRecord)
        # Whether prompts open the thinking is settled once all samples are there.
        opens = {
            (r.problem, r.sample): r.thinking_open for r in records if r.finish is not Finish.ERROR
        }
        made = {
            key: replace(t, thinking_open=opens[key]) for key, t in made.items() if key in opens
        }
        wanted -= len(records) - len(opens)
    if len(made) < wanted:
        raise DataError(
            f"{file} holds the tokens of {len(made):,} of {wanted:,} samples; start anew in "
            "another folder"
        )
    return list(made.values())


def _length(made: TokenRecord) -> int:
    return len(made.completion_ids) if made.tokens is None else made.tokens


def _answers(engine: GoesOn, problem: Problem, made: TokenRecord, budget_tokens: int) -> bool:
    """Whether the thinking is over at the end of the prefix, in it or in the prompt's own end."""
    text = engine.beginning(made, budget_tokens)
    begun = opened(text, thinking_open=made.thinking_open)
    closed = END_THINK in text or closes_thinking(engine.prompt_of(problem, made))
    return closed and answer_part(begun) is not None


def _record(cut: CutSample, answer: ForcedAnswer) -> ForcedRecord:
    failed = answer.finish is Finish.ERROR
    begun = opened(answer.whole, thinking_open=cut.made.thinking_open)
    verdict = Verdict(grade=Grade.UNGRADED) if failed else grading.grade(cut.problem, begun)
    return ForcedRecord(
        problem=cut.problem.id,
        sample=cut.sample,
        budget_tokens=cut.budget_tokens,
        grade=verdict.grade,
        extra_tokens=answer.closing_tokens + answer.tokens,
        finish=answer.finish,
        extracted=verdict.extracted,
        text=answer.text,
        failure=answer.failure,
    )
