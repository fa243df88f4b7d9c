"""``tersely diagnose`` for scripts: exit codes, JSON, pages, and a log that grows."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tersely.cli import app

HEALTHY, WARNED, LOST = "healthy", "warned", "lost"


def say(*words: str | Path):
    return CliRunner().invoke(app, ["diagnose", *map(str, words)])


def log(folder: Path, what: str, *, steps: int = 200) -> Path:
    """Length decays in all; in one S is large and entropy rises, in one it explodes."""
    rng = np.random.default_rng(0)
    rise = {HEALTHY: 0.0, WARNED: 0.9, LOST: 9.0}[what]
    rows = ["step,tokens_mean,accuracy,entropy_mean"]
    for step in range(steps):
        tokens = 300 + 600 * np.exp(-step / 30) + rng.normal(0, 5)
        entropy = 0.5 + rise * 0.5 * max(0, step - 100) / 100 + rng.normal(0, 0.005)
        rows.append(f"{step},{tokens:.1f},{0.6 + rng.normal(0, 0.01):.3f},{entropy:.4f}")
    (file := folder / f"{what}.csv").write_text("\n".join(rows) + "\n")
    return file


@pytest.mark.parametrize(
    ("what", "flags", "code"),
    [
        (HEALTHY, ("--fail-on", "warning"), 0),
        (WARNED, ("--staleness", "16", "--fail-on", "warning"), 1),
        (WARNED, ("--staleness", "16", "--fail-on", "error"), 0),
        (LOST, ("--fail-on", "error"), 1),
        (LOST, ("--fail-on", "warning"), 1),
        (LOST, (), 0),
    ],
)
def test_an_alarm_of_that_severity_ends_with_1_after_all_is_shown(
    tmp_path: Path, what: str, flags: tuple[str, ...], code: int
) -> None:
    done = say(log(tmp_path, what), *flags, "--json")
    assert done.exit_code == code
    document = json.loads(done.stdout)
    assert document["steps"] == 200
    severities = {alarm["severity"] for alarm in document["alarms"]}
    assert severities == {HEALTHY: set(), WARNED: {"warning"}}.get(what, severities)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--staleness", "0"), "--staleness 0 must be at least 1"),
        (("--staleness", "nan"), "--staleness nan must be"),
        (("--column", "kl_mean=a", "--column", "kl_mean=b"), "given twice, as 'a' and 'b'"),
        (("--fail-on", "alarm"), "Invalid value for '--fail-on'"),
        (("--from", "wand"), "no reader of step logs 'wand'"),
        (("--refresh-s", "0"), "--refresh-s 0 is below 1"),
        (("--html", "."), "--html . is a folder"),
    ],
)
def test_a_wrong_option_ends_with_2(tmp_path: Path, flags: tuple[str, ...], message: str) -> None:
    done = say(log(tmp_path, HEALTHY, steps=9), *flags)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())


def test_the_page_shows_curves_alarms_and_what_is_missing(tmp_path: Path) -> None:
    page = tmp_path / "new" / "page.html"
    assert say(log(tmp_path, LOST), "--html", page).exit_code == 0
    text = page.read_text()
    assert "Diagnosis of lost.csv" in text
    assert "error: entropy explosion, first seen at step" in text
    assert '"alarm":"entropy explosion"' in text  # on the curves
    assert "length adaptation" in text
    assert "Read as --from csv." in text
    assert "src=" not in text.partition("<script>")[0]


def test_a_log_that_grows_is_followed_until_the_alarm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = log(tmp_path, LOST)
    rows = file.read_text().splitlines(keepends=True)
    file.write_text("".join(rows[:81]))
    slept = []

    def grow(seconds: float) -> None:
        slept.append(seconds)
        # A line that is being written, then whole lines.
        file.write_text("".join(rows[: 81 + 30 * len(slept)]))

    monkeypatch.setattr("time.sleep", grow)
    done = say(file, "--watch", "--fail-on", "error", "--refresh-s", "2")
    assert done.exit_code == 1
    assert done.stdout.count("error: entropy explosion") == 1
    assert "step 79: " in done.stderr
    assert set(slept) == {2.0}


def test_watching_ends_with_0_at_ctrl_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupt)
    done = say(log(tmp_path, LOST), "--watch")
    assert (done.exit_code, done.stdout.count("entropy explosion")) == (0, 1)


def test_watching_waits_for_a_log_that_is_not_there_yet_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = log(tmp_path, LOST)
    later = file.rename(tmp_path / "later.csv")
    slept = []

    def begin(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            later.rename(file)
        if len(slept) == 9:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", begin)
    done = say(file, "--watch", "--fail-on", "error")
    assert (done.exit_code, len(slept)) == (1, 3)
    assert done.stdout.count("error: entropy explosion") == 1
    assert done.stderr.count("yet: waiting for it") == 1


def test_watching_refuses_a_wrong_column_before_it_waits(tmp_path: Path) -> None:
    done = say(tmp_path / "none.csv", "--watch", "--column", "nothing=x")
    assert done.exit_code == 2
    assert "there is no column 'nothing' of a step log" in done.stderr.replace("\n", " ")


def test_watching_waits_for_the_first_step_of_a_run_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(Path(__file__).parents[1] / "fixtures" / "before_h" / "run", run)
    steps = (run / "steps.jsonl").rename(tmp_path / "steps.jsonl")
    slept = []

    def begin(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) > 1:
            raise KeyboardInterrupt
        steps.rename(run / "steps.jsonl")

    monkeypatch.setattr("time.sleep", begin)
    done = say(run, "--watch")
    assert (done.exit_code, len(slept)) == (0, 2)
    assert "yet: waiting for it" in done.stderr
    assert "step 1: " in done.stderr
