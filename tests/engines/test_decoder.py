import pytest
import torch
from transformers import (
    GPT2Config,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tersely.core.errors import EngineError
from tersely.engines.cache import Span
from tersely.engines.decoder import Decoder, supports

SIZE = {
    "vocab_size": 50,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 5000.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN_ROPE = {
    "rope_type": "yarn",
    "rope_theta": 5000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 128,
}
PLAIN_ROPE = {"rope_type": "default", "rope_theta": 300.0}


def build(style):
    torch.manual_seed(len(style))
    if style == "qwen3":
        config = Qwen3Config(
            **SIZE, head_dim=12, rope_parameters=PLAIN_ROPE, tie_word_embeddings=True
        )
        model = Qwen3ForCausalLM(config)
    elif style == "qwen3 yarn untied":
        config = Qwen3Config(**SIZE, head_dim=8, rope_parameters=YARN_ROPE)
        model = Qwen3ForCausalLM(config)
    elif style == "qwen2":
        model = Qwen2ForCausalLM(Qwen2Config(**SIZE, rope_parameters=PLAIN_ROPE))
    else:
        rope = LLAMA3_ROPE if style == "llama llama3-rope" else PLAIN_ROPE
        model = LlamaForCausalLM(LlamaConfig(**SIZE, rope_parameters=rope))
    randomise(model)
    return model.eval()


def randomise(model, scale=1.0):
    """Norm gains, biases and q, k sharpness that a fresh model does not have."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name:
                p.uniform_(0.3, 1.7)
            elif p.ndim == 1:
                p.normal_(0.0, 0.7)
            else:
                p.normal_(0.0, scale * p.shape[-1] ** -0.5)


STYLES = ["qwen3", "qwen3 yarn untied", "qwen2", "llama", "llama llama3-rope"]


@pytest.mark.parametrize("style", STYLES)
def test_prefill_logits_equal_those_of_hugging_face(style):
    model = build(style)
    decoder = Decoder(model)
    ids = torch.randint(0, 50, (3, 90))
    with torch.no_grad():
        ours = decoder.logits(decoder.prefill(ids).hidden_GTE)
        theirs = model(ids).logits
    assert theirs.std() > 0.3
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def decode_along(decoder, ids, starts, widths):
    """Logits at every position from each row's start, with rows of different lengths."""
    rows, total = ids.shape
    cache = decoder.new_cache(rows=rows + 2, width=64)
    for row, start in ((r, s) for r, s in enumerate(starts) if s):
        cache.fill([row], decoder.prefill(ids[row : row + 1, :start]).kv[:, :, 0])
    position = torch.tensor(starts)
    cache.show(position)
    cache.widen(total)
    logits = torch.full((rows, total, decoder.vocab), torch.nan)
    for _ in range(total - max(starts)):
        half = rows // 2
        spans = [Span(0, half, widths), Span(half, rows, total)]
        out = decoder.decode_step(
            ids[torch.arange(rows), position],
            position,
            cache=cache,
            place_BK=cache.places(position),
            windows=cache.windows(spans),
        )
        logits[torch.arange(rows), position] = out
        position = position + 1
    return logits


@pytest.mark.parametrize("style", STYLES)
def test_decode_logits_equal_those_of_hugging_face_on_ragged_rows(style):
    model = build(style)
    decoder = Decoder(model)
    ids = torch.randint(0, 50, (5, 90))
    starts = [0, 7, 31, 1, 60]
    with torch.no_grad():
        ours = decode_along(decoder, ids, starts, widths=48)
        theirs = model(ids).logits
    seen = ~ours[..., 0].isnan()
    assert seen.sum() == 5 * 30
    torch.testing.assert_close(ours[seen], theirs[seen], atol=1e-4, rtol=0)


@pytest.mark.parametrize("style", ["qwen3", "qwen2"])
def test_refresh_takes_over_changed_weights(style):
    model = build(style)
    decoder = Decoder(model)
    ids = torch.randint(0, 50, (2, 20))
    randomise(model, scale=1.1)
    with torch.no_grad():
        theirs = model(ids).logits
        decoder.refresh(model)
        ours = decoder.logits(decoder.prefill(ids).hidden_GTE)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def test_rows_moved_in_the_cache_go_on_as_before():
    decoder = Decoder(build("qwen3"))
    ids = torch.randint(0, 50, (3, 12))
    with torch.no_grad():
        cache = decoder.new_cache(rows=3, width=32)
        kv = decoder.prefill(ids).kv
        for row in range(3):
            cache.fill([row], kv[:, :, row])
        cache.move(source=[2, 0], target=[0, 1], width=12)
        position, token = torch.tensor([12, 12]), torch.tensor([5, 6])
        cache.show(position)
        ours = decoder.decode_step(
            token,
            position,
            cache=cache,
            place_BK=cache.places(position),
            windows=cache.windows([Span(0, 2, 16)]),
        )
        whole = torch.cat((ids[[2, 0]], token[:, None]), dim=1)
        theirs = decoder.logits(decoder.prefill(whole).hidden_GTE)[:, -1]
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def test_unsupported_architectures_are_named():
    sliding = Qwen2Config(**SIZE, use_sliding_window=True, sliding_window=16, max_window_layers=1)
    biased = LlamaConfig(**SIZE, attention_bias=True)
    dynamic = LlamaConfig(
        **SIZE, rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    )
    assert not supports(GPT2Config())
    assert not supports(sliding)
    assert not supports(biased)
    assert not supports(dynamic)
    assert supports(Qwen3Config(**SIZE))
    with pytest.raises(
        EngineError, match=r"'qwen2' with sliding-window.*supported are llama, qwen2, qwen3"
    ):
        Decoder(Qwen2ForCausalLM(sliding))
