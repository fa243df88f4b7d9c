import mmap

import pytest
import torch

from tersely.core.errors import EngineError
from tersely.engines.learning.memory import memory_errors
from tersely.engines.local.pages import PAGE, PagedCache, zero_pages


def test_a_wider_cache_holds_what_it_held_and_then_zeros():
    cache = PagedCache(torch.randn(2, 3, 2, 2, 4, PAGE * 8))
    held = torch.stack(cache.layers())
    cache.widen(4 * PAGE + 1)
    wider = torch.stack(cache.layers())
    assert cache.width == 5 * PAGE
    assert torch.equal(wider[..., :4, :], held)
    assert not wider[..., 4, :].any()


def test_rows_moved_over_each_other_hold_what_they_held_before():
    cache = PagedCache(torch.randn(1, 3, 2, 2, 2, PAGE * 8))
    held = cache.layers()[0].clone()
    cache.move(source=[0, 1], target=[1, 2], width=2 * PAGE)
    assert torch.equal(cache.layers()[0], held[[0, 0, 1]])


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="no huge pages here")
def test_a_cache_that_does_not_fit_ends_as_every_lack_of_memory():
    refused = pytest.raises(EngineError, match="out of memory while sampling")
    with refused, memory_errors("sampling", fix="lower rows"):
        zero_pages((2**50,))
