"""Products with packed matrices, alone and in the decoder, against ordinary ones."""

import pytest
import torch

from tersely.engines.local import products
from tersely.engines.local.decoder import Decoder
from tersely.engines.local.products import add_product, packed, product, worth_packing

from .test_decoder import STYLES, build, randomise

packs = pytest.mark.skipif(
    not worth_packing([(512, 512)], dtype=torch.float32), reason="this torch packs nothing"
)


@packs
@pytest.mark.parametrize("rows", [1, 7, 64, 300])
def test_a_packed_product_is_the_ordinary_one(rows):
    torch.manual_seed(rows)
    weight, bias = torch.randn(80, 96), torch.randn(80)
    x, to = torch.randn(rows, 96), torch.randn(rows, 80)
    naive = torch.stack([(weight * row).sum(-1) for row in x])
    for matrix in (weight, packed(weight, dtype=torch.float32)):
        torch.testing.assert_close(product(x, matrix), naive, atol=1e-4, rtol=0)
        torch.testing.assert_close(product(x, matrix, bias), naive + bias, atol=1e-4, rtol=0)
        sum_ = to.clone()
        add_product(sum_, x, matrix)
        torch.testing.assert_close(sum_, to + naive, atol=1e-4, rtol=0)


@packs
def test_only_large_matrices_are_worth_packing():
    assert worth_packing([(576, 576), (3072, 576)], dtype=torch.float32)
    assert not worth_packing([(3072, 576), (96, 96)], dtype=torch.float32)


def test_a_torch_that_cannot_pack_is_noticed(monkeypatch):
    def broken(weight, *, dtype):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(products, "packed", broken)
    products._packs.cache_clear()
    assert not worth_packing([(576, 576)], dtype=torch.float32)
    monkeypatch.setattr(products, "packed", lambda weight, *, dtype: 1.5 * weight)
    products._packs.cache_clear()
    assert not worth_packing([(576, 576)], dtype=torch.float32)
    products._packs.cache_clear()


@packs
@pytest.mark.parametrize("style", STYLES)
def test_a_packed_decoder_follows_its_model(style, monkeypatch):
    model = build(style)
    plain = Decoder(model)
    monkeypatch.setattr(products, "_WORTH_PACKING", 1)
    decoder = Decoder(model)
    ids = torch.randint(0, 50, (3, 9))
    with torch.inference_mode():
        for _ in range(2):
            plain.refresh(model)
            decoder.refresh(model)
            found, expected = decoder.prefill(ids), plain.prefill(ids)
            torch.testing.assert_close(found.kv, expected.kv, atol=1e-5, rtol=1e-5)
            logits = decoder.logits(found.hidden_GTE)
            torch.testing.assert_close(logits, model(ids).logits, atol=2e-5, rtol=1e-4)
            randomise(model)
    assert decoder._head_VE.is_mkldnn
    assert not plain._head_VE.is_mkldnn


@packs
@pytest.mark.skipif(
    not worth_packing([(512, 512)], dtype=torch.bfloat16), reason="no instructions for bfloat16"
)
def test_bfloat16_on_a_cpu_is_of_the_matrices_alone(monkeypatch):
    model = build("qwen2")
    monkeypatch.setattr(products, "_WORTH_PACKING", 1)
    decoder = Decoder(model, dtype=torch.bfloat16)
    assert decoder._head_VE.dtype == torch.bfloat16
    ids = torch.randint(0, 50, (3, 9))
    with torch.inference_mode():
        found = decoder.prefill(ids)
        logits, exact = decoder.logits(found.hidden_GTE), model(ids).logits
    assert found.kv.dtype == logits.dtype == torch.float32
    apart = float((logits.log_softmax(-1) - exact.log_softmax(-1)).abs().mean())
    assert 1e-4 < apart < 0.1
