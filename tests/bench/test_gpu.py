"""bench/gpu.py in its reduced form, on a CPU; with ``-m gpu`` its checks at full size on a card."""

import argparse
import json
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import gpu  # noqa: E402
import gpu_checks as checks  # noqa: E402
import gpu_models as models  # noqa: E402
import gpu_runs as runs  # noqa: E402
import gpu_speed as speed  # noqa: E402
import gpu_table as table  # noqa: E402

# Of tersely's own dependencies, those that bench/gpu-wheels.sh leaves out.
LEFT_OUT = ("altair", "httpx", "polars", "tenacity", "vl_convert")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU is seen here")


def arguments(out: Path, **settings: object) -> argparse.Namespace:
    given = {"reduced": True, "only": "", "minutes": 1.0, "commit": "abc", "worker": False}
    return argparse.Namespace(out=out, **{**given, **settings})


def test_one_command_measures_and_goes_on_without_what_the_wheels_leave_out(tmp_path: Path) -> None:
    blocked = f"import sys\nsys.modules.update(dict.fromkeys({LEFT_OUT}))\n"
    (tmp_path / "sitecustomize.py").write_text(blocked)
    out = tmp_path / "out"
    out.mkdir()
    # An earlier run did one part, and was torn inside the line of another.
    gpu.note(out, {"part": "precision 0.3M", "status": "done", "seconds": 1.0, "passed": True})
    with (out / "parts.jsonl").open("a") as file:
        file.write('{"part": "precision lab", "sta\n')
    done = subprocess.run(
        [sys.executable, ROOT / "bench" / "gpu.py", "--reduced", "--only", "p", "--out", out],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out}/gpu.md\n"
    names = [line["part"] for line in gpu.lines_of(out)]
    assert names == ["precision 0.3M", "peaks", "precision lab"]
    page = (out / "gpu.md").read_text()
    assert page.startswith("Measured on C")
    assert "| precision lab | 0 | 0 |" in page
    assert "- sample 0.3M 64: not begun" in page


@pytest.mark.parametrize(
    ("part", "positive"),
    [
        ("sample 0.3M 64", {"rows", "prompt_tokens_per_s"}),
        ("learn 0.3M 64 checkpointed", {"tokens_per_s"}),
        ("generate", {"tokens_per_s", "generate_tokens_per_s", "ratio"}),
        ("rl", {"step_s", "tokens_per_s", "tokens_first"}),
        ("resume", {"passed"}),
    ],
)
def test_a_part_gives_its_figures(part: str, positive: set[str], tmp_path: Path) -> None:
    found = gpu.parts_of(models.REDUCED)[part].run(models.REDUCED, tmp_path)
    assert all(found[name] > 0 for name in positive)
    json.dumps(found)


def test_a_step_of_the_sampler_is_what_a_longer_run_takes_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Prompts with 8 tokens 1.1 s, with 8 more 1.5 s, at best: 0.4 s / 8 tokens; 8 rows a step.
    seconds = [9.0, 1.2, 1.1, 1.5, 1.9]
    monkeypatch.setattr(speed, "timed", lambda _: seconds.pop(0))
    found = speed.sample_speed(models.REDUCED, Path(), model="0.3M", context=64)
    assert found["step_ms"] == pytest.approx(50)
    assert found["tokens_per_s"] == pytest.approx(160)
    # One prompt of 64 - 8 - 8 tokens for the group of 8 rows.
    assert found["prompt_tokens_per_s"] == pytest.approx(48 / 1.1)


def test_a_demo_that_was_stopped_goes_on_and_gives_no_time_of_its_own(tmp_path: Path) -> None:
    size = models.REDUCED
    first, again = (runs.demo(size, tmp_path) for _ in range(2))
    assert first["run_s"] > first["steps_s"] > 0
    assert again == {**first, "run_s": None}


def test_a_wrong_scale_is_out_of_bounds() -> None:
    size = models.REDUCED
    wrong, tokenizer = models.stopping_model("0.3M", positions=128, where=torch.device("cpu"))
    right, _ = models.stopping_model("0.3M", positions=128, where=torch.device("cpu"))
    problems = models.random_problems(size.check_rows, vocabulary=64)
    rows = checks.sampled_rows(right, tokenizer, problems, size)
    assert checks.compared(right, right, rows)["passed"]
    with torch.no_grad():
        wrong.model.norm.weight.mul_(1.2)
    assert not checks.compared(right, wrong, rows)["passed"]


def test_files_that_differ_or_are_missing_are_named(tmp_path: Path) -> None:
    for run, steps in (("one", "1"), ("other", "2")):
        (tmp_path / run).mkdir()
        (tmp_path / run / "steps.jsonl").write_text(steps)
        (tmp_path / run / "timings.jsonl").write_text(steps)
    (tmp_path / "one" / "eval.jsonl").write_text("")
    found = checks.differing(tmp_path / "one", tmp_path / "other")
    assert found == ["eval.jsonl", "steps.jsonl"]


def test_a_part_that_fails_is_kept_with_its_reason_and_one_out_of_bounds_with_its_figures(
    tmp_path: Path,
) -> None:
    def fails(*_: object) -> dict[str, object]:
        raise RuntimeError("no kernel\nand a trace")

    assert not gpu.run_part(tmp_path, "a", gpu.Part(fails, 60), None)
    wide = gpu.Part(lambda *_: {"passed": False, "x": float("nan")}, 60)
    assert gpu.run_part(tmp_path, "b", wide, None)
    found = gpu.latest(tmp_path)
    assert found["a"]["status"] == "failed: RuntimeError: no kernel"
    assert (found["b"]["status"], found["b"]["x"]) == ("out of bounds", None)
    assert not any(map(gpu.is_done, found.values()))


def test_a_part_beyond_its_limit_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker is ended by its alarm in "slow"; the next one does the rest."""
    (tmp_path / "machine.json").write_text(
        json.dumps({"parts": ["slow", "quick"], "card": "CPU", "date": "d", "commit": "c",
                    "torch": "t", "transformers": "t", "reduced": True})
    )  # fmt: skip

    def worker(command: list[str], *, env: dict[str, str], **_: object) -> SimpleNamespace:
        if "slow" not in json.loads(env["TERSELY_GPU_TRIED"]):
            (tmp_path / "begun").write_text("slow")
            return SimpleNamespace(returncode=-signal.SIGALRM)
        gpu.note(tmp_path, {"part": "quick", "status": "done", "seconds": 1.0})
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(gpu.subprocess, "run", worker)
    monkeypatch.setattr(gpu, "arguments", lambda: arguments(tmp_path))
    assert gpu.main() == 1
    found = {name: part["status"] for name, part in gpu.latest(tmp_path).items()}
    assert found == {"slow": "stopped at its limit", "quick": "done"}


def test_figures_of_another_card_or_commit_are_not_mixed(tmp_path: Path) -> None:
    assert gpu.machine_differs(arguments(tmp_path), ["peaks"]) == ""
    assert gpu.machine_differs(arguments(tmp_path), ["peaks"]) == ""
    said = gpu.machine_differs(arguments(tmp_path, commit="def"), ["peaks"])
    assert (
        said == f"{tmp_path} holds figures of commit = abc, and here it is def; give another --out"
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"only": "peak-"}, "--only 'peak-' begins no part's name: peaks, precision lab"),
        pytest.param(
            {"reduced": False}, "no CUDA GPU is seen here; use a machine with one",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_refused(
    settings: dict[str, object], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gpu.work(arguments(tmp_path, **settings)) == 2
    assert said in capsys.readouterr().err


def test_minutes_outside_their_bounds_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for minutes in (0.0, -1.0, float("nan"), float("inf")):
        monkeypatch.setattr(
            gpu, "arguments", lambda minutes=minutes: arguments(tmp_path, minutes=minutes)
        )
        assert gpu.main() == 2


def test_shares_are_of_a_listed_cards_peaks_and_else_a_dash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(models, "card", lambda: "NVIDIA H200")
    # 4.8 TB/s by the data sheet: half of it is 2.4.
    assert models.share(2.4e12, of="bandwidth") == pytest.approx(0.5)
    assert models.share(98.9e12, of="flops") == pytest.approx(0.1)
    monkeypatch.setattr(models, "card", lambda: "NVIDIA Unheard Of")
    assert models.share(1e12, of="flops") is None
    assert table.number("flops_share", **table.PERCENT)({"flops_share": None}) == "–"


@pytest.mark.parametrize(("name", "millions"), [("0.3M", 0.3), ("135M", 134.5), ("0.6B", 596.0)])
def test_random_models_have_the_shapes_that_they_are_named_for(name: str, millions: float) -> None:
    model = models.model_of(name, positions=64, where=torch.device("meta"))
    weights = sum(p.numel() for p in model.parameters())
    assert weights / 1e6 == pytest.approx(millions, rel=0.05)
    assert models.architecture_of(model).parameters == weights


def test_the_wheels_are_those_that_the_package_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = {*project["dependencies"], *extras["train"], *extras["dev"]}
    lines = (ROOT / "bench" / "gpu-requirements.txt").read_text().splitlines()
    assert {line for line in lines if not line.startswith("#")} <= asked


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize(
    "part", ["precision lab", "precision 135M", "resume", "resume deterministic"]
)
def test_a_check_holds_on_the_card(part: str, tmp_path: Path) -> None:
    found = gpu.parts_of(models.FULL)[part].run(models.FULL, tmp_path)
    assert found["passed"], found
