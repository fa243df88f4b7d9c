"""From what verl's processes wrote down to the records of a run folder.

The reward workers wrote every graded rollout, the estimator whose rollouts it saw in each call, and
verl's file logger what was learned. The groups are shaped again here, by the recipe and the same
functions that the estimator calls, which keep no state: so the records hold the rewards,
advantages and masks that were trained on.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from tersely.core import jsonl
from tersely.core.errors import DataError
from tersely.core.parsing import parse_json
from tersely.core.types import EvalRecord, Problem, StepRecord, StepTiming
from tersely.engines.learning.learner import LearnStats
from tersely.flows.recipe.recipe import Recipe
from tersely.flows.recipe.shaping import (
    GradedView,
    RolloutColumns,
    ShapedStep,
    graded_view,
    shape_step,
    shaping_of,
)
from tersely.flows.train.record import step_record, write_rollouts
from tersely.flows.verl.estimator import GradedLine, JudgedLine
from tersely.flows.verl.settings import GRADED, JUDGED, calls_a_step, weighted
from tersely.metrics.loops import loops
from tersely.readers.logs.verl import NAMES as VERL_NAMES
from tersely.readers.steplogs import in_our_words

_Kind = TypeVar("_Kind")
# The sampler's mismatch is not among them: verl's is of probabilities, ours of their logarithms.
_LEARNED = ("loss", "grad_norm", "clip_share", "kl_mean", "learning_rate")


class Transcript:
    """Turns what verl writes in one start of a run into records, each step once.

    Args:
        problems: training problems by id.
        test: held-out problems by id.
        attempt: the number of the start, three digits, which its files begin with.
        done: verl's steps that have a record.
        start: verl's steps before this start; None: ``done``.
        until: the last step to take; None: every one.
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
        start: int | None = None,
        until: int | None = None,
    ) -> None:
        self._recipe, self._folder, self._problems, self._test = recipe, folder, problems, test
        self._shaping = shaping_of(recipe)
        self._attempt, self._done = attempt, done
        self._start = done if start is None else start
        self._until = float("inf") if until is None else until
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
            members = self._members(seen)
            columns = _columns([line for lines in members for line in lines])
            shaped = shape_step(self._shaping, [self._view(lines) for lines in members], {})
            record = self._record(self._done, columns, shaped)
            timing = _timing(self._done, self._metrics[self._done])
            write_rollouts(self._folder, self._done - 1, columns, shaped)
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
            s
            for s, lines in self._tests.items()
            if (len(lines) >= whole or s < latest) and s <= self._until
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
            thinking_tokens=line.thinking_tokens,
            answer_tokens=line.answer_tokens,
            loops=loops(line.text),
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
        if step > self._until:
            return None
        first = (step - self._start - 1) * calls
        lines = self._calls[first : first + calls]
        if step not in self._metrics or len(lines) < calls:
            return None
        seen = Counter(uid for line in lines for uid in line.uids)
        there = all(len(self._rows.get(uid, ())) >= rollouts for uid, rollouts in seen.items())
        # What a process of an earlier start had graded is not waited for.
        return seen if there or step + 1 in self._metrics else None

    def _members(self, seen: Mapping[str, int]) -> list[list[GradedLine]]:
        """The step's rollouts by their prompt's uid, in sample order."""
        found = [self._rows[uid][:rollouts] for uid, rollouts in seen.items()]
        return [sorted(lines, key=lambda line: line.sample) for lines in found if lines]

    def _view(self, members: Sequence[GradedLine]) -> GradedView:
        problem = self._problems.get(members[0].problem)
        if problem is None:
            raise DataError(
                f"verl trained on problem {members[0].problem!r}, which is none of the recipe's "
                f"{len(self._problems):,}; leave data.train_files as tersely launch verl sets it"
            )
        return graded_view(problem, _columns(members), pay_unfinished=self._shaping.pay_unfinished)

    def _record(self, step: int, columns: RolloutColumns, shaped: ShapedStep) -> StepRecord:
        figures = in_our_words(self._metrics[step], VERL_NAMES)
        tokens_N = np.array(columns.tokens)
        # As in our loop, rows without a gradient are not counted.
        has_gradient_N = (shaped.advantage_N != 0) | (not weighted(self._recipe))
        stats = LearnStats(
            **{name: figures.get(name, float("nan")) for name in _LEARNED},
            sampler_mismatch=float("nan"),
            update_tokens=int(tokens_N[shaped.keep_N & has_gradient_N].sum()),
            dropped_nonfinite=0,
        )
        entropy = figures.get("entropy_mean", float("nan"))
        if weighted(self._recipe):
            # verl sums it as it sums the loss, and takes the mean of a step's calls.
            entropy *= calls_a_step(self._recipe) / int(tokens_N.sum())
        return step_record(
            step - 1,
            columns,
            shaped,
            stats,
            cap_tokens=self._recipe.sampling.cap_tokens,
            entropy_mean=entropy,
        )


def _columns(lines: Sequence[GradedLine]) -> RolloutColumns:
    return RolloutColumns(
        *([getattr(line, name) for line in lines] for name in RolloutColumns._fields)
    )


class Tail(Generic[_Kind]):
    """The whole lines that were added to files since they were last read."""

    def __init__(self, kind: type[_Kind]) -> None:
        self._kind, self._read_bytes = kind, defaultdict[Path, int](int)

    def new(self, files: Sequence[Path]) -> list[_Kind]:
        """The records that are new, file by file."""
        found: list[_Kind] = []
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
            entry: dict[str, Any] = parse_json(line)
            data = entry["data"].items()
            numbers = {key: float(value) for key, value in data if isinstance(value, int | float)}
            if "training/global_step" in numbers:  # else an evaluation's line
                found[int(entry["step"])] = numbers
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{file} holds a line that is no step of verl's: {error}") from error
    return found


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
