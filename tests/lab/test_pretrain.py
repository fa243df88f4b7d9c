"""Making the base policy, and the shipped one."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3ForCausalLM

from tersely.engines.models import lab_folder
from tersely.lab.pretrain import IGNORE, draw_batches, draw_example, pretrain, save
from tersely.lab.problems import Split, draw_problems, split_of
from tersely.lab.traces import END_THINK, THINK
from tersely.lab.vocabulary import END, make_tokenizer


def weights_after_three_steps(seed: int) -> dict[str, torch.Tensor]:
    model, _ = pretrain(seed=seed, steps=3, batch_tokens=256)
    return model.state_dict()


@pytest.fixture(scope="module")
def three_steps() -> dict[str, torch.Tensor]:
    return weights_after_three_steps(seed=1)


def test_a_seed_gives_the_same_weights_again(three_steps: dict[str, torch.Tensor]) -> None:
    again = weights_after_three_steps(seed=1)
    assert again.keys() == three_steps.keys()
    assert all(torch.equal(again[name], three_steps[name]) for name in again)


def test_another_seed_gives_other_weights(three_steps: dict[str, torch.Tensor]) -> None:
    other = weights_after_three_steps(seed=2)
    assert not any(
        torch.equal(other[name], matrix) for name, matrix in three_steps.items() if matrix.ndim == 2
    )


def test_every_weight_is_trained(three_steps: dict[str, torch.Tensor]) -> None:
    torch.manual_seed(1)  # as pretrain does before it makes the model
    untrained = Qwen3ForCausalLM(pretrain(seed=1, steps=1, batch_tokens=256)[0].config)
    start = untrained.state_dict()
    assert [n for n, w in three_steps.items() if torch.equal(w, start[n])] == []


def test_loss_falls_within_thirty_steps() -> None:
    losses = []
    pretrain(seed=0, steps=30, batch_tokens=512, on_step=lambda step, loss: losses.append(loss))
    assert len(losses) == 30
    # It starts near log(42 tokens) = 3.7 nats.
    assert losses[0] > 3.4
    assert np.mean(losses[-5:]) < 2.9


def test_examples_are_of_the_train_half_and_end_with_the_stop_token() -> None:
    tokenizer, rng = make_tokenizer(), np.random.default_rng(0)
    for _ in range(100):
        example = draw_example(tokenizer, top_level=8, rng=rng)
        prompt = tokenizer.decode(example.prompt_ids)
        assert split_of(prompt.removeprefix("<user>").removesuffix("<assistant>")) is Split.TRAIN
        assert example.completion_ids[-1] == tokenizer.eos_token_id
        assert example.completion_ids.count(tokenizer.eos_token_id) == 1


def test_the_loss_covers_completions_alone_and_batches_keep_their_bound() -> None:
    tokenizer = make_tokenizer()
    batches = list(
        draw_batches(tokenizer, steps=40, batch_tokens=600, rng=np.random.default_rng(0))
    )
    assert len(batches) == 40
    for ids_BT, labels_BT in batches:
        assert ids_BT.numel() <= 600
        for ids, labels in zip(ids_BT.tolist(), labels_BT.tolist(), strict=True):
            text = tokenizer.decode(ids).replace("<pad>", "")
            prompt, _, completion = text.partition("<assistant>")
            assert prompt.startswith("<user>")
            learned = [label for label in labels if label != IGNORE]
            assert tokenizer.decode(learned) == completion
            assert completion.endswith(END)


def test_a_saved_policy_loads_as_any_hugging_face_model(tmp_path) -> None:
    model, tokenizer = pretrain(seed=1, steps=1, batch_tokens=256)
    save(model, tokenizer, tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = torch.tensor([tokenizer.encode("<user>3+4?<assistant>")])
    torch.testing.assert_close(loaded(input_ids=ids).logits, model(input_ids=ids).logits)
    assert loaded.config.eos_token_id == tokenizer.eos_token_id


def test_the_shipped_checkpoint_is_small() -> None:
    size_bytes = sum(file.stat().st_size for file in lab_folder().iterdir())
    assert size_bytes <= 8_000_000
    model = AutoModelForCausalLM.from_pretrained(lab_folder())
    assert sum(weight.numel() for weight in model.parameters()) <= 3_000_000


def test_the_shipped_tokenizer_is_the_one_in_the_source() -> None:
    shipped, ours = AutoTokenizer.from_pretrained(lab_folder()), make_tokenizer()
    assert shipped.get_vocab() == ours.get_vocab()
    assert shipped.chat_template == ours.chat_template
    text = f"{THINK}3+4=8 no: 3+4=7 wait: bdac>LXF?{END_THINK}7{END}"
    assert shipped.encode(text) == ours.encode(text)


def test_the_shipped_checkpoint_thinks_answers_and_stops() -> None:
    model = AutoModelForCausalLM.from_pretrained(lab_folder())
    tokenizer = AutoTokenizer.from_pretrained(lab_folder())
    drawn = draw_problems(per_family=5, seed=0, split=Split.TEST, levels=[1, 2])
    right = 0
    for problem in drawn:
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": problem.prompt}],
            add_generation_prompt=True,
            return_tensors="pt",
        )
        out = model.generate(**ids, max_new_tokens=200, do_sample=False)[0]
        text = tokenizer.decode(out[ids["input_ids"].shape[1] :])
        assert text.startswith(THINK)
        assert text.endswith(END)
        assert text.count(END_THINK) == 1
        right += text.removesuffix(END).partition(END_THINK)[2] == problem.answer
    # Easy problems, greedy: it is a reasoner and not a writer of marks.
    assert right >= 0.8 * len(drawn)
