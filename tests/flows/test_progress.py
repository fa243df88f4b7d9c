"""What the displays print off a terminal, and how they are asked to stop."""

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest
import typer
from rich.console import Console

from tersely.cli import sampling
from tersely.core.types import EvalRecord, Finish, Grade, StepRecord, StepTiming
from tersely.dynamics.alarms import Alarm, Severity
from tersely.flows.evaluate import progress as evaluation
from tersely.flows.observer import QUIET, Observer
from tersely.flows.study import schedule
from tersely.flows.study.plan import StudyRun
from tersely.flows.study.pool import StudyPool
from tersely.flows.study.progress import StudyProgress
from tersely.flows.study.work import StudyFolders
from tersely.flows.train.progress import Progress


@pytest.fixture
def console() -> Console:
    return Console(file=StringIO(), width=40)


def said(console: Console) -> list[str]:
    return console.file.getvalue().splitlines()


def sample(grade: Grade, finish: Finish, tokens: int) -> EvalRecord:
    return EvalRecord(
        run="r",
        benchmark="b",
        problem="p",
        sample=0,
        grade=grade,
        tokens=tokens,
        finish=finish,
        cap_tokens=100,
        seed=0,
    )


def step(number: int) -> StepRecord:
    fields = dict.fromkeys(StepRecord.__dataclass_fields__, 0)
    floats = {name for name, of in StepRecord.__dataclass_fields__.items() if of.type is float}
    fields |= dict.fromkeys(floats, 0.0) | {"step": number, "tokens_mean": 31.25}
    return StepRecord(**fields | {"accuracy": 0.5, "positive_share": 0.25})


def test_every_display_of_samples_is_an_observer(console: Console) -> None:
    for each in (Progress(console), evaluation.EvalProgress(console), QUIET):
        assert isinstance(each, Observer)
        assert not each.wants_stop()


def test_a_training_prints_its_first_tenth_and_last_step(console: Console) -> None:
    progress = Progress(console)
    timing = StepTiming(step=0, sample_s=1.0, grade_s=0.5, learn_s=0.25, other_s=0.25)
    for number in range(12):
        progress.on_step(step(number), timing, steps=12)
    # Two seconds a step: 11, 2 and 0 steps are left.
    numbers = "length 31.2 tokens  accuracy 0.50  rewarded 0.25"
    assert said(console) == [
        f"step 1/12  {numbers}  22 s left",
        f"step 10/12  {numbers}  4 s left",
        f"step 12/12  {numbers}  0 s left",
    ]


def test_a_training_prints_evaluations_and_alarms(console: Console) -> None:
    progress = Progress(console)
    right, cut = (sample(Grade.CORRECT, end, 10) for end in (Finish.STOP, Finish.LENGTH))
    progress.on_evaluation(8, [right, cut, cut])
    progress.on_alarm(
        Alarm(
            name="collapse",
            severity=Severity.ERROR,
            step=8,
            evidence="lengths [of all] fell",
            reason="",
            advice="raise the target",
        )
    )
    assert said(console) == [
        "held-out after step    8: accuracy 0.333, length 10.0 tokens (n = 3 samples)",
        "error: collapse at step 9: lengths [of all] fell. Raise the target.",
    ]


def test_an_evaluation_prints_its_counts(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "PLAIN_EVERY_S", 0.0)
    # Begun at 0 s; both samples end at 4 s.
    clock = iter([0.0, 0.0, *[4.0] * 6])
    monkeypatch.setattr(evaluation, "monotonic", lambda: next(clock))
    progress = evaluation.EvalProgress(console)
    progress.on_sampling("sampling", 5, 1)
    progress.on_sample(sample(Grade.CORRECT, Finish.STOP, 10))
    progress.on_sample(sample(Grade.CORRECT, Finish.LENGTH, 30))
    assert said(console) == [
        "sampling: 1 of 5 are there already",
        "2 of 5 samples  so far 100% right, 10 tokens each  2 tokens/s  about 12 s left",
        "3 of 5 samples  so far 50% right, 20 tokens each  10 tokens/s  about 4 s left",
    ]
    assert progress.done == 3


def test_a_first_sample_that_failed_with_tokens_is_counted_and_not_averaged(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "PLAIN_EVERY_S", 0.0)
    clock = iter([0.0, 0.0, *[4.0] * 6])
    monkeypatch.setattr(evaluation, "monotonic", lambda: next(clock))
    progress = evaluation.EvalProgress(console)
    progress.on_sampling("sampling", 2, 0)
    progress.on_sample(sample(Grade.UNGRADED, Finish.ERROR, 50))
    progress.on_sample(sample(Grade.CORRECT, Finish.STOP, 10))
    assert [line.split("  about")[0] for line in said(console)] == [
        "1 of 2 samples  ",
        "2 of 2 samples  so far 100% right, 10 tokens each  2 tokens/s  1 failed",
    ]


def test_forced_answers_are_counted_and_not_judged(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "PLAIN_EVERY_S", 0.0)
    progress = evaluation.EvalProgress(console)
    progress.on_sampling("forcing answers", 1, 0)
    progress.on_sample(None)
    assert said(console) == ["1 of 1 samples    about 0 s left"]


def test_the_first_interrupt_asks_to_stop_and_the_second_ends(console: Console) -> None:
    progress = Progress(console)
    progress.display.ask_to_stop(signal.SIGINT, None)
    assert progress.wants_stop()
    assert said(console) == [
        "stopping after this step (again: at once, back to the checkpoint) ..."
    ]
    with pytest.raises(KeyboardInterrupt):
        progress.display.ask_to_stop(signal.SIGINT, None)


def test_the_runs_of_a_study_are_asked_to_stop(
    console: Console, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    event = threading.Event()

    @contextmanager
    def threads(jobs: int):
        with ThreadPoolExecutor(jobs) as executor:
            yield executor, event

    monkeypatch.setattr(schedule, "_executor", threads)
    monkeypatch.setattr(schedule, "POLL_S", 0.01)
    # A run that goes on until it is asked to stop is not finished.
    monkeypatch.setattr(schedule, "do", lambda unit, bench: not event.wait(20))
    units = [StudyRun(settings={"learner": {"steps": 5}}, pool="easy", seed=s) for s in (0, 1)]
    bench = StudyFolders(StudyPool(tmp_path), tmp_path, tmp_path, tmp_path / "runs", keep=False)
    progress = StudyProgress(console, total=2, jobs=2)
    progress.display.ask_to_stop(signal.SIGINT, None)
    assert schedule.run_units(units, bench, jobs=2, observer=progress) == []
    assert said(console) == [
        "2 runs, 2 at a time",
        "stopping: every run saves after its step (again: at once) ...",
    ]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C as in a terminal: a shell that starts tests in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(
    ("out", "words"),
    [
        (Path("some/folder"), "stopped; 3 samples are saved in some/folder. The same command "),
        (None, "stopped; what was sampled is kept. The same command goes on.\n"),
    ],
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_sampling_keeps_the_samples_and_says_so(
    console: Console, monkeypatch: pytest.MonkeyPatch, out: Path | None, words: str, number: int
) -> None:
    monkeypatch.setattr(sampling, "messages", console)
    before = signal.getsignal(number)

    def interrupted() -> None:
        with sampling.sampling_progress(out) as progress:
            progress.done = 3
            os.kill(os.getpid(), number)
            threading.Event().wait(5)

    with pytest.raises(typer.Exit) as ended:
        interrupted()
    assert ended.value.exit_code == 130
    assert console.file.getvalue().startswith(words)
    assert signal.getsignal(number) == before
