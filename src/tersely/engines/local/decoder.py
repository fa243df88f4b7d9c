"""A lean decoder for Qwen3, Qwen2 and Llama weights: fused matrices and a static key-value cache.

Axes: B rows, G prompts, T tokens, P cache positions, H query heads, K key-value heads,
R = H / K, D head size, E hidden size, F feed-forward size, V vocabulary. Within a head the two
halves of each rotary pair are stored side by side, so that a rotation is one complex product;
queries and keys are permuted alike, which leaves their products as they were.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Complex64, Float, Int64
from torch import Tensor

from tersely.core.errors import EngineError
from tersely.engines.learning.lora import merged_weight
from tersely.engines.local.cache import CacheWindow, KVCache
from tersely.engines.local.kernel import MAX_HEAD_DIM, load_kernel
from tersely.engines.local.pages import PAGE, PagedCache, zero_pages
from tersely.engines.local.panels import PanelModel, Sizes, panel_model
from tersely.engines.local.products import add_product, packed, product, worth_packing
from tersely.engines.local.weights import LayerWeights
from tersely.engines.models import sampling_dtype

_MODEL_TYPES = ("llama", "qwen2", "qwen3")
_ROPE_TYPES = ("default", "linear", "llama3", "yarn")
_SUPPORTED = (
    f"supported are {', '.join(_MODEL_TYPES)} with silu, full attention, rope "
    f"{'/'.join(_ROPE_TYPES)}, no quantization, and biases on nothing but Qwen2's q, k and v"
)


class Prefill(NamedTuple):
    """A prompt batch's keys and values (axis 1: key, value) and final normed hidden states."""

    kv: Float[Tensor, "L 2 G K T D"]
    hidden_GTE: Float[Tensor, "G T E"]


def unsupported(config: Any) -> str | None:
    """Why this Hugging Face config cannot be decoded here, or None if it can."""
    if config.model_type not in _MODEL_TYPES:
        return f"model_type {config.model_type!r}"
    table = getattr(config, "rope_parameters", None) or {}
    rope = table.get("rope_type", "default")
    layer_types = set(getattr(config, "layer_types", None) or ())
    sliding = getattr(config, "use_sliding_window", False) and config.sliding_window is not None
    reasons = {
        f"rope_type {rope!r}": rope not in _ROPE_TYPES,
        "rotation of a part of each head": table.get("partial_rotary_factor", 1.0) != 1.0,
        f"hidden_act {config.hidden_act!r}": config.hidden_act != "silu",
        "sliding-window attention": bool(layer_types - {"full_attention"}) or sliding,
        "attention_bias": bool(getattr(config, "attention_bias", False)),
        "mlp_bias": bool(getattr(config, "mlp_bias", False)),
        "quantized weights": getattr(config, "quantization_config", None) is not None,
    }
    found = [reason for reason, holds in reasons.items() if holds]
    return f"model_type {config.model_type!r} with {', '.join(found)}" if found else None


def supports(config: Any) -> bool:
    """Whether :class:`Decoder` can read a model with this Hugging Face config."""
    return unsupported(config) is None


class Decoder:
    """Prefill and one-token steps with the weights of a Hugging Face causal language model.

    Embedding and output matrix are the model's own tensors where the dtype allows, but for an
    output matrix that is packed or in panels; the fused copies, adapters merged into them, change
    only in ``refresh``.

    Args:
        dtype: of weights and cache; None is ``sampling_dtype`` of the model's device. bfloat16 on
            a CPU is that of a large model's matrices alone: all else stays float32, and is faster.

    Raises:
        EngineError: the architecture is not one this decoder knows.
    """

    def __init__(self, model: Any, *, dtype: torch.dtype | None = None) -> None:
        config = model.config
        if reason := unsupported(config):
            raise EngineError(f"cannot decode {reason}; {_SUPPORTED}; use HFSampler instead")
        self.device = model.get_input_embeddings().weight.device
        self._matrix_dtype = dtype or sampling_dtype(self.device)
        self.heads = int(config.num_attention_heads)
        self.kv_heads = int(config.num_key_value_heads)
        self.head_dim = int(
            getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        )
        self.hidden = int(config.hidden_size)
        self.ffn = int(config.intermediate_size)
        self.vocab = int(config.vocab_size)
        self.max_positions = int(config.max_position_embeddings)
        self.rms_eps = float(config.rms_norm_eps)
        # the smallest two
        shapes = [(self.hidden, self.heads * self.head_dim), (self.hidden, self.ffn)]
        on_cpu = self.device.type == "cpu"
        self._packs = on_cpu and worth_packing(shapes, dtype=self._matrix_dtype)
        self.dtype = torch.float32 if self._packs else self._matrix_dtype
        in_kernel = on_cpu and self.dtype == torch.float32
        self.kernel = load_kernel() if in_kernel and self.head_dim <= MAX_HEAD_DIM else None
        with torch.no_grad():
            self._eps_1 = torch.tensor(self.rms_eps, device=self.device)
            self._layers = [self._empty_layer(layer) for layer in model.model.layers]
            self._rotation_P1D = self._rotations(model, positions=256)
        self.panels = None if self._packs else self._panel_model()
        self.refresh(model)

    def refresh(self, model: Any) -> None:
        """Reads the weights again, in place, after an optimizer step."""
        self._rotary = model.model.rotary_emb
        with torch.no_grad():
            self._embed_VE = self._detached(merged_weight(model.get_input_embeddings()))
            # with that the packed one of the last time is gone before there is a new one
            self._head_VE = self._detached(merged_weight(model.get_output_embeddings()))
            if self._packs:
                self._head_VE = packed(self._head_VE, dtype=self._matrix_dtype)
            self._norm_E = model.model.norm.weight.detach().to(self.dtype)
            for index, layer in enumerate(model.model.layers):
                if not self._packs:
                    self._load_layer(self._layers[index], layer)
                    continue
                weights = self._empty_layer(layer)
                self._load_layer(weights, layer)
                self._layers[index] = weights.packed(self._matrix_dtype)

            if self.panels is not None:
                self.panels.load(
                    self._layers,
                    embed_VE=self._embed_VE,
                    norm_E=self._norm_E,
                    head_VE=self._head_VE,
                )

    def _panel_model(self) -> PanelModel | None:
        if self.kernel is None:
            return None
        heads = (self.heads, self.kv_heads, self.head_dim)
        sizes = Sizes(len(self._layers), *heads, self.hidden, self.ffn, self.vocab)
        return panel_model(self.kernel, sizes, eps=self.rms_eps)

    def _detached(self, weight: Tensor) -> Tensor:
        return weight.detach().to(self.dtype)

    def new_cache(self, *, rows: int, width: int) -> KVCache | PagedCache:
        """An empty cache for ``rows`` rows of ``width`` positions, this model's shape and dtype."""
        layers, heads, dim = len(self._layers), self.kv_heads, self.head_dim
        shape = (layers, 2, rows, heads, width, dim)
        if self.kernel is not None:
            return PagedCache(zero_pages((layers, rows, heads, 2, -(-width // PAGE), PAGE * dim)))
        return KVCache(torch.zeros(shape, dtype=self.dtype, device=self.device))

    def prefill(self, ids_GT: Int64[Tensor, "G T"]) -> Prefill:
        """Runs whole prompts, right-padded: what follows a row's own tokens is to be ignored."""
        prompts, width = ids_GT.shape
        stored: list[Tensor] = []

        def attend(_: int, qkv: Tensor) -> Tensor:
            heads = qkv.view(prompts, width, -1, self.head_dim).transpose(1, 2)
            q, k, v = heads.split((self.heads, self.kv_heads, self.kv_heads), dim=1)
            stored.append(torch.stack((k, v)))
            out = F.scaled_dot_product_attention(
                q, k, v, is_causal=True, scale=1.0, enable_gqa=self.heads != self.kv_heads
            )
            return out.transpose(1, 2).reshape(prompts * width, -1)

        position_T = torch.arange(width, device=self.device)
        hidden = self._run(ids_GT.reshape(-1), position_T.repeat(prompts), width, attend)
        return Prefill(torch.stack(stored), hidden.view(prompts, width, -1))

    def decode_step(
        self,
        token_B: Int64[Tensor, " B"],
        position_B: Int64[Tensor, " B"],
        *,
        cache: KVCache,
        place_BK: Int64[Tensor, "B KK"],
        windows: Sequence[Sequence[CacheWindow]],
    ) -> Float[Tensor, "B V"]:
        """Next-token logits after one more token in each of cache rows 0..B-1.

        Args:
            position_B: where the token goes, per row.
            place_BK: ``cache.places(position_B)``, kept by the caller because it only counts up.
            windows: ``cache.windows(...)``, covering exactly the B rows and all their positions.
        """
        rows = token_B.shape[0]
        cache.open(place_BK)

        def attend(layer: int, qkv: Tensor) -> Tensor:
            heads = qkv.view(rows, -1, self.head_dim)
            cache.write(layer, place_BK, heads[:, self.heads :])
            out = torch.empty(rows, self.heads * self.head_dim, dtype=qkv.dtype, device=qkv.device)
            out_B = out.view(rows * self.kv_heads, -1, self.head_dim)
            q_B = heads[:, : self.heads].reshape(out_B.shape)
            for window in windows[layer]:
                lo, hi = window.first, window.last
                score = torch.baddbmm(window.bias, q_B[lo:hi], window.key)
                torch.bmm(torch.softmax(score, dim=-1), window.value, out=out_B[lo:hi])
            return out

        hidden = self._run(token_B, position_B, cache.width, attend)
        return self.logits(hidden)

    def kernel_step(
        self, token_B: Int64[Tensor, " B"], position_B: Int64[Tensor, " B"], *, cache: PagedCache
    ) -> Float[Tensor, "B V"]:
        """As ``decode_step``, with a paged cache: what is no matrix product runs in the kernel."""
        assert self.kernel is not None
        kernel, eps, rows = self.kernel, self.rms_eps, token_B.shape[0]
        self._reach(cache.width)
        if self.panels is not None and rows >= self.panels.fewest_rows:
            rotation = self._rotation_P1D
            return self.panels.step(token_B, position_B, rotation_P1D=rotation, cache=cache)
        x_BE = F.embedding(token_B, self._embed_VE)
        normed_BE, mixed = torch.empty_like(x_BE), x_BE.new_empty(rows, self.heads * self.head_dim)
        gate_up, ffn_BF = x_BE.new_empty(rows, 2 * self.ffn), x_BE.new_empty(rows, self.ffn)
        for w, pages in zip(self._layers, cache.layers(), strict=True):
            kernel.rms(x_BE, normed_BE, eps=eps)
            kernel.attend(
                product(normed_BE, w.qkv, w.qkv_bias), w.qk_gain, self._rotation_P1D, position_B,
                pages, mixed, eps=eps,
            )  # fmt: skip
            add_product(x_BE, mixed, w.out)
            kernel.rms(x_BE, normed_BE, eps=eps)
            kernel.swiglu(product(normed_BE, w.gate_up, spare=gate_up), ffn_BF)
            add_product(x_BE, ffn_BF, w.down)
        kernel.rms(x_BE, normed_BE, eps=eps)
        return self.logits(normed_BE.mul_(self._norm_E))

    def logits(self, hidden: Float[Tensor, "*B E"]) -> Float[Tensor, "*B V"]:
        """The output matrix on final normed hidden states."""
        return product(hidden, self._head_VE)

    def _run(
        self,
        token_B: Int64[Tensor, " B"],
        position_B: Int64[Tensor, " B"],
        positions: int,
        attend: Callable[[int, Tensor], Tensor],
    ) -> Float[Tensor, "B E"]:
        """All layers over a flat list of tokens; ``attend`` turns rotated qkv into mixed values."""
        self._reach(positions)
        rotation_B1D = self._rotation_P1D.index_select(0, position_B)
        x_BE = F.embedding(token_B, self._embed_VE)
        for index, w in enumerate(self._layers):
            qkv = product(self._rms(x_BE), w.qkv, w.qkv_bias)
            qkv = self._rotate(qkv, w.qk_gain, rotation_B1D)
            add_product(x_BE, attend(index, qkv), w.out)
            gate_up = product(self._rms(x_BE), w.gate_up)
            ffn = F.silu(gate_up[:, : self.ffn]).mul_(gate_up[:, self.ffn :])
            add_product(x_BE, ffn, w.down)
        return self._rms(x_BE).mul_(self._norm_E)

    def _rotate(
        self,
        qkv: Float[Tensor, "B QKV"],
        gain: Float[Tensor, "HK D"] | None,
        rotation_B1D: Complex64[Tensor, "B 1 half"],
    ) -> Float[Tensor, "B QKV"]:
        """Per-head norm (where the model has one) and rotary positions, on q and k, in place."""
        full = qkv.float()
        heads = full.view(full.shape[0], -1, self.head_dim)[:, : self.heads + self.kv_heads]
        if gain is not None:
            heads.mul_(self._rms_scale(heads)).mul_(gain)
        pairs = torch.view_as_complex(heads.unflatten(-1, (-1, 2)))
        pairs.mul_(rotation_B1D)
        return full.to(qkv.dtype)

    def _rms(self, x: Float[Tensor, "*B E"]) -> Float[Tensor, "*B E"]:
        full = x.float()
        return (full * self._rms_scale(full)).to(x.dtype)

    def _rms_scale(self, x: Float[Tensor, "*B E"]) -> Float[Tensor, "*B 1"]:
        """``(mean(x**2) + eps) ** -1/2``; the vector norm is one pass, a mean of squares two."""
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return torch.addcmul(self._eps_1, norm, norm, value=1.0 / x.shape[-1]).rsqrt_()

    def _reach(self, positions: int) -> None:
        """Rotations of at least so many positions."""
        if positions > self._rotation_P1D.shape[0]:
            self._rotation_P1D = self._rotations(None, positions=2 * positions)

    def _rotations(self, model: Any, *, positions: int) -> Complex64[Tensor, "P 1 half"]:
        """``attention_scaling * exp(i * position * inv_freq)``, as the model's rotary module."""
        rotary = self._rotary if model is None else model.model.rotary_emb
        inv_freq = rotary.inv_freq.to(device=self.device, dtype=torch.float32)
        angle = torch.outer(torch.arange(positions, device=self.device).float(), inv_freq)
        scale = torch.full_like(angle, float(rotary.attention_scaling))
        return torch.polar(scale, angle).unsqueeze(1)

    def _empty_layer(self, layer: Any) -> LayerWeights:
        def empty(*shape: int, dtype: torch.dtype = self.dtype) -> Tensor:
            return torch.empty(shape, dtype=dtype, device=self.device)

        qk_heads = self.heads + self.kv_heads
        qkv = (qk_heads + self.kv_heads) * self.head_dim
        normed = hasattr(layer.self_attn, "q_norm")
        return LayerWeights(
            qkv=empty(qkv, self.hidden),
            qkv_bias=None if layer.self_attn.q_proj.bias is None else empty(qkv),
            qk_gain=empty(qk_heads, self.head_dim, dtype=torch.float32) if normed else None,
            out=empty(self.hidden, self.heads * self.head_dim),
            gate_up=empty(2 * self.ffn, self.hidden),
            down=empty(self.hidden, self.ffn),
        )

    def _load_layer(self, w: LayerWeights, layer: Any) -> None:
        attn, mlp = layer.self_attn, layer.mlp
        gain_in = layer.input_layernorm.weight.float()
        gain_ffn = layer.post_attention_layernorm.weight.float()
        scale = self.head_dim**-0.5
        normed = w.qk_gain is not None
        parts = (attn.q_proj, attn.k_proj, attn.v_proj)
        sizes = [p.weight.shape[0] for p in parts]
        for part, rows, name in zip(parts, w.qkv.split(sizes), "qkv", strict=True):
            factor = gain_in * scale if name == "q" and not normed else gain_in
            rows.copy_(self._paired(merged_weight(part) * factor, rotary=name != "v"))
        if w.qkv_bias is not None:
            for part, rows, name in zip(parts, w.qkv_bias.split(sizes), "qkv", strict=True):
                bias = part.bias * scale if name == "q" and not normed else part.bias
                rows.copy_(self._paired(bias, rotary=name != "v"))
        if w.qk_gain is not None:
            w.qk_gain[: self.heads] = self._paired(attn.q_norm.weight * scale, rotary=True)
            w.qk_gain[self.heads :] = self._paired(attn.k_norm.weight, rotary=True)
        w.out.copy_(merged_weight(attn.o_proj))
        w.gate_up[: self.ffn] = merged_weight(mlp.gate_proj) * gain_ffn
        w.gate_up[self.ffn :] = merged_weight(mlp.up_proj) * gain_ffn
        w.down.copy_(merged_weight(mlp.down_proj))

    def _paired(self, x: Tensor, *, rotary: bool) -> Tensor:
        """Rows of each head from (all first, all second) halves to alternating pairs."""
        if not rotary:
            return x
        halves = x.reshape(-1, 2, self.head_dim // 2, *x.shape[1:])
        return halves.transpose(1, 2).reshape(x.shape)
