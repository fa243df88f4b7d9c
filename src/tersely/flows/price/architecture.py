"""The figures of a model that its price depends on: from its config.json, or known by name."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tersely.core.parsing import parse_json
from tersely.engines.folders import CONFIG_FILE, place_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A decoder of gated feed-forward layers and grouped-query attention.

    Args:
        tied: input and output embeddings are one matrix.
        qk_norm: queries and keys are normalised (Qwen3).
        qkv_bias: their projections have biases (Qwen2).
        experts: routed experts a layer, of which each token goes through ``experts_active``; 0 for
            one dense feed-forward layer of width ``intermediate``.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    tied: bool
    qk_norm: bool = True
    qkv_bias: bool = False
    experts: int = 0
    experts_active: int = 0
    expert_intermediate: int = 0

    @property
    def expert_parameters(self) -> int:
        """One routed expert of one layer: gate, up and down."""
        return 3 * self.hidden * self.expert_intermediate

    @property
    def shared_parameters(self) -> int:
        """All that every token goes through, and the embeddings."""
        embeddings = self.vocab * self.hidden * (1 if self.tied else 2)
        return embeddings + self.layers * self._layer + self.hidden

    @property
    def _layer(self) -> int:
        """A layer without its routed experts."""
        projected = (self.heads + 2 * self.kv_heads) * self.head_dim
        attention = self.hidden * projected + self.heads * self.head_dim * self.hidden
        extras = self.qkv_bias * projected + self.qk_norm * 2 * self.head_dim + 2 * self.hidden
        if self.experts:
            return attention + extras + self.hidden * self.experts
        return attention + extras + 3 * self.hidden * self.intermediate

    @property
    def parameters(self) -> int:
        """All weights."""
        return self.shared_parameters + self.layers * self.experts * self.expert_parameters

    @property
    def active_parameters(self) -> int:
        """The weights that one token goes through, embeddings included."""
        routed = self.layers * self.experts_active * self.expert_parameters
        return self.shared_parameters + routed

    @property
    def multiplied_parameters(self) -> int:
        """The weights that one token is multiplied with; an embedding is only looked up."""
        return self.active_parameters - (0 if self.tied else self.vocab * self.hidden)

    @property
    def cache_bytes(self) -> int:
        """Keys and values of one token in bfloat16: ``2 x layers x kv heads x head dim x 2``."""
        return 2 * self.layers * self.kv_heads * self.head_dim * 2

    @property
    def attention_flops(self) -> int:
        """What a token costs for each token before it: a product with its key and one with its
        value, ``4 x layers x heads x head dim``."""
        return 4 * self.layers * self.heads * self.head_dim


def _qwen3(
    *,
    layers: int,
    hidden: int,
    heads: int,
    intermediate: int,
    kv_heads: int = 8,
    tied: bool = True,
    experts: int = 0,
    experts_active: int = 0,
    expert_intermediate: int = 0,
) -> Architecture:
    return Architecture(
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=128,
        intermediate=intermediate,
        vocab=151_936,
        tied=tied,
        experts=experts,
        experts_active=experts_active,
        expert_intermediate=expert_intermediate,
    )


_QWEN3_4B = _qwen3(layers=36, hidden=2560, heads=32, intermediate=9728)
_QWEN3_30B = _qwen3(
    layers=48,
    hidden=2048,
    heads=32,
    kv_heads=4,
    intermediate=6144,
    tied=False,
    experts=128,
    experts_active=8,
    expert_intermediate=768,
)

# Of the shipped recipes' models, by the last part of their names. Qwen3's figures are those that
# slime's model scripts (github.com/THUDM/slime, scripts/models) give Megatron; R1-Distill-Qwen's
# are Qwen2.5-Math-1.5B's with a head of its own, from memory. The tests hold the sums of weights
# against the published ones.
KNOWN = {
    "Qwen3-0.6B": _qwen3(layers=28, hidden=1024, heads=16, intermediate=3072),
    "Qwen3-1.7B": _qwen3(layers=28, hidden=2048, heads=16, intermediate=6144),
    "Qwen3-4B-Instruct-2507": _QWEN3_4B,
    "Qwen3-4B-Thinking-2507": _QWEN3_4B,
    "Qwen3-8B": _qwen3(layers=36, hidden=4096, heads=32, intermediate=12288, tied=False),
    "Qwen3-30B-A3B-Instruct-2507": _QWEN3_30B,
    "Qwen3-30B-A3B-Thinking-2507": _QWEN3_30B,
    "DeepSeek-R1-Distill-Qwen-1.5B": Architecture(
        layers=28,
        hidden=1536,
        heads=12,
        kv_heads=2,
        head_dim=128,
        intermediate=8960,
        vocab=151_936,
        tied=False,
        qk_norm=False,
        qkv_bias=True,
    ),
}


# Keys of layers that an ``Architecture`` has not: experts that are shared, in some layers only, or
# under other names; compressed keys; layers without attention.
_UNCOUNTED = (
    "n_routed_experts",
    "moe_num_experts",
    "n_shared_experts",
    "num_shared_experts",
    "shared_expert_intermediate_size",
    "intermediate_size_mlp",
    "mlp_only_layers",
    "kv_lora_rank",
)
_UNCOUNTED_KINDS = ("mamba_", "linear_")


def find_architecture(path: str) -> Architecture | None:
    """The figures of the model that a recipe names; None if they are not known.

    Args:
        path: ``model.path``: a folder with config.json, or what ends in a known model's name.
    """
    file = place_of(path) / CONFIG_FILE
    if not file.is_file():
        return KNOWN.get(Path(path).name)
    try:
        return _read(parse_json(file.read_bytes()))
    except (ValueError, KeyError, TypeError):
        return None


def _read(config: dict[str, Any]) -> Architecture:
    """From transformers' names, of which older files leave some out.

    Raises:
        ValueError: it has layers that are not counted, so its price would be another model's.
    """
    other = [key for key in config if key in _UNCOUNTED or key.startswith(_UNCOUNTED_KINDS)]
    if any(config[key] for key in other) or config.get("decoder_sparse_step", 1) != 1:
        raise ValueError(f"layers that are not counted: {', '.join(other)}")
    heads, hidden = config["num_attention_heads"], config["hidden_size"]
    kind = str(config.get("model_type", ""))
    experts = config.get("num_experts", config.get("num_local_experts")) or 0
    width = config["intermediate_size"]
    return Architecture(
        layers=config["num_hidden_layers"],
        hidden=hidden,
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or hidden // heads,
        intermediate=width,
        vocab=config["vocab_size"],
        tied=config.get("tie_word_embeddings", False),
        qk_norm=kind.startswith("qwen3"),
        qkv_bias=kind == "qwen2" or bool(config.get("attention_bias")),
        experts=experts,
        experts_active=config["num_experts_per_tok"] if experts else 0,
        expert_intermediate=config.get("moe_intermediate_size", width) if experts else 0,
    )
