import copy

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tersely.core.errors import EngineError
from tersely.core.types import Finish, Problem, SamplingSpec
from tersely.engines.fallback import HFSampler, make_sampler
from tersely.engines.local import decoder, sampler
from tersely.engines.local.draw import draw, truncate
from tersely.engines.local.sampler import LocalSampler, arrange

VOCAB = 24
STOP = 1


@pytest.fixture(scope="module")
def tokenizer():
    words = {"<unk>": 0, "<end>": STOP, "<user>": 2, "<go>": 3}
    words |= {f"w{i}": i for i in range(len(words), VOCAB)}
    inner = Tokenizer(WordLevel(words, unk_token="<unk>"))
    inner.pre_tokenizer = WhitespaceSplit()
    tok = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<end>", unk_token="<unk>")
    tok.chat_template = (
        "{% for m in messages %}<user> {{ m['content'] }} {% endfor %}"
        "{% if add_generation_prompt %}<go>{% endif %}"
    )
    return tok


def randomise(model, seed):
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name or "ln_" in name:
                p.uniform_(0.5, 1.5)
            elif p.ndim == 1:
                p.normal_(0.0, 0.2)
            else:
                p.normal_(0.0, p.shape[-1] ** -0.5)
    return model.eval()


@pytest.fixture(scope="module")
def model():
    config = Qwen3Config(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=256,
        eos_token_id=STOP,
    )
    return randomise(Qwen3ForCausalLM(config), 0)


@pytest.fixture(scope="module")
def problems():
    rng = np.random.default_rng(0)
    return [
        Problem(
            id=f"p{i}",
            prompt=" ".join(f"w{4 + j}" for j in rng.integers(0, VOCAB - 4, 1 + i % 9)),
            answer="",
            source="test",
        )
        for i in range(20)
    ]


def share_equal(a, b):
    """Share of tokens that agree with the same tokens before them, over pairs of rollouts.

    A rollout is compared up to its first difference: what follows it was drawn from another text.
    """
    same = differ = 0
    for g, h in zip(a, b, strict=True):
        for x, y in zip(g, h, strict=True):
            pairs = zip(x.completion_ids, y.completion_ids, strict=False)
            first = next((i for i, (s, t) in enumerate(pairs) if s != t), None)
            same += x.tokens if first is None else first
            differ += first is not None or x.tokens != y.tokens
    return same / (same + differ)


def test_rollouts_come_in_problem_and_sample_order_with_prompt_and_text(model, tokenizer, problems):
    seen = []
    spec = SamplingSpec(samples=3, cap_tokens=40, seed=1, policy_step=9)
    groups = LocalSampler(model, tokenizer, rows=7).sample(problems, spec, on_rollout=seen.append)
    flat = [r for g in groups for r in g]
    assert [(r.problem_id, r.sample) for r in flat] == [
        (p.id, s) for p in problems for s in range(3)
    ]
    assert sorted(map(id, seen)) == sorted(map(id, flat))
    for problem, group in zip(problems, groups, strict=True):
        words = [
            f"w{i}" if i > 3 else {0: "<unk>", 2: "<user>", 3: "<go>"}[i]
            for i in group[0].completion_ids[:-1]
        ]
        assert group[0].prompt_ids == tuple(tokenizer(f"<user> {problem.prompt} <go>")["input_ids"])
        assert group[0].text.split()[: len(words)] == words
        assert group[0].policy_step == 9


def test_finish_is_stop_exactly_when_the_last_token_is_the_stop_token(model, tokenizer, problems):
    spec = SamplingSpec(samples=4, cap_tokens=12, seed=2)
    flat = [r for g in LocalSampler(model, tokenizer, rows=16).sample(problems, spec) for r in g]
    assert {r.finish for r in flat} == {Finish.STOP, Finish.LENGTH}
    at_cap = [r for r in flat if r.tokens == 12]
    assert {r.finish for r in at_cap} == {Finish.STOP, Finish.LENGTH}
    for r in flat:
        assert STOP not in r.completion_ids[:-1]
        assert (r.finish is Finish.STOP) == (r.completion_ids[-1] == STOP)
        assert r.tokens == 12 or r.finish is Finish.STOP
        assert len(r.logprobs) == r.tokens
        assert "<end>" not in r.text


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("kind", [LocalSampler, HFSampler])
def test_logprobs_and_entropy_are_those_of_the_untruncated_policy(
    kind, temperature, model, tokenizer, problems
):
    spec = SamplingSpec(
        samples=2, cap_tokens=30, seed=3, temperature=temperature, top_k=5, top_p=0.8
    )
    for group in kind(model, tokenizer, rows=8).sample(problems[:6], spec):
        for r in group:
            ids = torch.tensor([r.prompt_ids + r.completion_ids])
            with torch.no_grad():
                logits = model(ids).logits[0, len(r.prompt_ids) - 1 : -1]
            logp = torch.log_softmax(logits / (temperature or 1.0), dim=-1)
            picked = logp[torch.arange(r.tokens), list(r.completion_ids)].numpy()
            np.testing.assert_allclose(r.logprobs, picked, atol=1e-4)
            entropy = -(logp.exp() * logp).sum(-1).mean().item()
            assert r.entropy == pytest.approx(entropy, abs=1e-4)
            if temperature == 0.0:
                assert r.completion_ids == tuple(logits.argmax(-1).tolist())


def test_order_rows_and_batch_mates_change_no_tokens(model, tokenizer, problems):
    spec = SamplingSpec(samples=5, cap_tokens=60, seed=4)
    base = LocalSampler(model, tokenizer, rows=256).sample(problems, spec)
    few = LocalSampler(model, tokenizer, rows=17).sample(problems, spec)
    turned = LocalSampler(model, tokenizer, rows=50).sample(problems[::-1], spec)[::-1]
    sampler = LocalSampler(model, tokenizer)
    alone = [sampler.sample([p], spec)[0] for p in problems[:4]]
    assert len({r.tokens for g in base for r in g}) > 20
    assert share_equal(base, few) > 0.999
    assert share_equal(base, turned) > 0.999
    assert share_equal(base[:4], alone) > 0.999


def test_the_kernel_and_torch_draw_the_same_tokens(model, tokenizer, problems, monkeypatch):
    spec = SamplingSpec(samples=4, cap_tokens=60, seed=12)
    fast = LocalSampler(model, tokenizer, rows=21).sample(problems, spec)
    monkeypatch.setattr(decoder, "load_kernel", lambda: None)
    plain = LocalSampler(model, tokenizer, rows=33).sample(problems, spec)
    assert share_equal(fast, plain) > 0.999


def test_same_seed_repeats_exactly_and_another_seed_differs(model, tokenizer, problems):
    sampler = LocalSampler(model, tokenizer, rows=40)
    spec = SamplingSpec(samples=4, cap_tokens=60, seed=5)
    one, two = sampler.sample(problems, spec), sampler.sample(problems, spec)
    for a, b in zip([r for g in one for r in g], [r for g in two for r in g], strict=True):
        assert a.completion_ids == b.completion_ids
        assert a.logprobs.tolist() == b.logprobs.tolist()
    other = sampler.sample(problems, SamplingSpec(samples=4, cap_tokens=60, seed=6))
    assert share_equal(one, other) < 0.5


def test_a_small_call_gives_back_the_memory_of_a_large_one(model, tokenizer, problems, monkeypatch):
    small_later, made = LocalSampler(model, tokenizer), []
    make = small_later._decoder.new_cache

    def counted(*, rows, width):
        assert small_later._cache is None, "two caches at a time"
        made.append(rows)
        return make(rows=rows, width=width)

    monkeypatch.setattr(small_later._decoder, "new_cache", counted)
    spec = SamplingSpec(samples=3, cap_tokens=30, seed=4)
    for count in (20, 10, 2, 20):
        groups = small_later.sample(problems[:count], spec)
        fresh = LocalSampler(model, tokenizer).sample(problems[:count], spec)
        assert share_equal(groups, fresh) == 1.0
    # Half as many rows go into what is there.
    assert made == [60, 6, 60]


def test_samples_of_a_group_differ(model, tokenizer, problems):
    spec = SamplingSpec(samples=8, cap_tokens=60, seed=5)
    for group in LocalSampler(model, tokenizer).sample(problems, spec):
        assert len({r.completion_ids for r in group}) > 4


def test_first_tokens_follow_the_softmax_of_the_model(model, tokenizer, problems):
    spec = SamplingSpec(samples=6000, cap_tokens=1, seed=7)
    (group,) = LocalSampler(model, tokenizer, rows=1000).sample(problems[:1], spec)
    with torch.no_grad():
        p = model(torch.tensor([group[0].prompt_ids])).logits[0, -1].softmax(-1).numpy()
    counts = np.bincount([r.completion_ids[0] for r in group], minlength=VOCAB)
    expected = p * 6000
    assert expected.min() > 5
    chi2 = ((counts - expected) ** 2 / expected).sum()
    # 23 degrees of freedom: the 0.001 and 0.999 quantiles
    assert 7.5 < chi2 < 49.7


def naive_support(p, top_k, top_p):
    """Tokens that may be drawn: top-k first, then the nucleus of what is left, renormalised."""
    order = sorted(range(len(p)), key=lambda i: (-p[i], i))
    order = order[:top_k] if top_k else order
    total, mass, kept = sum(p[i] for i in order), 0.0, []
    for i in order:
        kept.append(i)
        mass += p[i]
        if mass >= top_p * total:
            break
    return set(kept)


@pytest.mark.parametrize(
    ("top_k", "top_p"), [(0, 0.5), (3, 1.0), (5, 0.7), (1, 1.0), (0, 0.01), (90, 0.9)]
)
def test_truncation_keeps_the_naive_support_and_draws_reach_all_of_it(top_k, top_p):
    torch.manual_seed(0)
    p = torch.softmax(2 * torch.randn(4, 30), dim=-1)
    kept = truncate(p, top_k=top_k, top_p=top_p)
    spec = SamplingSpec(samples=1, cap_tokens=1, seed=0, top_k=top_k, top_p=top_p)
    grid = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    for row in range(4):
        support = naive_support(p[row].tolist(), top_k, top_p)
        assert set(kept[row].nonzero().flatten().tolist()) == support
        assert torch.equal(kept[row][list(support)], p[row][list(support)])
        tokens = draw(p[row].log().expand(20_000, -1), grid, spec=spec).token_B
        freq = torch.bincount(tokens, minlength=30) / 20_000
        torch.testing.assert_close(freq, kept[row] / kept[row].sum(), atol=1e-4, rtol=0)


def test_a_draw_from_a_large_vocabulary_never_hits_a_forbidden_token():
    torch.manual_seed(0)
    logits = torch.randn(8, 150_000)
    logits[:, 1::2] = -torch.inf
    u = torch.tensor(
        [2.0**-49, 0.1, 0.3, 0.5, 0.7, 0.9, 1 - 2.0**-30, 1 - 2.0**-49], dtype=torch.float64
    )
    out = draw(logits, u, spec=SamplingSpec(samples=1, cap_tokens=1, seed=0))
    assert bool((out.token_B % 2 == 0).all())
    assert bool(out.entropy_B.isfinite().all())
    cdf = torch.softmax(logits.double(), -1).cumsum(-1)
    assert (cdf[torch.arange(8), out.token_B] >= u - 1e-6).all()
    before = torch.where(out.token_B > 0, cdf[torch.arange(8), out.token_B - 1], 0.0)
    assert (before <= u + 1e-6).all()


def test_refresh_takes_over_the_weights_of_a_trained_model(tokenizer, model, problems):
    changed = copy.deepcopy(model)
    sampler = LocalSampler(changed, tokenizer)
    spec = SamplingSpec(samples=2, cap_tokens=30, seed=8)
    randomise(changed, 1)
    sampler.refresh()
    fresh = LocalSampler(changed, tokenizer).sample(problems, spec)
    assert share_equal(sampler.sample(problems, spec), fresh) == 1.0


@pytest.mark.parametrize("kernel", [True, False])
def test_weights_that_were_no_numbers_spoil_nothing_once_they_are(
    kernel, tokenizer, model, problems, monkeypatch
):
    if not kernel:
        monkeypatch.setattr(decoder, "load_kernel", lambda: None)
    changed = copy.deepcopy(model)
    sampler = LocalSampler(changed, tokenizer)
    spec = SamplingSpec(samples=2, cap_tokens=30, seed=8)
    before = sampler.sample(problems, spec)
    value = changed.model.layers[0].self_attn.v_proj.weight
    kept = value.detach().clone()
    with torch.no_grad():
        value[3] = float("nan")
    sampler.refresh()
    with pytest.raises(EngineError, match="not finite"):
        sampler.sample(problems, spec)
    with torch.no_grad():
        value.copy_(kept)
    sampler.refresh()
    assert share_equal(sampler.sample(problems, spec), before) == 1.0


def test_the_fallback_draws_the_same_tokens_as_the_decoder(model, tokenizer, problems):
    spec = SamplingSpec(samples=3, cap_tokens=60, seed=9, temperature=0.9)
    ours = LocalSampler(model, tokenizer, rows=32).sample(problems, spec)
    theirs = HFSampler(model, tokenizer, rows=25).sample(problems, spec)
    assert share_equal(ours, theirs) > 0.999


def test_gpt2_goes_to_the_fallback_and_does_not_depend_on_its_batch(model, tokenizer, problems):
    config = GPT2Config(
        vocab_size=VOCAB,
        n_positions=128,
        n_embd=32,
        n_layer=2,
        n_head=4,
        eos_token_id=STOP,
        bos_token_id=STOP,
    )
    gpt2 = randomise(GPT2LMHeadModel(config), 2)
    sampler = make_sampler(gpt2, tokenizer, rows=64)
    assert isinstance(sampler, HFSampler)
    assert isinstance(make_sampler(model, tokenizer, rows=64), LocalSampler)
    spec = SamplingSpec(samples=3, cap_tokens=50, seed=10)
    together = sampler.sample(problems, spec)
    apart = HFSampler(gpt2, tokenizer, rows=17).sample(problems, spec)
    assert share_equal(together, apart) > 0.999
    r = max((r for g in together for r in g), key=lambda r: r.tokens)
    ids = torch.tensor([r.prompt_ids + r.completion_ids])
    with torch.no_grad():
        logp = gpt2(ids).logits[0, len(r.prompt_ids) - 1 : -1].log_softmax(-1)
    picked = logp[torch.arange(r.tokens), list(r.completion_ids)].numpy()
    np.testing.assert_allclose(r.logprobs, picked, atol=1e-4)


def test_stop_tokens_of_the_generation_config_count_too(model, tokenizer, problems):
    model.generation_config.eos_token_id = [STOP, 7]
    try:
        spec = SamplingSpec(samples=4, cap_tokens=60, seed=11)
        for kind in (LocalSampler, HFSampler):
            flat = [r for g in kind(model, tokenizer).sample(problems, spec) for r in g]
            assert {r.completion_ids[-1] for r in flat if r.finish is Finish.STOP} == {STOP, 7}
            assert all(7 not in r.completion_ids[:-1] for r in flat)
    finally:
        model.generation_config.eos_token_id = STOP


def test_a_prompt_that_cannot_fit_is_refused_with_value_bound_and_fix(model, tokenizer, problems):
    spec = SamplingSpec(samples=1, cap_tokens=250, seed=0)
    with pytest.raises(
        EngineError, match=r"prompt of 11 tokens exceeds 6 = 256 .* lower cap_tokens"
    ):
        LocalSampler(model, tokenizer).sample(problems[8:9], spec)
    bad = SamplingSpec(samples=1, cap_tokens=5, seed=0, top_p=0.0)
    with pytest.raises(EngineError, match=r"top_p 0.0 is outside"):
        LocalSampler(model, tokenizer).sample(problems, bad)


def test_no_problems_give_no_groups(model, tokenizer):
    assert (
        LocalSampler(model, tokenizer).sample([], SamplingSpec(samples=2, cap_tokens=5, seed=0))
        == []
    )


def test_arrange_fills_every_slot_once_sorts_blocks_and_keeps_rows_at_home():
    rng = np.random.default_rng(0)
    for _ in range(200):
        rows, block = int(rng.integers(1, 40)), int(rng.integers(1, 9))
        length = rng.integers(1, 100, rows)
        old = np.full(rows, -1)
        live = int(rng.integers(0, rows + 1))
        old[:live] = rng.choice(64, live, replace=False)
        new = arrange(length, old, block=block)
        assert sorted(new) == list(range(rows))
        by_slot = length[np.argsort(new)]
        for first in range(0, rows - block, block):
            assert by_slot[first : first + block].min() >= by_slot[first + block :].max()
        again = arrange(length, new, block=block)
        assert (again == new).all()


def test_prompts_are_dropped_with_their_last_rollout_even_if_the_last_samples_are_not_drawn(
    model, tokenizer, monkeypatch
):
    kept = []
    make = sampler._Prompts.__init__

    def remember(self, *args):
        make(self, *args)
        kept.append(self)

    monkeypatch.setattr(sampler._Prompts, "__init__", remember)
    two = [Problem(id=name, prompt="w4 w5 w6", answer="", source="test") for name in "ab"]
    spec = SamplingSpec(samples=3, cap_tokens=4, seed=0)
    LocalSampler(model, tokenizer, rows=2).sample(two, spec, skip={("a", 2), ("b", 1), ("b", 2)})
    assert [prompts._ready for prompts in kept] == [{}]
