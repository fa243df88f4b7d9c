"""Checkpoints are whole or absent, and restore to the bit."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from tersely.core.errors import ConfigError
from tersely.engines.learning import checkpoints
from tersely.engines.learning.learner import LocalLearner
from tersely.engines.learning.rows import TrainRow

# On tensors this small a second thread only waits, for minutes on a busy machine.

VOCABULARY = 10


def tiny_model(seed: int = 0, *, width: int = 16) -> Qwen3ForCausalLM:
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=64,
        tie_word_embeddings=True,
    )
    return Qwen3ForCausalLM(config).eval()


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {str(digit): digit for digit in range(VOCABULARY)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="0", eos_token="9")


def make_learner(model: Qwen3ForCausalLM) -> LocalLearner:
    return LocalLearner(
        model,
        learning_rate=1e-2,
        warmup_steps=5,
        tokens_per_micro_batch=32,
    )


def rows_of(step: int) -> list[TrainRow]:
    rng = np.random.default_rng(step)
    return [
        TrainRow(
            group=group,
            prompt_ids=(1, 2),
            completion_ids=tuple(rng.integers(0, VOCABULARY, tokens).tolist()),
            logprobs=np.full(tokens, -2.3),
            advantage=float(rng.normal()),
        )
        for group in range(3)
        for tokens in rng.integers(1, 9, 3)
    ]


def save(folder: Path, step: int, model: Qwen3ForCausalLM, learner: LocalLearner) -> Path:
    return checkpoints.save(
        folder,
        step,
        model=model,
        tokenizer=tiny_tokenizer(),
        learner=learner,
        extra={"target": {"tokens": 40.5}},
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    model = tiny_model()
    learner = make_learner(model)
    learner.step(rows_of(0), updates=1)
    return save(tmp_path / "checkpoints", 1, model, learner)


def test_a_run_that_stops_and_resumes_is_the_run_that_did_not(tmp_path: Path) -> None:
    straight = tiny_model()
    learner = make_learner(straight)
    for step in range(6):
        if step == 3:
            path = save(tmp_path, step, straight, learner)
        expected = learner.step(rows_of(step), updates=3)
    resumed = tiny_model(seed=1)
    learner = make_learner(resumed)
    assert checkpoints.load(path, model=resumed, learner=learner) == (
        3,
        {"target": {"tokens": 40.5}},
    )
    for step in range(3, 6):
        stats = learner.step(rows_of(step), updates=3)
    np.testing.assert_equal(stats, expected)
    for left, right in zip(resumed.parameters(), straight.parameters(), strict=True):
        assert torch.equal(left, right)


def test_a_checkpoint_is_an_ordinary_model_folder(saved: Path) -> None:
    model = Qwen3ForCausalLM.from_pretrained(saved)
    assert model.config.hidden_size == 16
    assert PreTrainedTokenizerFast.from_pretrained(saved)("3 1 4")["input_ids"] == [3, 1, 4]


def test_latest_is_the_highest_complete_step(saved: Path) -> None:
    folder = saved.parent
    for name in ("step-000020", "step-000003", "step-1000000"):
        shutil.copytree(saved, folder / name)
    for name in ("step-000099.tmp", "step-9", "step-abc", "notes"):
        (folder / name).mkdir()
    assert checkpoints.latest(folder) == folder / "step-1000000"
    assert checkpoints.latest(folder / "nowhere") is None


def test_prune_keeps_the_newest_and_removes_leftovers(saved: Path) -> None:
    folder = saved.parent
    for name in ("step-000002", "step-000010", "step-000011.tmp"):
        shutil.copytree(saved, folder / name)
    (folder / "notes.tmp").mkdir()
    checkpoints.prune(folder, keep=2)
    assert sorted(path.name for path in folder.iterdir()) == [
        "notes.tmp",
        "step-000002",
        "step-000010",
    ]
    with pytest.raises(ConfigError, match="keep 0 checkpoints is below 1"):
        checkpoints.prune(folder, keep=0)


def test_a_save_that_was_interrupted_is_written_anew(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, model = saved.parent, tiny_model()
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            save(folder, 2, model, make_learner(model))
    assert checkpoints.latest(folder) == saved
    path = save(folder, 2, model, make_learner(model))
    assert checkpoints.latest(folder) == path == folder / "step-000002"
    assert not list(folder.glob("*.tmp"))


def test_a_step_is_saved_once(saved: Path) -> None:
    before = {file.name: file.stat().st_mtime_ns for file in saved.iterdir()}
    model = tiny_model(seed=3)
    assert save(saved.parent, 1, model, make_learner(model)) == saved
    assert {file.name: file.stat().st_mtime_ns for file in saved.iterdir()} == before


def rewrite_state(path: Path, **changes: object) -> None:
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps(state | changes))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: (path / "model.safetensors").unlink(), "model.safetensors has 0 bytes"),
        (lambda path: cut(path / "optimizer.pt"), "optimizer.pt has"),
        (lambda path: (path / "state.json").unlink(), "state.json cannot be read"),
        (lambda path: cut(path / "state.json"), "state.json cannot be read"),
        (lambda path: (path / "state.json").write_text("[1]"), "must hold exactly schema, step"),
        (lambda path: rewrite_state(path, more=1), "must hold exactly"),
        (lambda path: rewrite_state(path, step="1"), "step in state.json is '1'"),
        (lambda path: rewrite_state(path, schema=2), "its schema is 2, this version reads 1"),
        (lambda path: rewrite_state(path, files={}), "lists no optimizer.pt"),
        (lambda path: shutil.rmtree(path), "state.json cannot be read"),
    ],
)
def test_damage_is_refused_with_the_path_and_the_fix(
    saved: Path, damage: object, message: str
) -> None:
    damage(saved)  # type: ignore[operator]
    model = tiny_model(seed=1)
    with pytest.raises(ConfigError, match=message) as error:
        checkpoints.load(saved, model=model, learner=make_learner(model))
    assert str(saved) in str(error.value)
    assert "resume from another step" in str(error.value)


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.pt", "config.json"])
def test_garbage_of_the_right_size_is_refused(saved: Path, file: str) -> None:
    (saved / file).write_bytes(b"\xff" * (saved / file).stat().st_size)
    model = tiny_model(seed=1)
    with pytest.raises(ConfigError, match="does not load into this model"):
        checkpoints.load(saved, model=model, learner=make_learner(model))


def test_another_models_checkpoint_is_refused(saved: Path) -> None:
    wide = tiny_model(width=32)
    with pytest.raises(ConfigError, match="does not load into this model"):
        checkpoints.load(saved, model=wide, learner=make_learner(wide))
