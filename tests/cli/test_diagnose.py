"""``tersely diagnose`` for scripts: exit codes, JSON, pages, and a log that grows."""

import json
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
