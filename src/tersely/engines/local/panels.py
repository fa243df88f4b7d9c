"""A small model as the kernel runs a whole decode step of it: its matrices in panels of columns.

A product's bits are those of torch's own: sums go from one input to the next, ``depth`` inputs
each, as in the library that torch calls. Where that one sums otherwise, there is no panel.
"""

import ctypes
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Complex64, Float, Int64
from torch import Tensor

from tersely.engines.local.kernel import Kernel
from tersely.engines.local.pages import PagedCache
from tersely.engines.local.products import add_product, product
from tersely.engines.local.weights import LayerWeights

# Products of fewer rows, and fewer for each of several threads, are summed in another order.
_FEWEST_ROWS, _FEWEST_FOR_A_THREAD = 4, 16
_MOST_WEIGHTS = 2**20
_PANEL = 32
_BLOCK_ROWS = 64
_VECTORS = ("qkv_bias", "qk_gain")
_DEPTHS = (128, 192, 256, 384, 2**20)
_TRIED_ROWS = (0, 1, 2, 3, 4, 5, 6, 7, 9, 20, 29, 60, 97, 252)  # above the fewest


class Sizes(NamedTuple):
    """Of the model, in the order of the kernel's record of it."""

    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden: int
    ffn: int
    vocab: int

    def shapes(self) -> list[tuple[int, int]]:
        """(outputs, inputs) of qkv, out, gate and up, down, and the output matrix."""
        mixed = self.heads * self.head_dim
        return [
            (mixed + 2 * self.kv_heads * self.head_dim, self.hidden),
            (self.hidden, mixed),
            (2 * self.ffn, self.hidden),
            (self.hidden, self.ffn),
            (self.vocab, self.hidden),
        ]


class _Layer(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in LayerWeights._fields]


class _Model(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("embedding", "rotation", "norm", "head", "layer")),
        *((name, ctypes.c_int) for name in Sizes._fields),
        ("depth", ctypes.c_int * 5),
        ("eps", ctypes.c_float),
    ]


class PanelModel:
    """Weights for :meth:`step`, which takes tokens to logits in one call.

    Args:
        depths: as :func:`summed_depth` says, of each of ``sizes.shapes()``.
    """

    def __init__(self, kernel: Kernel, sizes: Sizes, *, eps: float, depths: Sequence[int]) -> None:
        self._kernel, self._sizes = kernel, sizes
        self._record = _Model(None, None, None, None, None, *sizes, tuple(depths), eps)
        self._spare = torch.empty(0, 0)
        self.fewest_rows = fewest_rows(torch.get_num_threads())

    def load(
        self,
        layers: Iterable[LayerWeights],
        *,
        embed_VE: Float[Tensor, "V E"],
        norm_E: Float[Tensor, " E"],
        head_VE: Float[Tensor, "V E"],
    ) -> None:
        """Copies the matrices; embedding and gains are read where they are."""
        held: list[Tensor | None] = [embed_VE.contiguous(), norm_E.contiguous(), in_panels(head_VE)]
        for layer in layers:
            parts = layer._asdict()
            held += [w if name in _VECTORS else in_panels(w) for name, w in parts.items()]
        address = [None if w is None else w.data_ptr() for w in held]
        record, size = self._record, len(LayerWeights._fields)
        record.embedding, record.norm, record.head = address[:3]
        rows = [_Layer(*address[i : i + size]) for i in range(3, len(address), size)]
        self._layers = (_Layer * len(rows))(*rows)
        record.layer = ctypes.addressof(self._layers)
        self._held = held

    def step(
        self,
        token_B: Int64[Tensor, " B"],
        position_B: Int64[Tensor, " B"],
        *,
        rotation_P1D: Complex64[Tensor, "P 1 half"],
        cache: PagedCache,
    ) -> Float[Tensor, "B V"]:
        """Next-token logits after one more token in each of cache rows 0..B-1."""
        threads = torch.get_num_threads()
        if len(self._spare) < threads:
            self._spare = torch.empty(threads, _BLOCK_ROWS * self._numbers_a_row())
        logits_BV = torch.empty(len(token_B), self._sizes.vocab)
        self._record.rotation = rotation_P1D.data_ptr()
        self._kernel.step(
            ctypes.byref(self._record), token_B, position_B, cache.whole, self._spare, logits_BV
        )
        return logits_BV

    def _numbers_a_row(self) -> int:
        s, shapes = self._sizes, self._sizes.shapes()
        return 2 * s.hidden + shapes[1][1] + s.ffn + max(shapes[0][0], 2 * s.ffn)


def in_panels(weight: Float[Tensor, "M N"]) -> Float[Tensor, "panels N PANEL"]:
    """A copy in which an input's weights of ``PANEL`` outputs stand side by side; 0 fills up."""
    outputs, inputs = weight.shape
    whole = F.pad(weight, (0, 0, 0, -outputs % _PANEL)).view(-1, _PANEL, inputs)
    return whole.transpose(1, 2).contiguous()


def panel_model(kernel: Kernel, sizes: Sizes, *, eps: float) -> PanelModel | None:
    """None where the kernel's products would not be torch's to the bit, or panels too large."""
    if max(outputs * inputs for outputs, inputs in sizes.shapes()) > _MOST_WEIGHTS:
        return None
    threads = torch.get_num_threads()
    depths: list[int] = []
    for shape in sizes.shapes():
        depth = summed_depth(kernel, shape, threads=threads)
        if depth is None:
            return None
        depths.append(depth)
    return PanelModel(kernel, sizes, eps=eps, depths=depths)


def fewest_rows(threads: int) -> int:
    """Rows below which a step's products are left to torch, on so many of its threads."""
    return _FEWEST_ROWS if threads == 1 else _FEWEST_FOR_A_THREAD * threads


@cache
def summed_depth(kernel: Kernel, shape: tuple[int, int], *, threads: int) -> int | None:
    """After how many inputs torch's products with a matrix of this shape begin another sum.

    None where the kernel's products are not torch's to the bit.

    Args:
        threads: torch's, on which its products may depend.
    """
    return next((depth for depth in _DEPTHS if _agree(kernel, *shape, depth=depth)), None)


def _agree(kernel: Kernel, outputs: int, inputs: int, *, depth: int) -> bool:
    """Whether products, alone and added to what is there, are the same numbers."""
    weight = torch.arange(1.0, outputs * inputs + 1).sin_().view(outputs, inputs)
    panels, bias = in_panels(weight), weight[:, 0].contiguous()
    fewest = fewest_rows(torch.get_num_threads())
    for rows in (fewest + more for more in _TRIED_ROWS):
        x = torch.arange(1.0, rows * inputs + 1).cos_().view(rows, inputs)
        alone, added = torch.empty(rows, outputs), bias.repeat(rows, 1)
        kernel.product(x, panels, alone, depth=depth, add=False)
        kernel.product(x, panels, added, depth=depth, add=True)
        in_place = bias.repeat(rows, 1)
        add_product(in_place, x, weight)
        expected = (product(x, weight), product(x, weight, bias), in_place)
        if not all(map(torch.equal, (alone, added, added), expected)):
            return False
    return True
