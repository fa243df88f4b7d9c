"""The static key-value cache: rows that can be moved, filled from a prompt and widened.

Axes: L layers, S = 2 (key, value), B rows, K key-value heads, P positions, D head size.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor


class Span(NamedTuple):
    """Rows ``first..last-1``, none of which is longer than ``width`` positions."""

    first: int
    last: int
    width: int


class CacheWindow(NamedTuple):
    """Views of one layer's cache for one span; rows and key-value heads are one axis."""

    first: int
    last: int
    key: Float[Tensor, "BK D W"]
    value: Float[Tensor, "BK W D"]
    bias: Float[Tensor, "BK 1 W"]


class KVCache:
    """Keys and values of every row, and a bias that is 0 where a row has a token, else -inf.

    Unwritten places hold finite numbers, because 0 * NaN would reach the output.
    """

    def __init__(self, kv: Float[Tensor, "L 2 B K P D"]) -> None:
        self._kv = kv
        _, _, self.rows, self._kv_heads, self.width, self._head_dim = kv.shape
        self._bias = torch.full(
            (self.rows, self._kv_heads, self.width), -torch.inf, dtype=kv.dtype, device=kv.device
        )
        self._flatten()

    def places(self, position_B: Int64[Tensor, " B"]) -> Int64[Tensor, "B KK"]:
        """Flat places of (key heads, value heads) of rows 0..B-1 at these positions."""
        rows = position_B.shape[0]
        heads = torch.arange(rows * self._kv_heads, device=position_B.device)
        key = heads.view(rows, -1) * self.width + position_B.unsqueeze(1)
        return torch.cat((key, key + self.rows * self._kv_heads * self.width), dim=1)

    def open(self, place_BK: Int64[Tensor, "B KK"]) -> None:
        """Lets attention see these places."""
        self._flat_bias.index_fill_(0, place_BK[:, : self._kv_heads].reshape(-1), 0.0)

    def write(self, layer: int, place_BK: Tensor, kv_BKD: Float[Tensor, "B KK D"]) -> None:
        """Stores one token's keys and values in one layer."""
        self._flat_kv[layer].index_put_((place_BK,), kv_BKD)

    def show(self, length_B: Int64[Tensor, " B"]) -> None:
        """Makes exactly the first ``length_B`` positions of rows 0..B-1 visible."""
        hidden = torch.arange(self.width, device=length_B.device) >= length_B.view(-1, 1, 1)
        bias = self._bias[: length_B.shape[0]]
        bias.zero_().masked_fill_(hidden, -torch.inf)

    def move(self, *, source: Sequence[int], target: Sequence[int], width: int) -> None:
        """Copies rows; read before written, so the two lists may overlap."""
        if len(source):
            take, put = self._index(source), self._index(target)
            self._kv[:, :, put, :, :width] = self._kv[:, :, take, :, :width]

    def fill(self, rows: Sequence[int], kv: Float[Tensor, "L 2 K T D"]) -> None:
        """Copies one prompt's keys and values into each of these rows."""
        if kv.shape[3]:
            self._kv[:, :, self._index(rows), :, : kv.shape[3]] = kv.unsqueeze(2)

    def widen(self, width: int) -> None:
        """Makes room for at least ``width`` positions; views taken before are stale."""
        if width <= self.width:
            return
        more = width - self.width
        self._kv = torch.nn.functional.pad(self._kv, (0, 0, 0, more))
        self._bias = torch.nn.functional.pad(self._bias, (0, more), value=-torch.inf)
        self.width = width
        self._flatten()

    def windows(self, spans: Sequence[Span]) -> list[list[CacheWindow]]:
        """Views for attention, [layer][span]; valid until the cache is widened."""
        return [[self._window(layer, span) for span in spans] for layer in range(len(self._kv))]

    def _window(self, layer: int, span: Span) -> CacheWindow:
        lo, hi = span.first * self._kv_heads, span.last * self._kv_heads
        key, value = self._kv[layer].view(2, -1, self.width, self._head_dim)[:, lo:hi, : span.width]
        bias = self._bias.view(-1, 1, self.width)[lo:hi, :, : span.width]
        return CacheWindow(lo, hi, key.transpose(1, 2), value, bias)

    def _index(self, rows: Sequence[int]) -> Int64[Tensor, " N"]:
        return torch.as_tensor(rows, dtype=torch.int64, device=self._kv.device)

    def _flatten(self) -> None:
        self._flat_kv = self._kv.view(len(self._kv), -1, self._head_dim)
        self._flat_bias = self._bias.view(-1)
