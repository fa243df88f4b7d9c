"""What TRL's own trainers train on when they are given the files of `tersely curate --write`:
`make test-trl`."""

import json
import warnings

import pytest

pytest.importorskip("trl")

from datasets import load_dataset
from typer.testing import CliRunner

from tersely.cli import app
from tersely.engines.models import lab_folder, load_policy

FIXED = ["curate", "--model", "lab-v1", "--problems", "lab", "--limit", "24", "--samples", "6"]
FIXED += ["--cap-tokens", "80"]
# What TRL and transformers say of their own next versions is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def curated(tmp_path_factory):
    out = tmp_path_factory.mktemp("curated") / "out"
    words = ["--select", "full", "--threads", "1", "--write", "sft", "--write", "pairs"]
    done = CliRunner().invoke(app, [*FIXED, *words, "--out", str(out)])
    assert done.exit_code == 0, done.output
    return out / "full"


def rows(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def data(file, scratch):
    return load_dataset("json", data_files=str(file), split="train", cache_dir=str(scratch))


def args(config, out, **others):
    return config(
        output_dir=str(out),
        max_steps=1,
        per_device_train_batch_size=4,
        use_cpu=True,
        bf16=False,
        report_to="none",
        save_strategy="no",
        max_length=None,
        **others,
    )


def ids(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def test_the_sft_trainer_learns_the_answer_and_its_end_and_nothing_of_the_prompt(curated, tmp_path):
    from trl import SFTConfig, SFTTrainer

    model, tokenizer = load_policy("lab-v1")
    file = curated / "sft.trl.jsonl"
    trainer = SFTTrainer(
        model=model,
        args=args(SFTConfig, tmp_path / "out"),
        train_dataset=data(file, tmp_path / "cache"),
        processing_class=tokenizer,
    )
    assert len(trainer.train_dataset) == len(rows(file)) > 4
    for wanted, found in zip(rows(file), trainer.train_dataset, strict=True):
        prompt = f"<user>{wanted['prompt'][0]['content']}<assistant>"
        answer = f"{wanted['completion'][0]['content']}<end>"
        assert found["input_ids"] == ids(tokenizer, prompt) + ids(tokenizer, answer)
        learnt = [t for t in found["labels"] if t != -100]
        assert learnt == ids(tokenizer, answer)
        # As many tokens as were sampled, the stop token among them.
        assert len(learnt) == wanted["tokens"]
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    trainer.train()
    assert any((before[name] != weight).any() for name, weight in model.named_parameters())


def test_the_dpo_trainer_prefers_the_short_answer_to_the_long_one(curated, tmp_path):
    from trl import DPOConfig, DPOTrainer

    model, tokenizer = load_policy(str(lab_folder("lab-v1")))
    file = curated / "pairs.trl.jsonl"
    trainer = DPOTrainer(
        model=model,
        args=args(DPOConfig, tmp_path / "out"),
        train_dataset=data(file, tmp_path / "cache"),
        processing_class=tokenizer,
    )
    assert len(trainer.train_dataset) == len(rows(file)) > 2
    for wanted, found in zip(rows(file), trainer.train_dataset, strict=True):
        prompt = f"<user>{wanted['prompt'][0]['content']}<assistant>"
        assert found["prompt_ids"] == ids(tokenizer, prompt)
        for side in ("chosen", "rejected"):
            answer = f"{wanted[side][0]['content']}<end>"
            assert found[f"{side}_ids"] == ids(tokenizer, answer)
            assert len(found[f"{side}_ids"]) == wanted[f"{side}_tokens"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.train()
    assert trainer.state.global_step == 1
