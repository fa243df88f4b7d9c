"""Continuous batching draws what the other local samplers draw, whatever its cache does."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from tersely.core.errors import EngineError
from tersely.core.types import Finish, Problem, SamplingSpec
from tersely.engines.learning.lora import add_lora
from tersely.engines.local import continuous
from tersely.engines.local.continuous import ContinuousSampler
from tersely.engines.local.jobs import Sampler
from tersely.engines.local.sampler import LocalSampler

VOCABULARY, STOP = 24, 9


def tiny_model(*, lora: bool = False):
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=512,
        initializer_range=0.3,
        eos_token_id=STOP,
    )
    model = Qwen3ForCausalLM(config).eval()
    if lora:
        add_lora(model, rank=2, seed=0)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.requires_grad:
                    weight.normal_(0, 0.3)
    return model


@pytest.fixture(scope="module")
def tokenizer():
    words = Tokenizer(models.WordLevel({f"{i}": i for i in range(VOCABULARY)}, unk_token="0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tok = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="0", eos_token=str(STOP))
    tok.chat_template = "{% for m in messages %}{{ m['content'] }} {% endfor %}2"
    return tok


PROBLEMS = [
    Problem(id=f"p{i}", prompt=" 3" * (1 + i % 5) + f" {10 + i}", answer="", source="t")
    for i in range(12)
]


def flat(groups):
    return [rollout for group in groups for rollout in group]


def assert_equal(ours, theirs):
    for a, b in zip(flat(ours), flat(theirs), strict=True):
        assert (a.problem_id, a.sample, a.finish) == (b.problem_id, b.sample, b.finish)
        assert (a.completion_ids, a.prompt_ids, a.text) == (b.completion_ids, b.prompt_ids, b.text)
        np.testing.assert_allclose(a.logprobs, b.logprobs, atol=1e-4)
        assert a.entropy == pytest.approx(b.entropy, abs=1e-4)


@pytest.mark.parametrize(
    "settings", [{}, {"temperature": 0.7, "top_k": 5, "top_p": 0.9}, {"temperature": 0.0}], ids=str
)
@pytest.mark.parametrize("lora", [False, True])
def test_tokens_logprobs_and_entropy_are_those_of_the_local_sampler(settings, lora, tokenizer):
    model = tiny_model(lora=lora)
    spec = SamplingSpec(samples=3, max_tokens=30, seed=4, **settings)
    seen = []
    sampler = ContinuousSampler(model, tokenizer, rows=8)
    assert isinstance(sampler, Sampler)
    ours = sampler.sample(PROBLEMS, spec, on_rollout=seen.append)
    assert_equal(ours, LocalSampler(model, tokenizer).sample(PROBLEMS, spec))
    assert sorted(map(id, seen)) == sorted(map(id, flat(ours)))
    assert {r.finish for r in flat(ours)} >= {Finish.LENGTH}


def test_requests_that_make_way_and_come_back_draw_the_same(tokenizer, monkeypatch):
    model = tiny_model()
    spec = SamplingSpec(samples=2, max_tokens=100, seed=4)
    expected = LocalSampler(model, tokenizer).sample(PROBLEMS, spec)
    real, came_back = continuous.ContinuousBatchingConfig, []
    prepare = continuous._Drawer.prepare_tensor_args

    def look(self, requests_in_batch, arg_storage):
        came_back.extend(r for r in requests_in_batch if r.state._true_initial_tokens)
        return prepare(self, requests_in_batch, arg_storage)

    monkeypatch.setattr(
        continuous, "ContinuousBatchingConfig", lambda **given: real(**given | {"num_blocks": 4})
    )
    monkeypatch.setattr(continuous._Drawer, "prepare_tensor_args", look)
    assert_equal(ContinuousSampler(model, tokenizer, rows=16).sample(PROBLEMS, spec), expected)
    assert came_back


@pytest.mark.parametrize("tokens", [3, 11])
def test_prompts_that_go_in_by_parts_draw_the_same(tokens, tokenizer, monkeypatch):
    model = tiny_model()
    spec = SamplingSpec(samples=2, max_tokens=30, seed=4)
    real, parts = continuous.ContinuousBatchingConfig, []
    prepare = continuous._Drawer.prepare_tensor_args

    def look(self, requests_in_batch, arg_storage):
        parts.extend(r for r in requests_in_batch if not r.has_new_token)
        return prepare(self, requests_in_batch, arg_storage)

    limits = {"max_batch_tokens": tokens}
    monkeypatch.setattr(
        continuous, "ContinuousBatchingConfig", lambda **given: real(**given | limits)
    )
    monkeypatch.setattr(continuous._Drawer, "prepare_tensor_args", look)
    ours = ContinuousSampler(model, tokenizer, rows=16).sample(PROBLEMS, spec)
    assert_equal(ours, LocalSampler(model, tokenizer).sample(PROBLEMS, spec))
    assert parts


def test_samples_that_are_there_are_not_drawn_again(tokenizer):
    model = tiny_model()
    spec = SamplingSpec(samples=2, max_tokens=20, seed=4)
    skip = {("p0", 0), ("p0", 1), ("p3", 0)}
    groups = ContinuousSampler(model, tokenizer).sample(PROBLEMS[:4], spec, skip=skip)
    assert [(r.problem_id, r.sample) for r in flat(groups)] == [
        ("p1", 0), ("p1", 1), ("p2", 0), ("p2", 1), ("p3", 1)
    ]  # fmt: skip
    assert ContinuousSampler(model, tokenizer).sample([], spec) == []


def test_a_copy_in_bf16_follows_the_policy(tokenizer):
    model = tiny_model()
    sampler = ContinuousSampler(model, tokenizer, dtype=torch.bfloat16)
    spec = SamplingSpec(samples=1, max_tokens=10, seed=4)
    before = sampler.sample(PROBLEMS, spec)
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(-1)
    assert flat(sampler.sample(PROBLEMS, spec))[0].completion_ids == flat(before)[0].completion_ids
    sampler.refresh()
    theirs = flat(LocalSampler(model, tokenizer).sample(PROBLEMS, spec))
    for a, b in zip(flat(sampler.sample(PROBLEMS, spec)), theirs, strict=True):
        assert a.logprobs[0] == pytest.approx(b.logprobs[0], abs=0.2) or (
            a.completion_ids[0] != b.completion_ids[0]
        )


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried"),
            r"out of memory while sampling.*--rows",
        ),
        (ValueError("odd"), r"continuous batching stopped: odd; use the local engine"),
    ],
)
def test_a_failure_keeps_what_had_ended_and_says_what_to_do(error, message, tokenizer, monkeypatch):
    model = tiny_model()
    kept = []
    call = continuous._Drawer.__call__

    def fail_late(self, *inputs):
        if sum(map(len, self._drawn)) > 60:
            raise error
        return call(self, *inputs)

    monkeypatch.setattr(continuous._Drawer, "__call__", fail_late)
    spec = SamplingSpec(samples=1, max_tokens=8, seed=4)
    with pytest.raises(EngineError, match=message):
        ContinuousSampler(model, tokenizer, rows=4).sample(PROBLEMS, spec, on_rollout=kept.append)
    assert 4 <= len(kept) < len(PROBLEMS)
    assert model.config._attn_implementation == "sdpa"
