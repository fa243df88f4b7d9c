"""A small study from its file to its page; stopped and killed, it goes on."""

import gzip
import html
import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import children
import numpy as np
import pytest
from typer.testing import CliRunner

from tersely.cli import app
from tersely.core.errors import DataError
from tersely.flows.study import work
from tersely.flows.study.plan import read_study, unit_of
from tersely.flows.study.results import (
    PACKED,
    finished_units,
    pack_results,
    read_result,
    read_results,
    result_file,
    write_result,
)

GROUP = Path(__file__).with_name("group.py")
Words = Callable[..., list[str]]


@pytest.fixture(scope="module")
def words(small_set: dict[str, object]) -> Words:
    settings = [w for k, v in small_set.items() for w in ("--set", f"{k}={json.dumps(v)}")]
    return lambda file, out, *more: [
        *("study", str(file), "--seeds", "3", "--out", str(out)),
        *settings,
        *more,
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, words: Words, study_text: str) -> Path:
    """A folder in which the small study was stopped by a signal, killed, and then finished."""
    folder = tmp_path_factory.mktemp("study")
    file = folder / "small.toml"
    file.write_text(study_text)
    told = words(file, folder / "out", "--jobs", "2")
    ends = (("spawn", signal.SIGINT, 130), ("fork", signal.SIGKILL, -signal.SIGKILL))
    for kind, number, code in ends:
        before = steps_in(folder)
        study = children.start(GROUP, kind, *told)
        wait_for_steps(folder, beyond=before)
        os.kill(study.process.pid, number)
        assert study.wait().returncode == code, study.stderr
        wait_for_the_end_of(study.process.pid)
    done = children.run(GROUP, "fork", *told)
    assert done.returncode == 0, done.stderr
    return folder


def steps_in(folder: Path) -> int:
    files = folder.glob("out/work/*-seed-*/steps.jsonl")
    return sum(file.read_bytes().count(b"\n") for file in files)


def wait_for_steps(folder: Path, *, beyond: int) -> None:
    for _ in range(2400):
        if steps_in(folder) > beyond:
            return
        time.sleep(0.05)
    raise AssertionError(f"no step after {beyond} in {folder}")


def wait_for_the_end_of(group: int) -> None:
    """Workers notice that their parent is gone and end."""
    for _ in range(2400):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError("a worker goes on")


@pytest.fixture
def long_study(
    tmp_path: Path, words: Words, study_text: str, request: pytest.FixtureRequest
) -> Iterator[children.Child]:
    """The small study with a setting by which it takes minutes, when its runs have begun."""
    file = tmp_path / "small.toml"
    file.write_text(study_text)
    kind, setting = request.param
    told = words(file, tmp_path / "out", "--jobs", "2", "--set", setting)
    study = children.start(GROUP, kind, *told)
    until = time.monotonic() + 120
    while not list(tmp_path.glob("out/work/*-seed-*/eval")):
        assert time.monotonic() < until, study.stderr
        time.sleep(0.05)
    yield study
    wait_for_the_end_of(study.process.pid)


@pytest.mark.parametrize("long_study", [("fork", "learner.steps=400")], indirect=True)
def test_a_run_whose_process_is_killed_says_what_to_do(long_study: children.Child) -> None:
    pid = long_study.process.pid
    workers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    os.kill(int(workers[-1]), signal.SIGKILL)
    ended = long_study.wait()
    assert ended.returncode == 1
    assert "was killed, as systems do when memory runs out (2 side by side)" in ended.stderr
    assert "again with --jobs 1: runs go on from their last checkpoint" in ended.stderr


@pytest.mark.parametrize("long_study", [("fork", "evaluation.samples=20000")], indirect=True)
def test_asked_twice_to_stop_it_stops_at_once(long_study: children.Child) -> None:
    os.kill(long_study.process.pid, signal.SIGINT)
    long_study.wait_for("stopping")
    began = time.monotonic()
    os.kill(long_study.process.pid, signal.SIGINT)
    long_study.wait()
    assert time.monotonic() - began < 10


def test_workers_leave_what_is_sent_to_all_processes_to_their_parent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handlers: dict[int, object] = {}
    monkeypatch.setattr(work.signal, "signal", handlers.__setitem__)
    monkeypatch.setattr(work, "_end_with_parent", lambda: None)
    monkeypatch.setattr(work, "_stop", None)
    work.prepare(multiprocessing.get_context("spawn").Event())
    assert handlers == {signal.SIGINT: signal.SIG_IGN, signal.SIGTERM: signal.SIG_IGN}


@pytest.mark.parametrize("long_study", [("spawn", "learner.steps=400")], indirect=True)
def test_a_signal_to_all_its_processes_lets_every_run_save(long_study: children.Child) -> None:
    os.killpg(long_study.process.pid, signal.SIGTERM)
    ended = long_study.wait()
    assert ended.returncode == 130, ended.stderr
    assert "stopped; 6 runs are left, and those under way go on" in ended.stderr
    assert "memory" not in ended.stderr


@pytest.mark.parametrize("long_study", [("fork", "evaluation.samples=20000")], indirect=True)
def test_a_run_that_is_killed_while_all_are_stopping_is_no_lack_of_memory(
    long_study: children.Child,
) -> None:
    pid = long_study.process.pid
    workers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    os.kill(pid, signal.SIGTERM)
    long_study.wait_for("stopping")
    os.kill(int(workers[-1]), signal.SIGKILL)
    ended = long_study.wait()
    assert ended.returncode == 130, ended.stderr
    assert "stopped; 6 runs are left" in ended.stderr
    assert "memory" not in ended.stderr


def test_every_arm_has_a_result_a_seed(finished: Path) -> None:
    folder = finished / "out" / "results"
    results = list(read_results(folder).values())
    assert sorted(path.name for path in folder.iterdir()) == ["pool", "results.parquet"]
    assert sorted((r.seed, r.last_step) for r in results) == [(s, 3) for s in (1, 1, 2, 2, 3, 3)]
    for result in results:
        assert [each.step for each in result.evaluations] == [0, 2, 3]
        assert all(len(each.right) == len(each.tokens) == 8 * 4 for each in result.evaluations)
        assert len(result.steps["tokens_mean"]) == 3
        assert any(found.name == "cost" for found in result.lint)
    # Run folders are gone once their results are there.
    assert not list((finished / "out" / "work").glob("*-seed-*"))


def test_claims_are_judged_and_the_page_is_whole(finished: Path, words: Words) -> None:
    again = CliRunner().invoke(app, words(finished / "small.toml", finished / "out"))
    assert again.exit_code == 0, again.output
    assert "✓  an arm is like itself: holds, 0.0 pp [0.0, 0.0]" in again.output
    told = json.loads((finished / "out" / "small" / "report.json").read_text())
    (study,) = told["studies"]
    assert (study["runs_done"], study["runs_wanted"]) == (9, 9)
    assert study["claims"][0]["verdict"] == "holds"
    assert study["claims"][0]["effect"]["n_problems"] == 8
    page = (finished / "out" / "small" / "report.html").read_text()
    assert "an arm is like itself" in page
    assert "chart-small-curves" in page
    markdown = (finished / "out" / "small" / "report.md").read_text()
    row = "| an arm is like itself | by construction | within ±1 pp | 0.0 pp [0.0, 0.0] |"
    assert f"{row} **holds** |" in markdown
    assert len(list((finished / "out" / "small" / "png").glob("*.png"))) == 4


def test_answers_before_and_after_are_kept_of_some_problems_and_shown(
    finished: Path, small: dict[str, object]
) -> None:
    results = read_results(finished / "out" / "results")
    for result in results.values():
        assert [len(each.texts) for each in result.evaluations] == [8, 0, 8]
    plain = read_study(finished / "small.toml").arms["plain"]
    shown = results[unit_of(small, plain, seed=1).name]
    page = (finished / "out" / "small" / "report.html").read_text()
    markdown = (finished / "out" / "small" / "report.md").read_text()
    heads = ("base model", "plain", "hard", "same")
    assert [page.count(f"<p>{head}, ") for head in heads] == [8, 8, 8, 8]
    for evaluated in (shown.evaluations[0], shown.evaluations[-1]):
        assert html.escape(evaluated.texts[0]) in page
        assert f"    {evaluated.texts[0].splitlines()[0]}" in markdown


def test_the_base_model_has_the_length_and_area_of_the_evaluations_before_training(
    finished: Path, words: Words, tmp_path: Path
) -> None:
    shutil.copytree(finished / "out" / "results", tmp_path / "results")
    lengths = {}
    for name, result in read_results(tmp_path / "results").items():
        first, *others = result.evaluations
        longer = [
            each.model_copy(update={"tokens": [t + 9 for t in each.tokens]}) for each in others
        ]
        changed = result.model_copy(update={"evaluations": [first, *longer]})
        write_result(result_file(tmp_path / "results", name), changed)
        lengths[result.seed] = np.mean(first.tokens)
    results = ("--results", str(tmp_path / "results"))
    asked = words(finished / "small.toml", tmp_path / "out", "--judge-only", *results)
    assert CliRunner().invoke(app, asked).exit_code == 0
    base = json.loads((tmp_path / "out" / "small" / "report.json").read_text())["studies"][0]
    base = base["base_model"]
    expected = np.mean(list(lengths.values()))
    assert base["tokens"]["estimate"] == pytest.approx(expected)
    # The budgets double, so that the area is the mean of the means of neighbours.
    shares = [each["estimate"] for each in base["accuracy"].values()]
    steps = zip(shares[1:], shares[:-1], strict=True)
    assert base["area"]["estimate"] == pytest.approx(np.mean([sum(pair) / 2 for pair in steps]))
    row = (tmp_path / "out" / "small" / "report.md").read_text().partition("| base model |")[2]
    assert f" | {expected:.1f} [" in row.partition("\n")[0]


def test_only_what_is_there_is_judged(finished: Path, words: Words, tmp_path: Path) -> None:
    runner, file = CliRunner(), finished / "small.toml"
    shown = runner.invoke(app, words(file, tmp_path, "--dry-run"))
    assert "6 runs, 6 of them to be trained" in " ".join(shown.output.split())
    nothing = runner.invoke(app, words(file, tmp_path, "--judge-only"))
    assert nothing.exit_code == 2
    assert "holds no finished run" in nothing.output
    results = ("--results", str(finished / "out" / "results"))
    judged = runner.invoke(app, words(file, tmp_path, "--judge-only", *results))
    assert judged.exit_code == 0, judged.output
    assert not (tmp_path / "work").exists()


def test_a_damaged_result_is_named(finished: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.json.gz"
    write_result(file, next(iter(read_results(finished / "out" / "results").values())))
    whole = file.read_bytes()
    file.write_bytes(whole[:-9])
    with pytest.raises(DataError, match=r"x.json.gz is no result of this version; remove it"):
        read_result(file)
    content = json.loads(gzip.decompress(whole))
    file.write_bytes(gzip.compress(json.dumps(content | {"schema": 2}).encode()))
    with pytest.raises(DataError, match="no result of this version"):
        read_result(file)
    file.unlink()
    (tmp_path / PACKED).write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"results.parquet holds no results of this version"):
        read_results(tmp_path)


def test_results_of_their_own_files_are_read_as_packed_ones_are(
    finished: Path, words: Words, tmp_path: Path
) -> None:
    packed = read_results(finished / "out" / "results")
    shutil.copytree(finished / "out" / "results" / "pool", tmp_path / "pool")
    first, second, *rest = packed
    for unit in rest:
        write_result(result_file(tmp_path, unit), packed[unit])
    pack_results(tmp_path)
    for unit in (first, second):
        write_result(result_file(tmp_path, unit), packed[unit])
    assert finished_units(tmp_path) == set(packed)
    assert read_results(tmp_path) == packed

    def told(results: Path, out: str) -> str:
        command = words(finished / "small.toml", tmp_path / out, "--judge-only")
        judged = CliRunner().invoke(app, [*command, "--results", str(results)])
        assert judged.exit_code == 0, judged.output
        return (tmp_path / out / "small" / "report.md").read_text()

    assert told(tmp_path, "mixed") == told(finished / "out" / "results", "packed")
    pack_results(tmp_path)
    assert not list(tmp_path.glob("*.json.gz"))
    assert read_results(tmp_path) == packed
