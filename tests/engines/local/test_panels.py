"""A whole step in the kernel against the same step product by product, to the bit."""

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

from tersely.core.types import SamplingSpec
from tersely.engines.local import panels
from tersely.engines.local.decoder import Decoder
from tersely.engines.local.draw import draw
from tersely.engines.local.panels import in_panels, summed_depth

# inputs beyond a sum's depth, columns that fill no panel, a bias, heads of a generic size
SIZES = {
    "qwen3": {"hidden_size": 96, "intermediate_size": 256, "head_dim": 24, "vocab_size": 37},
    "qwen2": {"hidden_size": 80, "intermediate_size": 132, "vocab_size": 51},
}


def build(style):
    torch.manual_seed(0)
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    sizes |= {"max_position_embeddings": 256, **SIZES[style]}
    model = (
        Qwen3ForCausalLM(Qwen3Config(**sizes))
        if style == "qwen3"
        else Qwen2ForCausalLM(Qwen2Config(**sizes))
    )
    with torch.no_grad():
        for p in model.parameters():
            p.uniform_(0.5, 1.5) if p.ndim == 1 else p.normal_(0.0, p.shape[1] ** -0.5)
    return model.eval()


def decoded(decoder, *, rows, steps=4):
    """Logits of some steps of rows that are of different lengths."""
    generator = torch.Generator().manual_seed(rows)
    cache = decoder.new_cache(rows=rows + 3, width=64)
    for row in range(rows):
        ids = torch.randint(0, decoder.vocab, (1, 1 + row % 40), generator=generator)
        cache.fill([row], decoder.prefill(ids).kv[:, :, 0])
    position = torch.arange(rows) % 40 + 1
    out = []
    with torch.inference_mode():
        for _ in range(steps):
            token = torch.randint(0, decoder.vocab, (rows,), generator=generator)
            out.append(decoder.kernel_step(token, position, cache=cache))
            position = position + 1
    return torch.stack(out)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("style", SIZES)
def test_a_whole_step_is_the_step_product_by_product_to_the_bit(
    kernel, style, threads, monkeypatch
):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    model = build(style)
    whole = Decoder(model)
    if whole.panels is None:
        pytest.skip("this processor's library sums products otherwise")
    monkeypatch.setattr("tersely.engines.local.decoder.panel_model", lambda *_, **__: None)
    parts = Decoder(model)
    assert parts.panels is None
    for rows in (1, 3, 4, 5, 31, 65, 150) if threads == 1 else (31, 32, 65):
        found = decoded(whole, rows=rows)
        assert found.std() > 0.3
        assert torch.equal(found, decoded(parts, rows=rows))
    torch.set_num_threads(before)


def test_a_whole_step_runs_the_weights_of_the_last_refresh(kernel):
    model = build("qwen3")
    decoder = Decoder(model)
    old = decoded(decoder, rows=9)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1.01)
    decoder.refresh(model)
    assert torch.equal(decoded(decoder, rows=9), decoded(Decoder(model), rows=9))
    assert not torch.equal(decoded(decoder, rows=9), old)


@pytest.mark.parametrize("add", [False, True])
def test_a_product_is_summed_input_by_input_and_anew_after_each_depth(kernel, add):
    torch.manual_seed(0)
    x, weight = torch.randn(11, 70), torch.randn(45, 70)
    out = torch.randn(11, 45)
    naive = out.clone() if add else torch.zeros(11, 45)
    for first in (0, 33, 66):
        total = torch.zeros(11, 45)
        for k in range(first, min(first + 33, 70)):
            # float64 holds a product of float32 whole, as an instruction that adds it does
            each = x[:, k, None].double() * weight[:, k].double()
            total = (each + total).float()
        naive += total
    kernel.product(x, in_panels(weight), out, depth=33, add=add)
    assert torch.equal(out, naive)


def test_products_that_are_not_torchs_to_the_bit_are_not_used(kernel, monkeypatch):
    """A library that sums 8 inputs at a time, or for whatever reason gives another last digit."""
    product = panels.product
    monkeypatch.setattr(
        panels, "product", lambda *args: torch.nextafter(product(*args), args[0].new_zeros(()))
    )
    summed_depth.cache_clear()
    decoder = Decoder(build("qwen3"))
    summed_depth.cache_clear()
    assert decoder.panels is None
    assert decoded(decoder, rows=9).isfinite().all()


def test_a_matrix_too_large_has_no_panels(kernel, monkeypatch):
    monkeypatch.setattr(panels, "_MOST_WEIGHTS", 2 * 96 * 256 - 1)
    assert Decoder(build("qwen3")).panels is None


@pytest.mark.parametrize("vocabulary", [1, 37, 256])
@pytest.mark.parametrize("top_p", [1.0, 0.8])
def test_the_kernel_draws_what_torch_draws(kernel, vocabulary, top_p):
    torch.manual_seed(vocabulary)
    logits = 4 * torch.randn(300, vocabulary)
    logits[5], logits[6, 0] = torch.nan, torch.inf
    u = torch.rand(300, dtype=torch.float64)
    u[:2] = torch.tensor([2.0**-49, 1 - 2.0**-49], dtype=torch.float64)
    spec = SamplingSpec(samples=1, cap_tokens=1, seed=0, top_p=top_p)
    plain, fast = draw(logits, u, spec=spec), draw(logits, u, spec=spec, kernel=kernel)
    for a, b in zip(plain, fast, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
