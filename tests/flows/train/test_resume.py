"""Killed with SIGKILL and resumed, a run ends as if it had never been killed."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import children
import pytest

SCRIPT = Path(__file__).parent / "run_and_die.py"


# A target that remembers, a reward that uses it, other prompts for silent groups, old log-probs.
STATEFUL = (
    "reward.name=hapo",
    'target={name = "history_minimum"}',
    "sampling.without_signal=refill",
    "loss.importance_cap=2.0",
)


def run(folder: Path, moment: str, *overrides: str) -> int | None:
    return children.run(SCRIPT, folder, moment, *overrides).returncode


def run_afresh(folder: Path, *overrides: str) -> int:
    """In an interpreter of its own, whose hash seed is another."""
    command = [sys.executable, str(SCRIPT), str(folder), "never", *overrides]
    return subprocess.run(command, check=False, timeout=300).returncode


def contents(folder: Path) -> dict[str, bytes]:
    """Every file that must not depend on kills: all but clocks, and what reports the machine."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name not in {"timings.jsonl", "manifest.json"}
    }


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    assert run(folder, "never") == 0
    return contents(folder)


@pytest.mark.parametrize("moment", ["sampling", "line", "checkpoint"])
def test_a_killed_and_resumed_run_leaves_the_same_bytes(
    moment: str, unbroken: dict[str, bytes], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    assert run(folder, moment) == -signal.SIGKILL
    assert run(folder, "never") == 0
    resumed = contents(folder)
    assert resumed.keys() == unbroken.keys()
    assert [name for name in unbroken if resumed[name] != unbroken[name]] == []


def test_targets_that_remember_are_restored_exactly(tmp_path: Path) -> None:
    # Evaluations hold the name of the run.
    whole, broken = tmp_path / "whole" / "run", tmp_path / "broken" / "run"
    for folder in (whole, broken):
        folder.parent.mkdir()
    assert run_afresh(whole, *STATEFUL) == 0
    assert run(broken, "checkpoint", *STATEFUL) == -signal.SIGKILL
    assert run(broken, "never", *STATEFUL) == 0
    expected, resumed = contents(whole), contents(broken)
    assert resumed.keys() == expected.keys()
    assert [name for name in expected if resumed[name] != expected[name]] == []


def test_a_run_ends_with_the_step_that_reaches_its_tokens(
    unbroken: dict[str, bytes], tmp_path: Path
) -> None:
    def spent(content: dict[str, bytes]) -> list[int]:
        return [json.loads(line)["sampled_tokens"] for line in content["steps.jsonl"].splitlines()]

    first_four = spent(unbroken)[:4]
    (tmp_path / "whole").mkdir()
    (tmp_path / "broken").mkdir()
    enough = f"learner.rollout_tokens={sum(first_four) - 1}"
    assert run(tmp_path / "whole" / "run", "never", enough) == 0
    whole = contents(tmp_path / "whole" / "run")
    assert spent(whole) == first_four
    assert {name for name in whole if name.startswith("eval")} == {
        "eval/step-000000.jsonl",
        "eval/step-000002.jsonl",
        "eval/step-000004.jsonl",
    }
    assert run(tmp_path / "broken" / "run", "checkpoint", enough) == -signal.SIGKILL
    assert run(tmp_path / "broken" / "run", "never", enough) == 0
    resumed = contents(tmp_path / "broken" / "run")
    assert [name for name in whole if resumed.get(name) != whole[name]] == []
    # A finished run is asked to go on: nothing is sampled again.
    assert run(tmp_path / "whole" / "run", "never", enough) == 0
    assert contents(tmp_path / "whole" / "run") == whole


def test_the_last_two_checkpoints_are_kept_besides_the_final_one(
    unbroken: dict[str, bytes],
) -> None:
    kept = {name.split("/")[1] for name in unbroken if name.startswith("checkpoints/")}
    assert kept == {"step-000002", "step-000004", "step-000005"}
