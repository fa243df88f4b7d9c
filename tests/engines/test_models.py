"""Every kind of causal language model is sampled as it is learned from; the rest is refused."""

import copy
import shutil

import pytest
import torch
import transformers as hf
from tokenizers import Tokenizer, models, pre_tokenizers

from tersely.core.errors import ConfigError, EngineError
from tersely.core.types import Problem, SamplingSpec
from tersely.engines import fallback as hf_sampler
from tersely.engines.fallback import HFSampler, make_sampler
from tersely.engines.learning.learner import LocalLearner
from tersely.engines.learning.memory import memory_errors
from tersely.engines.learning.rows import TrainRow
from tersely.engines.local import sampler as local_sampler
from tersely.engines.local.decoder import Decoder
from tersely.engines.local.jobs import make_codec
from tersely.engines.local.sampler import LocalSampler
from tersely.engines.models import check_thinking_tags, lab_folder, load_policy, sampling_copy

VOCABULARY, STOP = 24, 1
SIZE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "eos_token_id": STOP,
}
HEADS = {**SIZE, "head_dim": 8}
EXPERTS = {**HEADS, "moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2}
MIXED = {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]}
LINEAR = {
    "shared_expert_intermediate_size": 16,
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "full_attention"],
}
MODELS = {
    "qwen3": (hf.Qwen3ForCausalLM, hf.Qwen3Config(**HEADS), LocalSampler),
    "qwen3 tied": (
        hf.Qwen3ForCausalLM, hf.Qwen3Config(**HEADS, tie_word_embeddings=True), LocalSampler
    ),
    "qwen2": (hf.Qwen2ForCausalLM, hf.Qwen2Config(**SIZE), LocalSampler),
    "llama": (hf.LlamaForCausalLM, hf.LlamaConfig(**SIZE), LocalSampler),
    "qwen3 moe": (hf.Qwen3MoeForCausalLM, hf.Qwen3MoeConfig(**EXPERTS), HFSampler),
    "qwen3 next": (hf.Qwen3NextForCausalLM, hf.Qwen3NextConfig(**EXPERTS, **LINEAR), HFSampler),
    "mistral": (hf.MistralForCausalLM, hf.MistralConfig(**SIZE, sliding_window=8), HFSampler),
    "gemma3": (hf.Gemma3ForCausalLM, hf.Gemma3TextConfig(**HEADS, **MIXED), HFSampler),
}  # fmt: skip
PROBLEMS = [
    Problem(id=f"p{i}", prompt=" 5" * (1 + 3 * (i % 4)) + f" {10 + i}", answer="", source="t")
    for i in range(6)
]


def build(name):
    kind, config, _ = MODELS[name]
    torch.manual_seed(3)
    model = kind(copy.deepcopy(config))
    with torch.no_grad():
        for label, weight in model.named_parameters():
            if "norm" in label:
                weight.uniform_(0.5, 1.5)
            else:
                weight.normal_(0.0, 0.2 if weight.ndim == 1 else weight.shape[-1] ** -0.5)
    return model.eval()


@pytest.fixture(scope="module")
def tokenizer():
    words = Tokenizer(models.WordLevel({f"{i}": i for i in range(VOCABULARY)}, unk_token="0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tok = hf.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="0", eos_token=str(STOP))
    tok.chat_template = "{% for m in messages %}{{ m['content'] }} {% endfor %}2"
    return tok


def flat(groups):
    return [rollout for group in groups for rollout in group]


@pytest.mark.parametrize("name", MODELS)
def test_what_is_sampled_is_what_the_learner_sees_before_and_after_a_step(name, tokenizer):
    model = build(name)
    sampler = make_sampler(model, tokenizer, rows=16)
    assert type(sampler) is MODELS[name][2]
    learner = LocalLearner(
        model, learning_rate=1e-2, warmup_steps=0, tokens_per_micro_batch=256, temperature=0.9
    )
    for step in range(2):
        spec = SamplingSpec(samples=3, cap_tokens=30, seed=step, temperature=0.9)
        groups = sampler.sample(PROBLEMS, spec)
        rows = [
            TrainRow(
                group=number,
                prompt_ids=r.prompt_ids,
                completion_ids=r.completion_ids,
                logprobs=r.logprobs,
                advantage=1.0 - r.sample,
            )
            for number, group in enumerate(groups)
            for r in group
        ]
        assert learner.step(rows, updates=1).sampler_mismatch < 1e-5
        sampler.refresh()


@pytest.mark.parametrize("name", MODELS)
def test_greedy_sampling_is_generate(name, tokenizer):
    model = build(name)
    spec = SamplingSpec(samples=1, cap_tokens=15, seed=0, temperature=0.0)
    for rollout in flat(make_sampler(model, tokenizer, rows=16).sample(PROBLEMS, spec)):
        ids = torch.tensor([rollout.prompt_ids])
        with torch.no_grad():
            whole = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=15,
                eos_token_id=STOP,
                pad_token_id=0,
            )
        assert tuple(whole[0, ids.shape[1] :].tolist()) == rollout.completion_ids


def test_an_engine_that_cannot_run_a_model_says_what_can(tokenizer):
    config = hf.Mamba2Config(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=1, num_heads=8, head_dim=8,
        state_size=8, n_groups=2, eos_token_id=STOP, pad_token_id=0, bos_token_id=0,
    )  # fmt: skip
    with pytest.raises(EngineError, match=r"'mamba2' keeps no keys and values.*--endpoint"):
        make_sampler(hf.Mamba2ForCausalLM(config), tokenizer)


@pytest.mark.parametrize("name", ["qwen3", "qwen2", "llama"])
def test_a_decoder_in_bf16_is_the_model_in_bf16(name):
    model = build(name)
    decoder = Decoder(model, dtype=torch.bfloat16)
    ids = torch.randint(0, VOCABULARY, (3, 40))
    with torch.no_grad():
        ours = decoder.logits(decoder.prefill(ids).hidden_GTE).float().log_softmax(-1)
        theirs = sampling_copy(model, dtype=torch.bfloat16)(ids).logits.float().log_softmax(-1)
        exact = model(ids).logits.log_softmax(-1)
    assert decoder.logits(decoder.prefill(ids).hidden_GTE).dtype == torch.bfloat16
    # Two roundings of one model are as far from each other as each is from the model.
    assert float((theirs - exact).abs().mean()) < 0.03
    assert float((ours - exact).abs().mean()) < 0.03


def test_sampling_in_bf16_gives_logprobs_near_those_of_the_policy(tokenizer):
    model = build("qwen3")
    spec = SamplingSpec(samples=2, cap_tokens=30, seed=0)
    for rollout in flat(
        LocalSampler(model, tokenizer, dtype=torch.bfloat16).sample(PROBLEMS, spec)
    ):
        ids = torch.tensor([rollout.prompt_ids + rollout.completion_ids])
        with torch.no_grad():
            logp = model(ids).logits[0, len(rollout.prompt_ids) - 1 : -1].log_softmax(-1)
        picked = logp[torch.arange(rollout.tokens), list(rollout.completion_ids)].numpy()
        assert 1e-5 < abs(picked - rollout.logprobs).mean() < 0.1


def test_a_copy_shares_nothing_with_the_policy_and_no_copy_is_made_without_need():
    model = build("qwen3 tied")
    assert sampling_copy(model, dtype=torch.float32) is model
    rounded = sampling_copy(model, dtype=torch.bfloat16)
    assert rounded.lm_head.weight is rounded.model.embed_tokens.weight
    assert not any(weight.requires_grad for weight in rounded.parameters())
    assert all(weight.requires_grad for weight in model.parameters())
    before = rounded.lm_head.weight.clone()
    with torch.no_grad():
        model.lm_head.weight.zero_()
    assert torch.equal(rounded.lm_head.weight, before)


QWEN = "<|im_start|>assistant\n<think>\n\n</think>\n\n"


@pytest.mark.parametrize(
    ("template", "begin"),
    [
        ("[SYSTEM_PROMPT]think between [THINK] and [/THINK]", "[THINK]"),
        ("<|begin_of_thought|> {thought} <|end_of_thought|>", "<|begin_of_thought|>"),
        ("<|start|>assistant<|channel|>analysis<|message|>", "<|channel|>analysis"),
    ],
)
def test_thinking_that_graders_cannot_tell_from_the_answer_is_refused(template, begin, tmp_path):
    folder = shutil.copytree(lab_folder(), tmp_path / "model")
    given = hf.AutoTokenizer.from_pretrained(folder)
    given.chat_template = template
    given.save_pretrained(folder)
    with pytest.raises(ConfigError) as error:
        load_policy(str(folder))
    assert begin in str(error.value)
    assert "answers are read after </think>" in str(error.value)
    assert "--endpoint" in str(error.value)


def test_usual_templates_pass():
    check_thinking_tags(QWEN, path="m")
    check_thinking_tags(QWEN + "[THINK]", path="m")
    check_thinking_tags("{{ messages }}", path="m")


def test_a_tokenizer_without_a_chat_template_is_refused(tmp_path):
    folder = shutil.copytree(lab_folder(), tmp_path / "model")
    for file in folder.glob("chat_template*"):
        file.unlink()
    with pytest.raises(ConfigError, match=r"has no chat template; save one with it"):
        load_policy(str(folder))


def test_a_prompt_longer_than_the_context_is_named_with_its_tokens_and_the_bound(tokenizer):
    codec = make_codec(build("qwen3"), tokenizer)
    long = Problem(id="long one", prompt=" 5" * 100, answer="", source="t")
    with pytest.raises(EngineError) as error:
        codec.jobs([*PROBLEMS, long], SamplingSpec(samples=1, cap_tokens=40, seed=0))
    assert str(error.value) == (
        "problem 'long one': prompt of 101 tokens exceeds 88 = 128 positions of the model - "
        "cap_tokens 40; shorten the prompt, lower cap_tokens or use a model with more positions"
    )


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nmore"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        MemoryError(),
    ],
)
@pytest.mark.parametrize(("name", "module"), [("qwen3", local_sampler), ("mistral", hf_sampler)])
def test_out_of_memory_keeps_what_had_ended_and_names_the_setting(
    name, module, error, tokenizer, monkeypatch
):
    model, kept, draw, calls = build(name), [], module.draw, []

    def fail_late(*given, **settings):
        calls.append(1)
        if len(calls) > 45:
            raise error
        return draw(*given, **settings)

    monkeypatch.setattr(module, "draw", fail_late)
    spec = SamplingSpec(samples=1, cap_tokens=20, seed=0)
    with pytest.raises(EngineError) as caught:
        make_sampler(model, tokenizer, rows=2).sample(PROBLEMS, spec, on_rollout=kept.append)
    assert "out of memory while sampling" in str(caught.value)
    assert "lower sampling.rows = 2 (--rows of eval)" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert 2 <= len(kept) < 6


def test_other_runtime_errors_are_left_as_they_are():
    with pytest.raises(RuntimeError, match="shape"), memory_errors("x", fix="y"):
        raise RuntimeError("shape mismatch")
