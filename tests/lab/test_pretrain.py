"""Making the base policy, and the shipped one."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    Qwen3ForCausalLM,
)

from tersely.engines.folders import LABS, lab_folder
from tersely.lab.pretrain import IGNORE, draw_batches, draw_example, pretrain, save
from tersely.lab.problems import Split, draw_problems, split_of
from tersely.lab.traces import END_THINK, THINK
from tersely.lab.vocabulary import END, make_tokenizer

Policy = tuple[Qwen3ForCausalLM, PreTrainedTokenizerFast]


@pytest.fixture(scope="module")
def three_steps() -> Policy:
    return pretrain(seed=1, steps=3, batch_tokens=256)


def test_a_seed_gives_the_same_weights_again(three_steps: Policy) -> None:
    first = three_steps[0].state_dict()
    again = pretrain(seed=1, steps=3, batch_tokens=256)[0].state_dict()
    assert again.keys() == first.keys()
    assert all(torch.equal(again[name], first[name]) for name in first)


def test_another_seed_gives_other_weights(three_steps: Policy) -> None:
    first = three_steps[0].state_dict()
    other = pretrain(seed=2, steps=3, batch_tokens=256)[0].state_dict()
    assert [n for n, w in first.items() if w.ndim == 2 and torch.equal(w, other[n])] == []


def test_every_weight_is_trained(three_steps: Policy) -> None:
    torch.manual_seed(1)  # as pretrain does before it makes the model
    start = Qwen3ForCausalLM(three_steps[0].config).state_dict()
    trained = three_steps[0].state_dict()
    assert [name for name in start if torch.equal(trained[name], start[name])] == []


def test_loss_falls_within_twenty_steps() -> None:
    losses = []
    pretrain(seed=0, steps=20, batch_tokens=512, on_step=lambda step, loss: losses.append(loss))
    assert len(losses) == 20
    # It starts near log(51 tokens) = 3.9 nats.
    assert losses[0] > 3.4
    assert np.mean(losses[-5:]) < losses[0] - 0.4


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


def test_a_saved_policy_loads_as_any_hugging_face_model(
    three_steps: Policy, tmp_path: Path
) -> None:
    model, tokenizer = three_steps
    save(model, tokenizer, tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = torch.tensor([tokenizer.encode("<user>3+4?<assistant>")])
    torch.testing.assert_close(loaded(input_ids=ids).logits, model(input_ids=ids).logits)
    assert loaded.config.eos_token_id == tokenizer.eos_token_id


SHIPPED = ("lab-v1", "lab-v2", "lab-v2-supervised")


def test_what_is_shipped_is_small() -> None:
    everything = {lab_folder(name) for name in SHIPPED}
    assert {lab_folder(name) for name in LABS} == everything
    size_bytes = sum(file.stat().st_size for folder in everything for file in folder.iterdir())
    assert size_bytes <= 8_000_000
    for folder in everything:
        model = AutoModelForCausalLM.from_pretrained(folder)
        assert sum(weight.numel() for weight in model.parameters()) <= 3_000_000


@pytest.mark.parametrize("name", ["lab-v2", "lab-v2-supervised"])
def test_the_shipped_tokenizer_is_the_one_in_the_source(name: str) -> None:
    shipped, ours = AutoTokenizer.from_pretrained(lab_folder(name)), make_tokenizer()
    assert shipped.get_vocab() == ours.get_vocab()
    assert shipped.chat_template == ours.chat_template
    text = f"{THINK} given: 3+4?3+4=8 no: 3+4 is 7 wait: bdac>LXF?{END_THINK}7{END}"
    assert shipped.encode(text) == ours.encode(text)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_checkpoint_thinks_answers_and_stops(name: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(lab_folder(name))
    tokenizer = AutoTokenizer.from_pretrained(lab_folder(name))
    drawn = draw_problems(per_family=3, seed=0, split=Split.TEST, levels=[1, 2])
    right = 0
    for problem in drawn:
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": problem.prompt}],
            add_generation_prompt=True,
            return_tensors="pt",
        )
        out = model.generate(**ids, max_new_tokens=160, do_sample=False)[0]
        text = tokenizer.decode(out[ids["input_ids"].shape[1] :])
        assert text.startswith(THINK)
        assert text.endswith(END)
        assert text.count(END_THINK) == 1
        right += text.removesuffix(END).partition(END_THINK)[2] == problem.answer
    # Easy problems, greedy: it is a reasoner and not a writer of marks.
    assert right >= 5
