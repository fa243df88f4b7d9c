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
from tersely.engines.local import decoder as decoder_module
from tersely.engines.local.cache import Span
from tersely.engines.local.decoder import Decoder, supports
from tersely.engines.local.kernel import load_kernel
from tersely.engines.local.pages import PagedCache

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


@pytest.fixture(params=["kernel", "torch"])
def path(request, monkeypatch):
    """Both ways of a decode step, each a second implementation of the other."""
    if request.param == "torch":
        monkeypatch.setattr(decoder_module, "load_kernel", lambda: None)
    elif load_kernel() is None:
        pytest.skip("no C compiler here")
    return request.param


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


def one_step(decoder, token, position, cache, spans):
    if isinstance(cache, PagedCache):
        return decoder.kernel_step(token, position, cache=cache)
    return decoder.decode_step(
        token,
        position,
        cache=cache,
        place_BK=cache.places(position),
        windows=cache.windows(spans),
    )


def show(cache, position):
    if not isinstance(cache, PagedCache):
        cache.show(position)


def decode_along(decoder, ids, starts, widths):
    """Logits at every position from each row's start, with rows of different lengths."""
    rows, total = ids.shape
    cache = decoder.new_cache(rows=rows + 2, width=64)
    for row, start in ((r, s) for r, s in enumerate(starts) if s):
        cache.fill([row], decoder.prefill(ids[row : row + 1, :start]).kv[:, :, 0])
    position = torch.tensor(starts)
    show(cache, position)
    cache.widen(total)
    logits = torch.full((rows, total, decoder.vocab), torch.nan)
    for _ in range(total - max(starts)):
        half = rows // 2
        spans = [Span(0, half, widths), Span(half, rows, total)]
        token = ids[torch.arange(rows), position]
        logits[torch.arange(rows), position] = one_step(decoder, token, position, cache, spans)
        position = position + 1
    return logits


@pytest.mark.parametrize("style", STYLES)
def test_decode_logits_equal_those_of_hugging_face_on_ragged_rows(style, path):
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


def test_rows_moved_in_the_cache_go_on_as_before(path):
    decoder = Decoder(build("qwen3"))
    ids = torch.randint(0, 50, (3, 12))
    with torch.no_grad():
        cache = decoder.new_cache(rows=3, width=32)
        kv = decoder.prefill(ids).kv
        for row in range(3):
            cache.fill([row], kv[:, :, row])
        cache.move(source=[2, 0], target=[0, 1], width=12)
        position, token = torch.tensor([12, 12]), torch.tensor([5, 6])
        show(cache, position)
        ours = one_step(decoder, token, position, cache, [Span(0, 2, 16)])
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


def rope(kind, **settings):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 500.0, **settings}}


FACTORS = {"short_factor": [1.0, 1.2, 1.4, 1.6], "long_factor": [2.0, 3.0, 5.0, 8.0]}
# Whatever a config can say that changes, or might be thought to change, what is computed.
VARIANTS = {
    "attention_bias": {"attention_bias": True},
    "mlp_bias": {"mlp_bias": True},
    "gelu": {"hidden_act": "gelu"},
    "relu": {"hidden_act": "relu"},
    "wide heads": {"head_dim": 16},
    "a key head a query head": {"num_key_value_heads": 6},
    "one key head": {"num_key_value_heads": 1},
    "a large epsilon": {"rms_norm_eps": 0.1},
    "tied": {"tie_word_embeddings": True},
    "one layer": {"num_hidden_layers": 1},
    "pretraining_tp": {"pretraining_tp": 2},
    "sliding window": {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 0},
    "sliding layers": {
        "sliding_window": 8, "use_sliding_window": True,
        "layer_types": ["full_attention", "sliding_attention", "full_attention"],
    },
    "soft caps of other models": {"final_logit_softcapping": 2.0, "attn_logit_softcapping": 2.0},
    "scales of other models": {"logit_scale": 0.1, "embedding_multiplier": 5.0},
    "query-key norm of other models": {"use_qk_norm": True},
    "rope default": rope("default"),
    "rope linear": rope("linear", factor=4.0),
    "rope dynamic": rope("dynamic", factor=4.0),
    "rope llama3": rope(
        "llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=64,
    ),
    "rope yarn": rope("yarn", factor=4.0, original_max_position_embeddings=64),
    "rope yarn scaled": rope(
        "yarn", factor=4.0, original_max_position_embeddings=64, attention_factor=1.7
    ),
    "rope yarn with mscale": rope(
        "yarn", factor=4.0, original_max_position_embeddings=64, mscale=0.7, mscale_all_dim=1.3
    ),
    "rope longrope": rope("longrope", original_max_position_embeddings=16, **FACTORS),
    "rope with sections": rope("default", mrope_section=[2, 1, 1]),
}  # fmt: skip
KINDS = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_config_is_decoded_as_hugging_face_does_or_not_claimed(kind, variant, path):
    config_of, model_of = KINDS[kind]
    config = config_of(**{**SIZE, "head_dim": 8, **VARIANTS[variant]})
    if not supports(config):
        with pytest.raises(EngineError, match=f"cannot decode model_type '{kind}' with .*"):
            Decoder(model_of(config))
        return
    torch.manual_seed(0)
    model = model_of(config).eval()
    randomise(model)
    ids = torch.randint(0, 50, (2, 40))
    decoder = Decoder(model)
    with torch.no_grad():
        theirs = torch.log_softmax(model(ids).logits, dim=-1)
        ours = torch.log_softmax(decoder.logits(decoder.prefill(ids).hidden_GTE), dim=-1)
        stepped = torch.log_softmax(decode_along(decoder, ids, [0, 1], widths=40), dim=-1)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    seen = ~stepped[..., 0].isnan()
    torch.testing.assert_close(stepped[seen], theirs[seen], atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_rotation_of_a_part_of_each_head_is_not_claimed(kind):
    config_of, _ = KINDS[kind]
    assert not supports(config_of(**SIZE, **rope("linear", factor=2.0, partial_rotary_factor=0.5)))
