"""Base + adapter, what is sampled, and the merged checkpoint are one policy, or are refused."""

import numpy as np
import pytest
import torch
import transformers as hf
from tokenizers import Tokenizer, models, pre_tokenizers

from tersely.core.errors import ConfigError
from tersely.core.types import Problem, SamplingSpec
from tersely.engines.fallback import HFSampler, make_sampler
from tersely.engines.learning import checkpoints
from tersely.engines.learning.learner import LocalLearner
from tersely.engines.learning.lora import add_lora, save_merged
from tersely.engines.local.sampler import LocalSampler

VOCABULARY, STOP = 20, 1
NATS = 1e-5
SIZE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
    "eos_token_id": STOP,
    "bos_token_id": STOP,
    "pad_token_id": 0,
}
OLDER = {
    "vocab_size": VOCABULARY,
    "n_embd": 16,
    "n_layer": 2,
    "n_head": 2,
    "n_positions": 64,
    "initializer_range": 0.3,
    "eos_token_id": STOP,
    "bos_token_id": STOP,
}
EXPERTS = {"moe_intermediate_size": 8, "num_experts": 4, "num_experts_per_tok": 2, "head_dim": 8}
# kind: config, the names of the input embedding, of the head, of some matrices of a layer
KINDS = {
    "qwen3": (hf.Qwen3Config, {**SIZE, "head_dim": 8}, "embed_tokens", ("q_proj", "v_proj")),
    "qwen2": (hf.Qwen2Config, SIZE, "embed_tokens", ("q_proj", "v_proj")),
    "llama": (hf.LlamaConfig, SIZE, "embed_tokens", ("q_proj", "v_proj")),
    "phi3": (hf.Phi3Config, SIZE, "embed_tokens", ("qkv_proj",)),
    "gemma3": (hf.Gemma3TextConfig, {**SIZE, "head_dim": 8}, "embed_tokens", ("q_proj",)),
    "qwen3 moe": (hf.Qwen3MoeConfig, {**SIZE, **EXPERTS}, "embed_tokens", ("q_proj",)),
    "gpt2": (hf.GPT2Config, OLDER, "wte", ("c_attn",)),
}
TARGETS = ("all-linear", "layers", "head", "embedding", "both", "head and layers")


def build(kind, *, tied):
    config, size, _, _ = KINDS[kind]
    torch.manual_seed(0)
    return hf.AutoModelForCausalLM.from_config(config(**size, tie_word_embeddings=tied)).eval()


def names(kind, targets):
    _, _, embedding, layers = KINDS[kind]
    return {
        "all-linear": (),
        "layers": layers,
        "head": ("lm_head",),
        "embedding": (embedding,),
        "both": ("lm_head", embedding),
        "head and layers": ("lm_head", *layers),
    }[targets]


def move(model):
    """Adapters as after some steps: far from their start."""
    torch.manual_seed(5)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.normal_(0, 0.3)


def scores(model, ids):
    with torch.no_grad():
        return torch.log_softmax(model(ids).logits.float(), dim=-1)


@pytest.fixture(scope="module")
def tokenizer():
    words = Tokenizer(models.WordLevel({f"{i}": i for i in range(VOCABULARY)}, unk_token="0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tok = hf.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="0", eos_token=str(STOP))
    tok.chat_template = "{% for m in messages %}{{ m['content'] }} {% endfor %}2"
    return tok


PROBLEMS = [Problem(id="a", prompt="3 4 5", answer="", source="t")]


def check_sampler(model, sampler, *, atol):
    (group,) = sampler.sample(PROBLEMS, SamplingSpec(samples=3, cap_tokens=12, seed=1))
    for rollout in group:
        ids = torch.tensor([[*rollout.prompt_ids, *rollout.completion_ids]])
        start = len(rollout.prompt_ids)
        seen_TV = scores(model, ids)[0, start - 1 : -1]
        seen_T = seen_TV[torch.arange(len(seen_TV)), ids[0, start:]]
        np.testing.assert_allclose(rollout.logprobs, seen_T.numpy(), atol=atol)


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize("kind", KINDS)
def test_adapted_sampled_and_saved_are_one_policy_or_it_is_refused(
    kind, targets, tied, tokenizer, tmp_path
):
    model = build(kind, tied=tied)
    wanted = names(kind, targets)
    if tied and targets in ("head", "embedding", "both", "head and layers"):
        with pytest.raises(ConfigError, match=r"is the same matrix as .*leave \w+ out of"):
            add_lora(model, rank=2, seed=0, targets=wanted)
        return
    add_lora(model, rank=2, seed=0, targets=wanted)
    sampler = make_sampler(model, tokenizer)
    before = scores(model, torch.arange(9)[None])
    move(model)
    assert (scores(model, torch.arange(9)[None]) - before).abs().max() > 0.1
    sampler.refresh()
    check_sampler(model, sampler, atol=NATS)
    save_merged(model, tmp_path / "merged")
    merged = hf.AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    ids = torch.randint(0, VOCABULARY, (2, 9))
    torch.testing.assert_close(scores(merged, ids), scores(model, ids), atol=NATS, rtol=0)


@pytest.mark.parametrize("sampler", [LocalSampler, HFSampler])
def test_a_bf16_copy_has_the_adapters_of_head_and_embedding_in_it(sampler, tokenizer):
    model = build("qwen3", tied=False)
    add_lora(model, rank=2, seed=0, targets=("lm_head", "embed_tokens"))
    move(model)
    # 8 bits of mantissa: a few hundredths; without the adapters 1 to 10
    check_sampler(model, sampler(model, tokenizer, dtype=torch.bfloat16), atol=0.3)


@pytest.mark.parametrize("targets", [("lm_head",), ("embed_tokens",), ("lm_head", "q_proj")])
def test_a_checkpoint_restores_adapters_of_head_and_embedding(targets, tokenizer, tmp_path):
    model = build("qwen2", tied=False)
    add_lora(model, rank=2, seed=0, targets=targets)
    move(model)
    settings = {"learning_rate": 1e-3, "warmup_steps": 0, "tokens_per_micro_batch": 64}
    path = checkpoints.save(
        tmp_path,
        1,
        model=model,
        tokenizer=tokenizer,
        learner=LocalLearner(model, **settings),
        extra={},
    )
    again = build("qwen2", tied=False)
    add_lora(again, rank=2, seed=3, targets=targets)
    checkpoints.load(path, model=again, learner=LocalLearner(again, **settings))
    for a, b in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_weights_that_only_the_config_calls_tied_stay_apart(tmp_path):
    # Loading keeps two matrices that differ apart; so must what is merged and sampled from.
    build("llama", tied=False).save_pretrained(tmp_path / "base")
    file = tmp_path / "base" / "config.json"
    text = file.read_text()
    assert '"tie_word_embeddings": false' in text
    file.write_text(text.replace('"tie_word_embeddings": false', '"tie_word_embeddings": true'))
    model = hf.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    add_lora(model, rank=2, seed=0, targets=("q_proj",))
    move(model)
    save_merged(model, tmp_path / "merged")
    merged = hf.AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    ids = torch.randint(0, VOCABULARY, (2, 9))
    torch.testing.assert_close(scores(merged, ids), scores(model, ids), atol=NATS, rtol=0)


def test_a_target_that_names_nothing_is_refused_beside_others_that_do():
    with pytest.raises(ConfigError, match=r"lora targets k_porj name no linear layer.*k_proj"):
        add_lora(build("llama", tied=False), rank=2, seed=0, targets=("q_proj", "k_porj"))


def test_the_matrices_of_gpt2_are_named_when_a_target_is_not_there():
    with pytest.raises(ConfigError, match=r"q_proj name no linear layer.*c_attn, c_fc, c_proj"):
        add_lora(build("gpt2", tied=True), rank=2, seed=0, targets=("q_proj",))


def test_an_embedding_of_positions_gets_no_adapter():
    with pytest.raises(ConfigError, match=r"lora target wpe embeds something other than tokens"):
        add_lora(build("gpt2", tied=False), rank=2, seed=0, targets=("wpe",))


def test_the_refusal_of_a_tied_head_is_one_line_with_the_fix():
    with pytest.raises(ConfigError) as error:
        add_lora(build("qwen3", tied=True), rank=2, seed=0, targets=("lm_head",))
    assert str(error.value) == (
        "lora target lm_head: model.embed_tokens.weight is the same matrix as lm_head.weight "
        "(tied), so no merged model equals base and adapter; leave lm_head out of "
        "model.lora_targets"
    )
