"""Adapters learn, sample, save and resume; the base is never touched and is the reference."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

from tersely.core.errors import ConfigError
from tersely.core.types import Problem, SamplingSpec
from tersely.engines.fallback import HFSampler
from tersely.engines.learning import checkpoints
from tersely.engines.learning.learner import LocalLearner
from tersely.engines.learning.lora import (
    add_lora,
    base_twin,
    has_lora,
    merged_weights,
    plain_twin,
    save_merged,
)
from tersely.engines.learning.objective import Objective
from tersely.engines.learning.rows import TrainRow
from tersely.engines.local.sampler import LocalSampler

VOCABULARY = 14
STOP = 9
SIZE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
    "eos_token_id": STOP,
}


def tiny_model(kind="qwen3", *, seed=0):
    torch.manual_seed(seed)
    if kind == "qwen2":
        model = Qwen2ForCausalLM(Qwen2Config(**SIZE))
    elif kind == "moe":
        config = Qwen3MoeConfig(
            **SIZE, head_dim=8, moe_intermediate_size=8, num_experts=4, num_experts_per_tok=2
        )
        model = Qwen3MoeForCausalLM(config)
    else:
        model = Qwen3ForCausalLM(Qwen3Config(**SIZE, head_dim=8, tie_word_embeddings=True))
    return model.eval()


def with_lora(kind="qwen3", *, rank=2, moved=True, **settings):
    """A model whose adapters are no longer at their start."""
    model = tiny_model(kind)
    add_lora(model, rank=rank, seed=0, **settings)
    if moved:
        torch.manual_seed(5)
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


PROBLEMS = [Problem(id=f"p{i}", prompt=f"{i} 3 1", answer="", source="t") for i in range(4)]


def sampled_rows(sampler, *, seed=1, cap_tokens=12):
    """Rollouts as the learner sees them, with made-up advantages."""
    groups = sampler.sample(PROBLEMS, SamplingSpec(samples=3, cap_tokens=cap_tokens, seed=seed))
    return [
        TrainRow(
            group=number,
            prompt_ids=r.prompt_ids,
            completion_ids=r.completion_ids,
            logprobs=r.logprobs,
            advantage=(1.0, -0.5, 0.25)[r.sample],
        )
        for number, group in enumerate(groups)
        for r in group
    ]


def make_learner(model, **settings):
    given = {"learning_rate": 1e-2, "warmup_steps": 0, "tokens_per_micro_batch": 128}
    return LocalLearner(model, **{**given, **settings})


def state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_the_policy_starts_as_the_base_and_its_start_is_seeded():
    ids = torch.randint(0, VOCABULARY, (2, 9))
    model = with_lora(moved=False)
    assert torch.equal(model(ids).logits, tiny_model()(ids).logits)
    torch.manual_seed(77)
    again = with_lora(moved=False)
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True)
    )
    assert torch.initial_seed() == 0  # the fixture's own; drawing A moved no other randomness


@pytest.mark.parametrize("checkpointing", [False, True])
def test_only_adapters_move_and_all_of_them_do(checkpointing, tokenizer):
    model = with_lora()
    before = state(model)
    learner = make_learner(model, gradient_checkpointing=checkpointing)
    learner.step(sampled_rows(HFSampler(model, tokenizer)), updates=2)
    assert learner.state_dict()["updates"] == 2
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]) == (".lora_" not in name), name
    again = learner.step(sampled_rows(HFSampler(model, tokenizer), seed=2), updates=1)
    assert again.sampler_mismatch < 1e-5
    held = learner.state_dict()["optimizer"]["state"]
    # 7 matrices a layer, A and B of each
    assert len(held) == 2 * 7 * 2


@pytest.mark.parametrize(
    ("kind", "sampler"),
    [("qwen3", LocalSampler), ("qwen2", LocalSampler), ("qwen3", HFSampler), ("moe", HFSampler)],
)
def test_sampler_and_learner_agree_on_every_logprob_also_after_a_step(kind, sampler, tokenizer):
    model = with_lora(kind)
    engine = sampler(model, tokenizer)
    learner = make_learner(model)
    for step in range(2):
        stats = learner.step(sampled_rows(engine, seed=step), updates=1)
        assert stats.sampler_mismatch < 1e-5
        engine.refresh()


def test_a_sampler_that_was_not_refreshed_is_found_out(tokenizer):
    model = with_lora()
    engine = LocalSampler(model, tokenizer)
    learner = make_learner(model)
    learner.step(sampled_rows(engine), updates=1)
    assert learner.step(sampled_rows(engine), updates=1).sampler_mismatch > 1e-3


def test_the_bf16_copy_is_the_merged_model_rounded_and_follows_it(tokenizer):
    model = with_lora()
    engine = HFSampler(model, tokenizer, dtype=torch.bfloat16)
    learner = make_learner(model)
    for step in range(2):
        stats = learner.step(sampled_rows(engine, seed=step), updates=1)
        # 8 bits of mantissa: of logits about 3, a few 1e-2
        assert 1e-4 < stats.sampler_mismatch < 0.1
        engine.refresh()
    for name, weight in merged_weights(model):
        copied = engine._model.state_dict()[name]
        assert copied.dtype == torch.bfloat16
        assert torch.equal(copied, weight.bfloat16())


def test_the_reference_is_the_base_and_leaves_the_adapters_trainable(tokenizer):
    model = with_lora()
    rows = sampled_rows(LocalSampler(model, tokenizer))
    objective = Objective(kl_coef=0.3)
    copied, shared = with_lora(), with_lora()
    expected = make_learner(copied, objective=objective, reference=tiny_model()).step(
        rows, updates=2
    )
    stats = make_learner(shared, objective=objective, reference=base_twin(shared)).step(
        rows, updates=2
    )
    np.testing.assert_allclose(stats, expected, rtol=1e-5)
    assert stats.kl_mean > 0.01
    assert base_twin(shared).lm_head.weight.data_ptr() == shared.lm_head.weight.data_ptr()
    for a, b in zip(shared.parameters(), copied.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)
        assert a.requires_grad == b.requires_grad


@pytest.mark.parametrize("kind", ["qwen3", "qwen2", "moe"])
def test_the_merged_model_computes_what_the_adapted_one_does(kind):
    model = with_lora(kind)
    ids = torch.randint(0, VOCABULARY, (2, 9))
    merged = plain_twin(model, dict(merged_weights(model)))
    assert merged(ids).logits.std() > 0.3
    torch.testing.assert_close(merged(ids).logits, model(ids).logits, atol=1e-4, rtol=0)
    torch.testing.assert_close(base_twin(model)(ids).logits, tiny_model(kind)(ids).logits)


def test_a_checkpoint_is_the_merged_model_with_the_adapter_beside_it(tmp_path, tokenizer):
    model = with_lora("qwen2")
    learner = make_learner(model)
    path = checkpoints.save(
        tmp_path, 1, model=model, tokenizer=tokenizer, learner=learner, extra={}
    )
    ids = torch.randint(0, VOCABULARY, (2, 9))
    merged = AutoModelForCausalLM.from_pretrained(path)
    assert not has_lora(merged)
    torch.testing.assert_close(merged(ids).logits, model(ids).logits, atol=1e-4, rtol=0)
    assert sorted(f.name for f in (path / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "generation_config.json",
    ]
    plain = tiny_model("qwen2")
    with pytest.raises(ConfigError, match="it has a LoRA adapter and the model has none"):
        checkpoints.load(path, model=plain, learner=make_learner(plain))
    other = with_lora("qwen2", rank=3)
    with pytest.raises(ConfigError, match="does not load into this model"):
        checkpoints.load(path, model=other, learner=make_learner(other))


def test_a_run_that_stops_and_resumes_is_the_run_that_did_not(tmp_path, tokenizer):
    straight = with_lora(moved=False)
    learner = make_learner(straight)
    rows = [sampled_rows(LocalSampler(straight, tokenizer), seed=seed) for seed in range(4)]
    for step in range(4):
        if step == 2:
            path = checkpoints.save(
                tmp_path, 2, model=straight, tokenizer=tokenizer, learner=learner, extra={}
            )
        expected = learner.step(rows[step], updates=2)
    resumed = with_lora()
    learner = make_learner(resumed)
    checkpoints.load(path, model=resumed, learner=learner)
    for step in range(2, 4):
        stats = learner.step(rows[step], updates=2)
    np.testing.assert_equal(stats, expected)
    assert all(
        torch.equal(a, b) for a, b in zip(resumed.parameters(), straight.parameters(), strict=True)
    )


def test_a_chosen_layer_is_the_only_one_with_an_adapter(tmp_path):
    model = with_lora(targets=("q_proj", "v_proj"), alpha=8.0)
    trained = {n.split(".")[4] for n, weight in model.named_parameters() if weight.requires_grad}
    assert trained == {"q_proj", "v_proj"}
    save_merged(model, tmp_path / "m")
    before = tiny_model().state_dict()
    after = AutoModelForCausalLM.from_pretrained(tmp_path / "m").state_dict()
    moved = {n.split(".")[4] for n in before if not torch.equal(before[n], after[n])}
    assert moved == trained
    layer = model.model.layers[0].self_attn.q_proj
    # alpha / rank = 8 / 2
    delta = 4 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    name = "model.layers.0.self_attn.q_proj.weight"
    torch.testing.assert_close(after[name], before[name] + delta, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, "lora rank 0 is below 1"),
        ({"rank": 2, "targets": ("nothing",)}, "nothing name no linear layer.*q_proj"),
    ],
)
def test_a_rank_or_target_that_cannot_be_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        add_lora(tiny_model(), seed=0, **settings)
