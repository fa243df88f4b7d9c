"""What verl's supervised trainer learns from the file of `tersely curate --write sft`:
`make test-verl`."""

import pytest

pytest.importorskip("verl")

import polars as pl
from typer.testing import CliRunner

from tersely.cli import app
from tersely.engines.models import load_tokenizer

# What verl and its packages say of their own next versions is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")


def test_verls_dataset_learns_the_answer_and_its_end_and_nothing_of_the_prompt(tmp_path):
    from omegaconf import OmegaConf
    from verl.utils.dataset.multiturn_sft_dataset import MultiTurnSFTDataset

    words = ["--limit", "24", "--samples", "6", "--cap-tokens", "80", "--threads", "1"]
    words += ["--select", "full", "--write", "sft", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, ["curate", "--model", "lab-v1", "--problems", "lab", *words])
    assert done.exit_code == 0, done.output
    file, tokenizer = tmp_path / "out" / "full" / "sft.verl.parquet", load_tokenizer("lab-v1")
    config = OmegaConf.create({"max_length": 256, "pad_mode": "no_padding"})
    dataset = MultiTurnSFTDataset(str(file), tokenizer, config)
    rows = pl.read_parquet(file).to_dicts()
    assert len(dataset) == len(rows) > 4
    for row, found in zip(rows, dataset, strict=True):
        learnt = found["input_ids"][found["loss_mask"] == 1].tolist()
        # verl takes the generation prompt off each message by its length.
        answer = tokenizer(f"{row['messages'][-1]['content']}<end>", add_special_tokens=False)
        assert learnt == answer["input_ids"]
        assert len(learnt) == row["tokens"]
