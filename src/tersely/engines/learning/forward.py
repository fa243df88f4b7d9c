"""A lean forward pass over a tree of tokens, with gradients, for Qwen3, Qwen2 and Llama weights.

It computes what the Hugging Face model computes, from the same parameters, which get the same
gradients. Each token is run once; linear layers see one flat list of tokens, and only attention
sees rows. Fused steps bring their own backward passes and keep less than autograd would.

Axes: N tokens, E hidden size, F feed-forward size, H query heads, K key-value heads, D head size,
W = (H + 2 K) D, P = (H + K) D / 2 rotary pairs, V vocabulary, M tokens that predict, C predictions.
Within a head the two halves of each rotary pair stand side by side, so that a rotation is one
complex product.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Complex64, Float, Int
from torch import Tensor

from tersely.algo.kl import token_entropy
from tersely.engines.learning.lora import has_lora
from tersely.engines.learning.tree import TokenTree
from tersely.engines.local.decoder import supports


class TreeLogProbs(NamedTuple):
    """What a tree's forward pass says of its predictions."""

    logp_C: Float[Tensor, " C"]
    entropy_C: Float[Tensor, " C"] | None


class _Heads(NamedTuple):
    """Attention's sizes, the model's epsilon of all norms, and whether products are bfloat16's."""

    query: int
    key: int
    size: int
    eps: float
    half: bool


def runs_lean(model: Any) -> bool:
    """Whether :func:`tree_logp` computes what this model does: on a CPU, without adapters."""
    return (
        supports(model.config)
        and not has_lora(model)
        and all(w.dtype == torch.float32 and w.device.type == "cpu" for w in model.parameters())
    )


def tree_logp(
    model: Any,
    tree: TokenTree,
    *,
    temperature: float,
    with_entropy: bool = False,
    half: bool = False,
) -> TreeLogProbs:
    """Log-probs of the tree's predictions under the temperature-scaled policy.

    ``half``: products are bfloat16's, summed in float32, but for those of attention and of logits,
    whose rounding would move log-probs by hundredths.
    """
    hidden_ME, head = _hidden(model, tree, half=half), model.get_output_embeddings()
    bias = getattr(head, "bias", None)
    if not with_entropy:
        chosen = (tree.logits_C, tree.chosen_C)
        logp_C = _LogProb.apply(hidden_ME, head.weight, bias, *chosen, temperature, half)
        return TreeLogProbs(logp_C, None)
    logits_MV = F.linear(hidden_ME, head.weight, bias) / temperature
    logp_MV = logits_MV.log_softmax(dim=1)
    entropy_M = token_entropy(logits_MV)
    return TreeLogProbs(logp_MV[tree.logits_C, tree.chosen_C], entropy_M[tree.logits_C])


def _hidden(model: Any, tree: TokenTree, *, half: bool) -> Float[Tensor, "M E"]:
    """Final normed hidden states of the tokens that predict."""
    config, base = model.config, model.model
    query, key = int(config.num_attention_heads), int(config.num_key_value_heads)
    size = int(getattr(config, "head_dim", None) or config.hidden_size // query)
    heads = _Heads(query, key, size, float(config.rms_norm_eps), half)
    rotation_NP = _rotations(base.rotary_emb, tree.position_N, heads=query + key)
    embed = base.embed_tokens
    x_NE = F.embedding(tree.ids_N, embed.weight, embed.padding_idx)
    for layer in base.layers:
        qkv_NW = _projected(layer, x_NE, rotation_NP, heads)
        mixed_NE = _attend(qkv_NW, tree, heads)
        x_NE = _added(x_NE, mixed_NE, layer.self_attn.o_proj.weight.t(), half=half)
        matrices = [part.weight for part in (layer.mlp.gate_proj, layer.mlp.up_proj)]
        gain_E, down = layer.post_attention_layernorm.weight, layer.mlp.down_proj.weight
        x_NE = _FeedForward.apply(x_NE, gain_E, *matrices, down, heads)
    x_ME = F.embedding(tree.predicts_M, x_NE)
    normed_ME: Tensor = _Norm.apply(x_ME, base.norm.weight, heads.eps)
    return normed_ME


def _projected(
    layer: Any, x_NE: Float[Tensor, "N E"], rotation_NP: Complex64[Tensor, "N P"], heads: _Heads
) -> Float[Tensor, "N W"]:
    """Rotated queries and keys, and values."""
    attention = layer.self_attn
    parts = (attention.q_proj, attention.k_proj, attention.v_proj)
    q, k, v = (part.weight for part in parts)
    weight = torch.cat((_paired(q, heads), _paired(k, heads), v))
    bias = gain = None
    if parts[0].bias is not None:
        q, k, v = (part.bias for part in parts)
        bias = torch.cat((_paired(q, heads), _paired(k, heads), v))
    if hasattr(attention, "q_norm"):
        q, k = (_paired(norm.weight, heads) for norm in (attention.q_norm, attention.k_norm))
        gain = torch.cat((q.expand(heads.query, -1), k.expand(heads.key, -1)))
    qkv_NW: Tensor = _Project.apply(
        x_NE, layer.input_layernorm.weight, weight, bias, gain, rotation_NP, heads
    )
    return qkv_NW


def _paired(x: Tensor, heads: _Heads) -> Tensor:
    """Rows of each head from (all first, all second) halves to alternating pairs."""
    halves = x.reshape(-1, 2, heads.size // 2, *x.shape[1:])
    return halves.transpose(1, 2).reshape(x.shape)


def _rotations(
    rotary: Any, position_N: Int[Tensor, " N"], *, heads: int
) -> Complex64[Tensor, "N P"]:
    """``attention_scaling * exp(i * position * inv_freq)``, once for every head."""
    angle = torch.outer(position_N.float(), rotary.inv_freq.float())
    scale = torch.full_like(angle, float(rotary.attention_scaling))
    return torch.polar(scale, angle).repeat(1, heads)


def _attend(qkv_NW: Float[Tensor, "N W"], tree: TokenTree, heads: _Heads) -> Float[Tensor, "N HD"]:
    """Causal attention of every row over its own tokens; of what rows share, the first has it."""
    mixed = []
    for place_BT in tree.batches:
        rows = F.embedding(place_BT, qkv_NW).unflatten(-1, (-1, heads.size)).transpose(1, 2)
        q, k, v = rows.split((heads.query, heads.key, heads.key), dim=1)
        out = F.scaled_dot_product_attention(
            q, k, v, is_causal=True, enable_gqa=heads.query != heads.key
        )
        mixed.append(out.transpose(1, 2).reshape(-1, heads.query * heads.size))
    # An embedding, for its gradient adds rows several times as fast as that of an index.
    return F.embedding(tree.place_N, torch.cat(mixed))


def _product(a: Tensor, b: Tensor, *, half: bool) -> Tensor:
    """``a @ b``, of bfloat16 numbers where ``half``."""
    return (a.bfloat16() @ b.bfloat16()).float() if half else a @ b


def _added(x: Tensor, a: Tensor, b: Tensor, *, half: bool) -> Tensor:
    """``x + a @ b``."""
    return x + _product(a, b, half=True) if half else torch.addmm(x, a, b)


class _Unit(NamedTuple):
    """``x * scale``, of mean square 1 along the last axis."""

    unit: Float[Tensor, "*B E"]
    scale: Float[Tensor, "*B 1"]


def _unit(x: Float[Tensor, "*B E"], eps: float) -> _Unit:
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    scale = torch.addcmul(torch.tensor(eps), norm, norm, value=1.0 / x.shape[-1]).rsqrt_()
    return _Unit(x * scale, scale)


def _unit_backward_(d: Tensor, normed: _Unit, dot: Float[Tensor, "*B 1"]) -> Tensor:
    """Turns the gradient of ``unit`` into that of ``x``, in place; ``dot`` is ``<d, unit>``."""
    return d.addcmul_(normed.unit, dot, value=-1.0 / d.shape[-1]).mul_(normed.scale)


class _Gradients(NamedTuple):
    x: Tensor
    gain: Tensor


def _norm_backward_(d: Float[Tensor, "N E"], normed: _Unit, gain_E: Tensor) -> _Gradients:
    """Gradients of ``x`` and ``gain`` from that of ``gain * unit(x)``, which is overwritten."""
    each_NE = d * normed.unit
    dot_N1 = each_NE.mv(gain_E).unsqueeze(1)
    return _Gradients(_unit_backward_(d.mul_(gain_E), normed, dot_N1), each_NE.sum(0))


class _Norm(torch.autograd.Function):  # type: ignore[misc]
    """``gain * x / rms(x)``."""

    @staticmethod
    def forward(ctx: Any, x_NE: Tensor, gain_E: Tensor, eps: float) -> Tensor:
        normed = _unit(x_NE, eps)
        ctx.save_for_backward(*normed, gain_E)
        return normed.unit * gain_E

    @staticmethod
    def backward(ctx: Any, d_NE: Tensor) -> Any:
        unit, scale, gain_E = ctx.saved_tensors
        return *_norm_backward_(d_NE.clone(), _Unit(unit, scale), gain_E), None


class _Project(torch.autograd.Function):  # type: ignore[misc]
    """Norm, fused projection, the norm of each head where the model has one, and rotation."""

    @staticmethod
    def forward(
        ctx: Any,
        x_NE: Tensor,
        gain_E: Tensor,
        weight_WE: Tensor,
        bias_W: Tensor | None,
        gain_HD: Tensor | None,
        rotation_NP: Tensor,
        heads: _Heads,
    ) -> Tensor:
        normed = _unit(x_NE, heads.eps)
        y_NE = normed.unit * gain_E
        if heads.half:
            qkv_NW = _product(y_NE, weight_WE.t(), half=True)
            qkv_NW = qkv_NW if bias_W is None else qkv_NW.add_(bias_W)
        else:
            qkv_NW = F.linear(y_NE, weight_WE, bias_W)
        qk = qkv_NW[:, : 2 * rotation_NP.shape[1]]
        head_unit = None
        if gain_HD is not None:
            each = qk.unflatten(1, (-1, heads.size))
            head_unit = _unit(each, heads.eps)
            torch.mul(head_unit.unit, gain_HD, out=each)
        torch.view_as_complex(qk.unflatten(1, (-1, 2))).mul_(rotation_NP)
        ctx.save_for_backward(
            *normed, gain_E, weight_WE, rotation_NP, gain_HD, *(head_unit or (None, None))
        )
        ctx.heads, ctx.has_bias = heads, bias_W is not None
        return qkv_NW

    @staticmethod
    def backward(ctx: Any, d_NW: Tensor) -> Any:
        unit, scale, gain_E, weight_WE, rotation_NP, gain_HD, *head_unit = ctx.saved_tensors
        d_NW, d_gain_HD, d_bias_W = d_NW.clone(), None, None
        qk = d_NW[:, : 2 * rotation_NP.shape[1]]
        torch.view_as_complex(qk.unflatten(1, (-1, 2))).mul_(rotation_NP.conj())
        if gain_HD is not None:
            each, normed = qk.unflatten(1, (-1, ctx.heads.size)), _Unit(*head_unit)
            d_gain_HD = (each * normed.unit).sum(0)
            dot = (each.mul_(gain_HD) * normed.unit).sum(-1, keepdim=True)
            _unit_backward_(each, normed, dot)
        if ctx.has_bias:
            d_bias_W = d_NW.sum(0)
        half = ctx.heads.half
        d_weight_WE = _product(d_NW.t(), unit * gain_E, half=half)
        d_y_NE = _product(d_NW, weight_WE, half=half)
        d_x, d_gain_E = _norm_backward_(d_y_NE, _Unit(unit, scale), gain_E)
        return d_x, d_gain_E, d_weight_WE, d_bias_W, d_gain_HD, None, None


class _FeedForward(torch.autograd.Function):  # type: ignore[misc]
    """``x + down(silu(gate(y)) * up(y))``, ``y`` the normed ``x``."""

    @staticmethod
    def forward(
        ctx: Any,
        x_NE: Tensor,
        gain_E: Tensor,
        gate: Tensor,
        up: Tensor,
        down: Tensor,
        heads: _Heads,
    ) -> Tensor:
        half, normed = heads.half, _unit(x_NE, heads.eps)
        y_NE = normed.unit * gain_E
        gate_NF, up_NF = (_product(y_NE, weight.t(), half=half) for weight in (gate, up))
        silu_NF = F.silu(gate_NF)
        ctx.save_for_backward(*normed, gain_E, gate, up, down, gate_NF, up_NF, silu_NF)
        ctx.half = half
        return _added(x_NE, silu_NF * up_NF, down.t(), half=half)

    @staticmethod
    def backward(ctx: Any, d_NE: Tensor) -> Any:
        unit, scale, gain_E, gate, up, down, gate_NF, up_NF, silu_NF = ctx.saved_tensors
        half, inner_NF = ctx.half, silu_NF * up_NF
        d_down = _product(d_NE.t(), inner_NF, half=half)
        d_NF = _product(d_NE, down, half=half)
        d_up_NF = torch.mul(d_NF, silu_NF, out=inner_NF)
        d_gate_NF = torch.ops.aten.silu_backward(d_NF.mul_(up_NF), gate_NF)
        y_NE = unit * gain_E
        d_gate, d_up = (_product(d.t(), y_NE, half=half) for d in (d_gate_NF, d_up_NF))
        d_y_NE = _added(_product(d_gate_NF, gate, half=half), d_up_NF, up, half=half)
        d_x, d_gain_E = _norm_backward_(d_y_NE, _Unit(unit, scale), gain_E)
        return d_x.add_(d_NE), d_gain_E, d_gate, d_up, d_down, None


class _LogProb(torch.autograd.Function):  # type: ignore[misc]
    """``log softmax(logits / temperature)`` at the chosen tokens, holding one (M, V) array.

    Its backward pass overwrites that array, so that it runs once.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ME: Tensor,
        weight_VE: Tensor,
        bias_V: Tensor | None,
        row_C: Tensor,
        chosen_C: Tensor,
        temperature: float,
        half: bool,
    ) -> Tensor:
        logits_MV = F.linear(hidden_ME, weight_VE, bias_V)
        if temperature != 1:
            logits_MV.div_(temperature)
        logits_MV.sub_(logits_MV.amax(dim=1, keepdim=True))
        place_C = row_C * logits_MV.shape[1] + chosen_C
        chosen_logit_C = logits_MV.view(-1).index_select(0, place_C)
        total_M = logits_MV.exp_().sum(dim=1)
        ctx.save_for_backward(hidden_ME, weight_VE, row_C, place_C, total_M)
        ctx.exp_MV, ctx.temperature, ctx.has_bias = logits_MV, temperature, bias_V is not None
        ctx.half = half
        return chosen_logit_C - total_M.log().index_select(0, row_C)

    @staticmethod
    def backward(ctx: Any, d_C: Tensor) -> Any:
        hidden_ME, weight_VE, row_C, place_C, total_M = ctx.saved_tensors
        d_MV, ctx.exp_MV = ctx.exp_MV, None
        d_C = d_C / ctx.temperature
        sum_M = torch.zeros_like(total_M).index_add_(0, row_C, d_C)
        d_MV.mul_((-sum_M / total_M).unsqueeze(1)).view(-1).index_add_(0, place_C, d_C)
        d_bias_V = d_MV.sum(0) if ctx.has_bias else None
        d_hidden_ME = _product(d_MV, weight_VE, half=ctx.half)
        d_weight_VE = _product(d_MV.t(), hidden_ME, half=ctx.half)
        return d_hidden_ME, d_weight_VE, d_bias_V, None, None, None, None
