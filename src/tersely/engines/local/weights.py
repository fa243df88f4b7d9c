"""A layer's weights, fused. Axes: E hidden size, H query heads, K key-value heads, D head size,
F feed-forward size."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from tersely.engines.local.products import packed


class LayerWeights(NamedTuple):
    """One layer, fused; norm gains and the softmax scale are multiplied into what follows them.

    The kernel's record of a layer has the same fields.
    """

    qkv: Float[Tensor, "QKV E"]
    qkv_bias: Float[Tensor, " QKV"] | None
    qk_gain: Float[Tensor, "HK D"] | None
    out: Float[Tensor, "E HD"]
    gate_up: Float[Tensor, "2F E"]
    down: Float[Tensor, "E F"]

    def packed(self, dtype: torch.dtype) -> "LayerWeights":
        """The same weights with matrices for :func:`product` alone."""
        plain = (self.qkv, self.out, self.gate_up, self.down)
        qkv, out, gate_up, down = (packed(matrix, dtype=dtype) for matrix in plain)
        return self._replace(qkv=qkv, out=out, gate_up=gate_up, down=down)
