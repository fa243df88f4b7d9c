"""What the parts of bench/gpu.py share: how much is measured, the models, the card's peaks."""

import gc
from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

import torch
from sampler import tiny_tokenizer
from transformers import AutoConfig, LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from tersely.core.types import Problem
from tersely.engines.learning.learner import LocalLearner
from tersely.engines.models import device, lab_folder
from tersely.flows.price.architecture import KNOWN, Architecture
from tersely.flows.price.roofline import H100, H200

# Dense bfloat16 FLOP/s and bytes/s by the data sheets, by the name that CUDA gives the card.
CARDS = {
    "NVIDIA H200": (H200.flops, H200.bandwidth),
    "NVIDIA H100 80GB HBM3": (H100.flops, H100.bandwidth),
    "NVIDIA H100 PCIe": (756e12, 2.0e12),
    "NVIDIA A100-SXM4-80GB": (312e12, 2.04e12),
    "NVIDIA A100 80GB PCIe": (312e12, 1.94e12),
    "NVIDIA A100-SXM4-40GB": (312e12, 1.56e12),
    "NVIDIA L40S": (362e12, 0.86e12),
    "NVIDIA L4": (121e12, 0.30e12),
    "NVIDIA GeForce RTX 4090": (165e12, 1.01e12),
}
# Random weights draw every token alike, so that this share of the vocabulary as stop tokens makes
# lengths geometric with this mean.
MEAN_TOKENS = 80
# Samples a problem, and rows that share a prompt.
GROUP = 8


class Size(NamedTuple):
    """How much is measured.

    Args:
        middle: the model of all parts that take one only.
        rows: most rollouts in flight.
        decode_tokens: of each rollout, where the sampler is timed.
        learn_tokens: of the timed step, in forward passes of ``micro_batch_tokens``.
        check_rows, check_tokens: rollouts, and the tokens of each, that are compared with float32.
        resume, rl, demo: overrides of these runs' recipes.
    """

    models: tuple[str, ...]
    middle: str
    contexts: tuple[int, ...]
    rows: int
    decode_tokens: int
    learn_tokens: int
    micro_batch_tokens: int
    check_rows: int
    check_tokens: int
    generate_problems: int
    repeats: int
    resume: tuple[str, ...]
    rl: tuple[str, ...]
    demo: tuple[str, ...]


FULL = Size(
    models=("0.3M", "135M", "0.6B"),
    middle="135M",
    contexts=(1024, 8192),
    rows=64,
    decode_tokens=128,
    learn_tokens=65_536,
    micro_batch_tokens=8192,
    check_rows=16,
    check_tokens=128,
    generate_problems=32,
    repeats=2,
    resume=("problems.test_limit=16", "sampling.prompts_per_step=8"),
    rl=("learner.steps=20",),
    demo=("evaluation.every_steps=60",),
)
REDUCED = Size(
    models=("0.3M",),
    middle="0.3M",
    contexts=(64,),
    rows=8,
    decode_tokens=8,
    learn_tokens=512,
    micro_batch_tokens=256,
    check_rows=4,
    check_tokens=24,
    generate_problems=2,
    repeats=1,
    resume=(
        "problems.test_limit=2", "sampling.prompts_per_step=2", "learner.steps=2",
        "checkpoint.every_steps=1",
    ),
    rl=("learner.steps=2", "sampling.prompts_per_step=2", "sampling.cap_tokens=32"),
    demo=(
        "learner.steps=2", "evaluation.every_steps=2", "evaluation.samples=2",
        "problems.test_limit=8", "problems.train_limit=40", "sampling.prompts_per_step=4",
        "sampling.cap_tokens=48", "target.tokens=30",
        "evaluation.budgets=[20, 40, 48]",
    ),
)  # fmt: skip


def model_of(name: str, *, positions: int, where: torch.device) -> Any:
    """Random weights in the shape of the lab's first model (0.3M), SmolLM2-135M or Qwen3-0.6B."""
    kinds: dict[str, tuple[Any, Callable[[int], Any]]] = {
        "0.3M": (Qwen3ForCausalLM, _lab_shape),
        "135M": (LlamaForCausalLM, _smollm_shape),
        "0.6B": (Qwen3ForCausalLM, _qwen_shape),
    }
    kind, shape = kinds[name]
    torch.manual_seed(0)
    with where:
        return kind(shape(positions)).eval()


def _lab_shape(positions: int) -> Any:
    config = AutoConfig.from_pretrained(lab_folder("lab-v1"))
    config.max_position_embeddings, config.vocab_size = positions, 64
    return config


def _smollm_shape(positions: int) -> Any:
    return LlamaConfig(
        vocab_size=49_152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
        num_attention_heads=9, num_key_value_heads=3, max_position_embeddings=positions,
        rope_parameters={"rope_type": "default", "rope_theta": 1e5}, tie_word_embeddings=True,
        pad_token_id=0, bos_token_id=None, eos_token_id=1,
    )  # fmt: skip


def _qwen_shape(positions: int) -> Any:
    known: Architecture = KNOWN["Qwen3-0.6B"]
    return Qwen3Config(
        vocab_size=known.vocab, hidden_size=known.hidden, intermediate_size=known.intermediate,
        num_hidden_layers=known.layers, num_attention_heads=known.heads,
        num_key_value_heads=known.kv_heads, head_dim=known.head_dim,
        max_position_embeddings=positions, tie_word_embeddings=known.tied,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        pad_token_id=0, bos_token_id=None, eos_token_id=1,
    )  # fmt: skip


def architecture_of(model: Any) -> Architecture:
    """The figures of a model of ``model_of``, for the work that a token makes."""
    config = model.config
    return Architecture(
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_dim=config.head_dim,
        intermediate=config.intermediate_size,
        vocab=config.vocab_size,
        tied=config.tie_word_embeddings,
        qk_norm=config.model_type == "qwen3",
    )


def stopping_model(name: str, *, positions: int, where: torch.device) -> tuple[Any, Any]:
    """A model and its tokenizer that stop after ``MEAN_TOKENS`` tokens in the mean."""
    model = model_of(name, positions=positions, where=where)
    stops = max(1, model.config.vocab_size // MEAN_TOKENS)
    model.generation_config.eos_token_id = list(range(1, 1 + stops))
    return model, tiny_tokenizer(model.config.vocab_size)


def prompt_of(number: int, *, words: int, vocabulary: int) -> str:
    """Random words of the upper half of the vocabulary, where no stop token lies."""
    drawn = torch.randint(
        vocabulary // 2, vocabulary, (words,), generator=torch.Generator().manual_seed(number)
    )
    return " ".join(f"w{token}" for token in drawn.tolist())


def random_problems(problems: int, *, vocabulary: int) -> list[Problem]:
    """Questions of random words."""
    return [
        Problem(
            id=f"q{i}", prompt=prompt_of(i, words=24, vocabulary=vocabulary), answer="7", source="x"
        )
        for i in range(problems)
    ]


def learner_of(
    model: Any, *, checkpointing: bool = False, micro_batch_tokens: int = 8192
) -> LocalLearner:
    """A learner that never scales a gradient and hardly moves a weight."""
    return LocalLearner(
        model,
        learning_rate=1e-12,
        warmup_steps=0,
        tokens_per_micro_batch=micro_batch_tokens,
        max_grad_norm=1e12,
        gradient_checkpointing=checkpointing,
    )


def fresh() -> None:
    """Gives back what earlier parts held, and counts peak memory from here."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_gb() -> float | None:
    """Most memory that tensors took since ``fresh``, in GB."""
    return torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else None


def free_bytes() -> float:
    """What the card has free; without a card enough for anything that is measured there."""
    return float(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else 1e12


def timed(work: Callable[[], Any]) -> float:
    """Seconds that a piece of work takes, until the card has done it."""
    wait()
    began = perf_counter()
    work()
    wait()
    return perf_counter() - began


def wait() -> None:
    """Until the card has done all that it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def card() -> str:
    """The name of the GPU; "CPU" without one."""
    return torch.cuda.get_device_name() if device().type == "cuda" else "CPU"


def share(done_per_s: float, *, of: str) -> float | None:
    """The share of the card's peak ``flops`` or ``bandwidth``; None for a card not listed."""
    peaks = CARDS.get(card())
    return done_per_s / peaks[("flops", "bandwidth").index(of)] if peaks else None
