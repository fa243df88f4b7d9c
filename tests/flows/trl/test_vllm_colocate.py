"""TRL samples with a real vLLM in its own process, on a CPU: `make test-vllm`.

The weights are at random and the reward tells lengths apart among wrong answers, so every step
moves them: the sampler agrees with the learner only if TRL hands each step's weights over.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("vllm", reason="runs in an environment of its own: make test-vllm")
pytest.importorskip("trl")

HERE = Path(__file__).parent
RECIPE, PLUGIN = HERE / "vllm.toml", HERE / "vllm_plain.py"


def with_plugin(folder: Path) -> dict[str, str]:
    """The environment in which vLLM finds the plugin as if it were installed."""
    information = folder / "vllm_plain-0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm-plain\nVersion: 0\n")
    entry = f"[vllm.general_plugins]\nplain = {PLUGIN.stem}:register\n"
    (information / "entry_points.txt").write_text(entry)
    path = [str(folder), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


def test_the_sampler_has_the_weights_that_each_step_left(wide_lab: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "tersely", "launch", "trl", RECIPE, "--out", run]
    done = subprocess.run(
        [*map(str, command), "--set", f"model.path={wide_lab}"],
        env=with_plugin(tmp_path),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    steps = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    assert [step["step"] for step in steps] == list(range(5))
    assert all(step["grad_norm"] > 0 for step in steps)
    # Mean nats a token. The plugin leaves the fifth hand-over out, which is seen at once.
    *synced, stale = [step["sampler_mismatch"] for step in steps]
    assert 0 < min(synced) <= max(synced) <= 1e-5
    assert stale > 1e-3
    assert "Mean tokens" in done.stdout
    assert (run / "report.html").is_file()
