"""Makes the lab's base policy from a seed: supervised learning on verbose worked solutions."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from tersely.lab.muon import Muon
from tersely.lab.problems import FAMILIES, Split, draw_task
from tersely.lab.traces import GUESS_SHARE, draw_style, write_trace
from tersely.lab.vocabulary import END, make_tokenizer

STEPS = 2200
BATCH_TOKENS = 2048
# Longer problems are met first in reinforcement learning, or never.
TOP_LEVEL = len(GUESS_SHARE)
SEED = 0
MATRIX_RATE = 0.02
OTHER_RATE = 3e-3
IGNORE = -100


class Example(NamedTuple):
    """One prompt and worked solution, stop token included."""

    prompt_ids: list[int]
    completion_ids: list[int]


def lab_config(vocabulary_size: int, *, end_id: int, pad_id: int) -> Qwen3Config:
    """The architecture of the lab's reasoner: Qwen3, small."""
    return Qwen3Config(
        vocab_size=vocabulary_size,
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        eos_token_id=end_id,
        pad_token_id=pad_id,
        bos_token_id=None,
    )


def draw_example(
    tokenizer: PreTrainedTokenizerFast, *, top_level: int, rng: np.random.Generator
) -> Example:
    """A random training example from the train half, of a level up to ``top_level``."""
    family = FAMILIES[str(rng.choice(list(FAMILIES)))]
    level = int(rng.integers(1, top_level + 1))
    task = draw_task(family, level=level, split=Split.TRAIN, rng=rng)
    trace = write_trace(family, task, draw_style(level, rng=rng), rng=rng)
    return Example(
        prompt_ids=tokenizer.encode(f"<user>{family.write(task)}<assistant>"),
        completion_ids=tokenizer.encode(trace + END),
    )


def _pad(examples: list[Example]) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]:
    width = max(len(e.prompt_ids) + len(e.completion_ids) for e in examples)
    ids_BT = torch.zeros(len(examples), width, dtype=torch.long)
    labels_BT = torch.full((len(examples), width), IGNORE)
    for row, (prompt, completion) in enumerate(examples):
        end = len(prompt) + len(completion)
        ids_BT[row, :end] = torch.tensor(prompt + completion)
        labels_BT[row, len(prompt) : end] = torch.tensor(completion)
    return ids_BT, labels_BT


def draw_batches(
    tokenizer: PreTrainedTokenizerFast, *, steps: int, batch_tokens: int, rng: np.random.Generator
) -> Iterator[tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]]:
    """``steps`` padded batches of rows of like length; short problems come first."""
    sent = 0
    while sent < steps:
        top_level = min(TOP_LEVEL, 2 + int(4 * TOP_LEVEL * sent / steps))
        drawn = [draw_example(tokenizer, top_level=top_level, rng=rng) for _ in range(512)]
        drawn.sort(key=lambda e: len(e.prompt_ids) + len(e.completion_ids))
        batches: list[list[Example]] = [[]]
        for example in drawn:
            width = len(example.prompt_ids) + len(example.completion_ids)
            if (len(batches[-1]) + 1) * width > batch_tokens:
                batches.append([])
            batches[-1].append(example)
        for number in rng.permutation(len(batches)):
            if sent < steps:
                sent += 1
                yield _pad(batches[number])


def _schedule(step: int, *, steps: int) -> float:
    return min(1.0, (step + 1) / 50, (steps - step) / (0.5 * steps))


def pretrain(
    *,
    seed: int = SEED,
    steps: int = STEPS,
    batch_tokens: int = BATCH_TOKENS,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> tuple[Qwen3ForCausalLM, PreTrainedTokenizerFast]:
    """Trains the base policy; the same seed on the same machine gives the same weights.

    Args:
        on_step: called with the step number and its mean loss in nats per token.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    tokenizer = make_tokenizer()
    assert isinstance(tokenizer.pad_token_id, int)
    assert isinstance(tokenizer.eos_token_id, int)
    config = lab_config(
        len(tokenizer), end_id=tokenizer.eos_token_id, pad_id=tokenizer.pad_token_id
    )
    model = Qwen3ForCausalLM(config).train()
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    muon = Muon(matrices)
    adamw = torch.optim.AdamW(others, lr=OTHER_RATE, betas=(0.9, 0.95), weight_decay=0.0)
    batches = draw_batches(tokenizer, steps=steps, batch_tokens=batch_tokens, rng=rng)
    for step, (ids_BT, labels_BT) in enumerate(batches):
        logits_BTV = model(input_ids=ids_BT).logits
        loss = torch.nn.functional.cross_entropy(
            logits_BTV[:, :-1].flatten(0, 1), labels_BT[:, 1:].flatten(), ignore_index=IGNORE
        )
        loss.backward()
        factor = _schedule(step, steps=steps)
        for group in adamw.param_groups:
            group["lr"] = OTHER_RATE * factor
        muon.step(learning_rate=MATRIX_RATE * factor)
        adamw.step()
        model.zero_grad(set_to_none=True)
        on_step(step, loss.item())
    return model.eval(), tokenizer


def save(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Writes an ordinary Hugging Face folder."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
