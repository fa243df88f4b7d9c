"""What --dry-run prints of a price: it comes before an engine is looked for, and says what fits."""

from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tersely.cli import app


def launched(*words: str) -> Result:
    return CliRunner().invoke(app, ["launch", "trl", *words, "--dry-run"])


def row(result: Result, label: str) -> list[str]:
    line = next(line for line in result.stderr.splitlines() if line.startswith(label))
    return line.removeprefix(label).split()


def test_a_price_is_printed_whether_or_not_the_engine_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = launched("qwen3-0.6b", "--processes", "8", "--mean-tokens", "4000")
    assert "models/Qwen3-0.6B: 596M parameters, 114,688 bytes of cache a token" in result.stderr
    # 3,072 rollouts of 8,192 and of 4,000 tokens, on an H100 and an H200 each.
    assert row(result, "rollouts a step") == ["3,072"] * 4
    assert row(result, "tokens a step") == ["25.2M", "25.2M", "12.3M", "12.3M"]
    assert row(result, "learning, FLOPs a step") == ["3.3e+17", "3.3e+17", "1.4e+17", "1.4e+17"]
    assert "does not fit" not in result.stderr
    assert not list(tmp_path.iterdir())


def test_what_does_not_fit_is_said_with_how_many_gpus_it_needs() -> None:
    result = launched("qwen3-30b-a3b-thinking", "--processes", "8")
    assert "does not fit on 8 H100 SXM; needs at least 24" in result.stderr
    assert "does not fit on 8 H200 SXM" not in result.stderr
    assert "an evaluation, which one process makes, does not fit on one H100 SXM" in result.stderr
    assert row(result, "sampling, s a step")[0] == "–"


def test_what_fits_on_no_number_of_gpus_says_what_to_set() -> None:
    result = launched("qwen3-30b-a3b-thinking", "--set", "trl.fsdp=false")
    assert "nor on more" in result.stderr
    assert "trl.fsdp = true" in result.stderr


def test_a_model_that_is_not_known_has_no_price() -> None:
    result = launched("qwen3-0.6b", "--set", "model.path=models/unheard-of")
    assert "price: not known" in result.stderr
    assert "Qwen3-0.6B" in result.stderr


def test_a_mean_beyond_the_cap_is_refused() -> None:
    result = launched("qwen3-0.6b", "--mean-tokens", "9000")
    assert result.exit_code == 2
    assert "error: --mean-tokens 9000 is not within 1 and sampling.cap_tokens = 8192" in (
        result.stderr.replace("\n", " ")
    )


def test_train_prices_one_gpu_and_the_lab_none() -> None:
    runner = CliRunner()
    result = runner.invoke(app, ["train", "qwen3-0.6b", "--dry-run"])
    assert result.exit_code == 0
    assert 'path = "models/Qwen3-0.6B"' in result.stdout
    # sampling.rows, our own sampler's bound, is above what fits.
    assert row(result, "rows at once, of a sampler's")[0].endswith("/3,072")
    # Five passes: it learns from the sampler's own log-probs, and TRL makes a sixth pass for them.
    assert row(result, "learning, FLOPs a step")[0] == "2.7e+17"
    lab = runner.invoke(app, ["train", "--dry-run"])
    assert "price: none, for the lab's model is made for a CPU" in lab.stderr
    assert "GPU-hours" not in lab.stderr


def test_an_unknown_recipe_lists_the_shipped_ones() -> None:
    for words in (["train", "qwen3-0.7b"], ["launch", "trl", "qwen3-0.7b"]):
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 2
        assert "no recipe 'qwen3-0.7b'; did you mean 'qwen3-1.7b'?" in result.stderr
        assert "r1-distill-1.5b" in result.stderr
        assert "base" not in result.stderr


def test_a_shipped_recipe_s_run_folder_has_its_whole_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "qwen3-0.6b" / "something").mkdir(parents=True)
    result = CliRunner().invoke(app, ["train", "qwen3-0.6b"])
    assert result.exit_code == 2
    assert "runs/qwen3-0.6b exists" in result.stderr


def test_under_verl_no_evaluation_of_one_process_is_priced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["launch", "verl", "qwen3-30b-a3b-thinking", "--nodes", "4", "--dry-run"]
    result = CliRunner().invoke(app, words)
    # 4 nodes x 8 GPUs; the sampler's four share 2 x 30.5B bytes of weights: it fits on an H100.
    assert row(result, "32 GPUs, tokens a rollout:") == ["16,384", "16,384"]
    assert row(result, "sampling, s a step")[0] != "–"
    assert "evaluation" not in result.stderr.partition("evaluations: none")[0]
    assert "use tersely eval on checkpoints" in " ".join(result.stderr.split())
    assert not list(tmp_path.iterdir())
