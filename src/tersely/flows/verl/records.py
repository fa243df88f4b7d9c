"""From what verl's processes wrote down to the records of a run folder.

The reward workers wrote every graded rollout, the estimator whose rollouts it saw in each call, and
verl's file logger what was learned. The groups are shaped again here, by the recipe and the same
functions that the estimator calls, which keep no state: so the records hold the rewards,
advantages and masks that were trained on.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from tersely.core import jsonl
from tersely.core.errors import DataError
from tersely.core.types import (
    EvalRecord,
    Group,
    Problem,
    Rollout,
    StepRecord,
    StepTiming,
    Verdict,
)
from tersely.engines.learning.learner import LearnStats
from tersely.flows.recipe.recipe import Recipe
from tersely.flows.recipe.shaping import Shaped
from tersely.flows.train.record import step_record
from tersely.flows.train.step import shape_all, write_rollouts
from tersely.flows.verl.estimator import GradedLine, JudgedLine
from tersely.flows.verl.settings import GRADED, JUDGED, calls_a_step, weighted
from tersely.readers.steplogs import VERL_NAMES, in_our_words

_Line = TypeVar("_Line")
# Token ids stay with verl; a record needs their number only.
_UNKNOWN_ID = -1
_LEARNED = ("loss", "grad_norm", "clip_share", "kl_mean", "learning_rate")


class Transcript:
    """Turns what verl writes in one start of a run into records, each step once.

    Args:
        problems: training problems by id.
        test: held-out problems by id.
        attempt: the number of the start, three digits, which its files begin with.
        done: verl's steps before it.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        problems: Mapping[str, Problem],
        test: Mapping[str, Problem],
        *,
        attempt: str = "000",
        done: int = 0,
    ) -> None:
        self._recipe, self._folder, self._problems, self._test = recipe, folder, problems, test
        self._attempt, self._start, self._done = attempt, done, done
        self._graded, self._judged = Tail(GradedLine), Tail(JudgedLine)
        self._metrics: dict[int, dict[str, float]] = {}
        self._calls: list[JudgedLine] = []
        self._rows: dict[str, list[GradedLine]] = defaultdict(list)
        self._tests: dict[int, list[GradedLine]] = defaultdict(list)

    def take(self) -> list[tuple[StepRecord, StepTiming]]:
        """The records of steps that are whole and were not taken yet; writes them.

        Raises:
            DataError: verl trained on other problems, or wrote something else.
        """
        self._read()
        taken = []
        while (seen := self._seen(self._done + 1)) is not None:
            self._done += 1
            shaped = self._shape(seen)
            record = self._record(self._done, shaped)
            timing = _timing(self._done, self._metrics[self._done])
            write_rollouts(self._folder, self._done - 1, shaped)
            jsonl.append(self._folder / "timings.jsonl", timing)
            jsonl.append(self._folder / "steps.jsonl", record)
            taken.append((record, timing))
            for uid in seen:
                del self._rows[uid]
        return taken

    def take_evaluations(self) -> list[tuple[int, list[EvalRecord]]]:
        """verl's validations that are over and not written yet, by the steps done; writes them.

        One is over when all its rollouts are there, or a later step is: verl goes on without
        rollouts that failed.
        """
        self._read()
        whole, latest = (
            len(self._test) * self._recipe.evaluation.samples,
            max(self._metrics, default=0),
        )
        taken = []
        for step in sorted(
            s for s, lines in self._tests.items() if len(lines) >= whole or s < latest
        ):
            records = [self._evaluated(line) for line in self._tests.pop(step)]
            (self._folder / "eval").mkdir(exist_ok=True)
            jsonl.write(self._folder / "eval" / f"step-{step:06d}.jsonl", records)
            taken.append((step, records))
        return taken

    def _evaluated(self, line: GradedLine) -> EvalRecord:
        problem = self._test[line.problem]
        return EvalRecord(
            run=self._folder.name,
            benchmark=problem.source,
            problem=problem.id,
            sample=line.sample,
            grade=line.grade,
            tokens=line.tokens,
            finish=line.finish,
            cap_tokens=self._recipe.sampling.cap_tokens,
            seed=self._recipe.seed,
            difficulty=problem.difficulty,
            extracted=line.extracted,
            text=line.text,
            thinking_open=line.thinking_open,
        )

    def _read(self) -> None:
        inside = self._folder / "verl"
        for line in self._graded.new(sorted((inside / GRADED).glob(f"{self._attempt}-*.jsonl"))):
            if line.split == "train":
                self._rows[line.uid].append(line)
            else:
                self._tests[line.step].append(line)
        self._calls += self._judged.new(sorted((inside / JUDGED).glob(f"{self._attempt}-*.jsonl")))
        file = metrics_file(self._folder, self._attempt)
        if file.is_file():
            self._metrics = read_metrics(file)

    def _seen(self, step: int) -> Counter[str] | None:
        """How many rollouts of which prompts the step was trained on; None if it is not whole."""
        calls = calls_a_step(self._recipe)
        first = (step - self._start - 1) * calls
        lines = self._calls[first : first + calls]
        if step not in self._metrics or len(lines) < calls:
            return None
        seen = Counter(uid for line in lines for uid in line.uids)
        there = all(len(self._rows.get(uid, ())) >= rollouts for uid, rollouts in seen.items())
        # What a process of an earlier start had graded is not waited for.
        return seen if there or step + 1 in self._metrics else None

    def _shape(self, seen: Mapping[str, int]) -> list[Shaped]:
        rows = [line for uid, rollouts in seen.items() for line in self._rows[uid][:rollouts]]
        return shape_all(self._recipe, groups_of(rows, self._problems), {})[1]

    def _record(self, step: int, shaped: Sequence[Shaped]) -> StepRecord:
        figures = in_our_words(self._metrics[step], VERL_NAMES)
        tokens = [
            rollout.tokens
            for s in shaped
            for rollout, keep in zip(s.group.rollouts, s.reward.keep_G, strict=True)
            if keep
        ]
        stats = LearnStats(
            **{name: figures.get(name, float("nan")) for name in _LEARNED},
            sampler_mismatch=float("nan"),
            update_tokens=sum(tokens),
            dropped_nonfinite=0,
            updates=self._recipe.learner.staleness,
        )
        target = self._recipe.target
        record = step_record(
            step - 1,
            shaped,
            stats,
            target_tokens=float((target.parameters if target else {}).get("tokens", "nan")),
            cap_tokens=self._recipe.sampling.cap_tokens,
        )
        entropy = figures.get("entropy_mean", float("nan"))
        if weighted(self._recipe):
            # verl sums it as it sums the loss, and takes the mean of a step's calls.
            entropy *= calls_a_step(self._recipe) / record.sampled_tokens
        return replace(record, entropy_mean=entropy)


class Tail(Generic[_Line]):
    """The whole lines that were added to files since they were last read."""

    def __init__(self, kind: type[_Line]) -> None:
        self._kind, self._read_bytes = kind, defaultdict[Path, int](int)

    def new(self, files: Sequence[Path]) -> list[_Line]:
        """The records that are new, file by file."""
        found: list[_Line] = []
        for file in files:
            with file.open("rb") as content:
                content.seek(self._read_bytes[file])
                whole = content.read().rpartition(b"\n")[0]
            if whole:
                self._read_bytes[file] += len(whole) + 1
                found += jsonl.parse(whole.split(b"\n"), self._kind, name=str(file))
        return found


def metrics_file(folder: Path, attempt: str) -> Path:
    """Where verl logs in one start of a run; it begins the file anew."""
    return folder / "verl" / f"metrics-{attempt}.jsonl"


def read_metrics(file: Path) -> dict[int, dict[str, float]]:
    """verl's file log: the numbers of each step; a line still being written is left for later.

    Raises:
        DataError: a whole line is not a step's.
    """
    found: dict[int, dict[str, float]] = {}
    for line in file.read_bytes().split(b"\n")[:-1]:
        try:
            entry: dict[str, Any] = json.loads(line)
            data = entry["data"].items()
            numbers = {key: float(value) for key, value in data if isinstance(value, int | float)}
            if "training/global_step" in numbers:  # else an evaluation's line
                found[int(entry["step"])] = numbers
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{file} holds a line that is no step of verl's: {error}") from error
    return found


def groups_of(lines: Sequence[GradedLine], problems: Mapping[str, Problem]) -> list[Group]:
    """Graded rollouts by their prompt's uid, in order of first appearance.

    Raises:
        DataError: one is of a problem that the recipe does not have.
    """
    by_uid: dict[str, list[GradedLine]] = {}
    for line in lines:
        by_uid.setdefault(line.uid, []).append(line)
    return [
        _group(sorted(members, key=lambda m: m.sample), problems) for members in by_uid.values()
    ]


def _group(members: Sequence[GradedLine], problems: Mapping[str, Problem]) -> Group:
    first = members[0]
    problem = problems.get(first.problem)
    if problem is None:
        raise DataError(
            f"verl trained on problem {first.problem!r}, which is none of the recipe's "
            f"{len(problems):,}; leave data.train_files as tersely launch verl sets it"
        )
    rollouts = tuple(
        Rollout(
            problem_id=line.problem,
            sample=line.sample,
            prompt_ids=(),
            completion_ids=(_UNKNOWN_ID,) * line.tokens,
            logprobs=np.full(line.tokens, np.nan),
            entropy=float("nan"),
            finish=line.finish,
            policy_step=line.step - 1,
            text=line.text,
            thinking_open=line.thinking_open,
        )
        for line in members
    )
    verdicts = tuple(Verdict(grade=line.grade, extracted=line.extracted) for line in members)
    return Group(problem=problem, rollouts=rollouts, verdicts=verdicts)


def _timing(step: int, figures: Mapping[str, float]) -> StepTiming:
    """verl grades while it samples."""
    sampled, learned = (figures.get(f"timing_s/{name}", 0.0) for name in ("gen", "update_actor"))
    return StepTiming(
        step=step - 1,
        sample_s=sampled,
        grade_s=0.0,
        learn_s=learned,
        other_s=max(0.0, figures.get("timing_s/step", 0.0) - sampled - learned),
    )
