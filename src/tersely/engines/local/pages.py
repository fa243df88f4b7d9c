"""The key-value cache as the kernel reads it: a head's keys in pages, one after the other, then its
values.

Axes: L layers, B rows, K key-value heads, N pages of ``PAGE`` positions, D head size; PD is a
page of one head: its keys turned to (D, PAGE), or its values as (PAGE, D).
"""

import contextlib
import math
import mmap
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

PAGE = 16


class PagedCache:
    """Keys and values of every row. Where a row ends is told with each step, so that what lies
    beyond it matters to nothing."""

    def __init__(self, pages: Float[Tensor, "L B K 2 N PD"]) -> None:
        self._pages, self.rows = pages, int(pages.shape[1])

    @property
    def width(self) -> int:
        """Positions of a row."""
        return int(self._pages.shape[4]) * PAGE

    @property
    def whole(self) -> Float[Tensor, "L B K 2 N PD"]:
        """All layers' pages; stale once the cache has been widened."""
        return self._pages

    def layers(self) -> list[Float[Tensor, "B K 2 N PD"]]:
        """Each layer's pages; stale once the cache has been widened."""
        return list(self._pages)

    def move(self, *, source: Sequence[int], target: Sequence[int], width: int) -> None:
        """Copies rows; read before written, so the two lists may overlap."""
        if len(source):
            pages = _pages_of(width)
            self._pages[:, target, :, :, :pages] = self._pages[:, source, :, :, :pages]

    def fill(self, rows: Sequence[int], kv: Float[Tensor, "L 2 K T D"]) -> None:
        """Copies one prompt's keys and values into each of these rows."""
        pages = _pages_of(kv.shape[3])
        kv = torch.nn.functional.pad(kv, (0, 0, 0, pages * PAGE - kv.shape[3]))
        key, value = kv.unflatten(3, (pages, PAGE)).unbind(1)
        whole = torch.stack((key.transpose(-1, -2).flatten(-2), value.flatten(-2)), dim=2)
        self._pages[:, rows, :, :, :pages] = whole.unsqueeze(1)

    def widen(self, width: int) -> None:
        """Makes room for at least ``width`` positions."""
        *before, present, size = self._pages.shape
        if (wanted := _pages_of(width)) > present:
            wider = zero_pages((*before, wanted, size))
            wider[..., :present, :] = self._pages
            self._pages = wider


def zero_pages(shape: Sequence[int]) -> Float[Tensor, "..."]:
    """Zeros in memory of their own, which Linux is asked to hold in huge pages: one core reads
    them up to twice as fast.

    Raises:
        MemoryError: there is no room.
    """
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.zeros(shape)
    try:
        own = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        memory = mmap.mmap(-1, 4 * math.prod(shape), flags=own)
    except OSError as error:
        raise MemoryError(str(error)) from error
    with contextlib.suppress(OSError):  # a system may have none
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=torch.float32).view(*shape)


def _pages_of(positions: int) -> int:
    return -(-positions // PAGE)
