"""Before a run spends anything, its sampler is held against a forward pass of its model."""

import copy
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf

from tersely.core.errors import ConfigError
from tersely.core.types import Problem, SamplingSpec
from tersely.engines.fallback import make_sampler
from tersely.engines.local import agreement
from tersely.engines.models import lab_folder, load_tokenizer
from tersely.flows.evaluate.plan import Plan
from tersely.flows.evaluate.session import run_evaluation
from tersely.flows.observer import Quiet
from tersely.flows.recipe.recipe import read_recipe
from tersely.flows.train.loop import train
from tersely.metrics.budgets import Protocol

TINY = Path(__file__).parents[2] / "flows" / "tiny.toml"
VOCABULARY = load_tokenizer("lab").vocab_size
SIZE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "eos_token_id": 1,
    "bos_token_id": 0,
    "pad_token_id": 0,
}
DECODER_HALF = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "decoder_layers": 2,
    "decoder_attention_heads": 4,
    "decoder_ffn_dim": 48,
    "encoder_layers": 2,
    "max_position_embeddings": 256,
    "eos_token_id": 1,
    "bos_token_id": 0,
    "pad_token_id": 0,
}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 100.0,
    "short_factor": [1.0, 1.1, 1.2, 1.3],
    "long_factor": [3.0, 5.0, 8.0, 13.0],
}
SWITCH = 64
LONG = {**SIZE, "original_max_position_embeddings": SWITCH, "rope_parameters": LONGROPE}


def randomise(model):
    torch.manual_seed(3)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.uniform_(0.5, 1.5)
            else:
                weight.normal_(0.0, 0.2 if weight.ndim == 1 else weight.shape[-1] ** -0.5)
    return model.eval()


def folder_of(tmp_path, config):
    """A model of random weights with the lab's tokenizer."""
    folder = shutil.copytree(lab_folder(), tmp_path / "model")
    (folder / "model.safetensors").unlink()
    randomise(hf.AutoModelForCausalLM.from_config(copy.deepcopy(config))).save_pretrained(folder)
    return folder


def training(folder, model, *, cap=40):
    torch.set_num_threads(1)
    overrides = (
        f"model.path={model}",
        f"sampling.cap_tokens={cap}",
        "evaluation.budgets=[12]",
    )
    train(
        read_recipe(TINY, overrides=overrides),
        folder,
        resume=False,
        observer=Quiet(wants_stop=lambda: True),
    )


def evaluation(folder, model, *, cap=40):
    plan = Plan(
        model=str(model),
        benchmark="lab",
        out=folder,
        spec=SamplingSpec(samples=2, cap_tokens=cap, seed=0),
        budgets=(12,),
        protocol=Protocol.FINISHED,
        limit=3,
    )
    run_evaluation(plan, observer=Quiet(wants_stop=lambda: True))


BOTH = pytest.mark.parametrize("flow", [training, evaluation])

# Their positions count from the start of the padding, or from an offset of their own.
WRONG = {
    "bart": hf.BartConfig(**DECODER_HALF),
    "mbart": hf.MBartConfig(**DECODER_HALF),
    "marian": hf.MarianConfig(**DECODER_HALF, decoder_start_token_id=0),
    "roberta": hf.RobertaConfig(
        **{k: v for k, v in SIZE.items() if k != "num_key_value_heads"}, is_decoder=True
    ),
}


@BOTH
@pytest.mark.parametrize("name", WRONG)
def test_an_architecture_that_is_sampled_wrongly_is_refused_at_the_start(flow, name, tmp_path):
    model = folder_of(tmp_path, WRONG[name])
    with pytest.raises(ConfigError) as error:
        flow(tmp_path / "run", model)
    said = str(error.value)
    assert f"the engine samples this '{name}' model wrongly" in said
    assert "nats a token from the model's own forward pass, and at most 0.001 is rounding" in said
    assert said.endswith("through a server (--endpoint)")
    assert "\n" not in said
    assert not (tmp_path / "run").exists()


@BOTH
def test_an_architecture_that_takes_no_common_cache_is_refused_in_one_line(flow, tmp_path):
    size = {**SIZE, "num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 8}
    model = folder_of(tmp_path, hf.MiniMaxConfig(**size))
    with pytest.raises(ConfigError, match=r"^the engine cannot run this 'minimax' model: "):
        flow(tmp_path / "run", model)


@BOTH
def test_an_older_transformers_is_named_instead_of_the_model(flow, tmp_path, monkeypatch):
    size = {**SIZE, "num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 8}
    model = folder_of(tmp_path, hf.MiniMaxConfig(**size))
    monkeypatch.setattr(agreement, "version", lambda _: "5.10.4")
    said = r"transformers 5.10.4 is older than 5.19; run pip install 'transformers>=5.19', in ano"
    with pytest.raises(ConfigError, match=said):
        flow(tmp_path / "run", model)
    extras = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    bound = f"transformers>={agreement.LEAST_TRANSFORMERS},<6"
    assert bound in extras["optional-dependencies"]["train"]


RIGHT = {
    "phi3 below its switch": hf.Phi3Config(**LONG),
    "gemma2 with soft caps": hf.Gemma2Config(
        **SIZE, head_dim=8, sliding_window=16, attn_logit_softcapping=2.0,
        final_logit_softcapping=3.0, query_pre_attn_scalar=4,
    ),
    "granite with multipliers": hf.GraniteConfig(
        **SIZE, embedding_multiplier=3.0, residual_multiplier=0.5, attention_multiplier=0.3,
        logits_scaling=2.0,
    ),
    "cohere with a logit scale": hf.CohereConfig(**SIZE, logit_scale=3.0, use_qk_norm=True),
    "neox with a part of each head rotated": hf.GPTNeoXConfig(
        **{k: v for k, v in SIZE.items() if k != "num_key_value_heads"}, rotary_pct=0.5
    ),
    "olmo2 with norms of queries and keys": hf.Olmo2Config(**SIZE),
    "mixtral": hf.MixtralConfig(**SIZE, num_local_experts=4, num_experts_per_tok=2),
    "bloom, which takes no positions": hf.BloomConfig(
        vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=4, eos_token_id=1,
    ),
    "opt with an offset of positions": hf.OPTConfig(
        vocab_size=VOCABULARY, hidden_size=32, word_embed_proj_dim=32, ffn_dim=48,
        num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=256, eos_token_id=1,
    ),
    "llama with biases everywhere": hf.LlamaConfig(**SIZE, attention_bias=True, mlp_bias=True),
    "qwen2 with a sliding window": hf.Qwen2Config(
        **SIZE, use_sliding_window=True, sliding_window=16, max_window_layers=1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_an_architecture_that_is_sampled_rightly_is_evaluated(name, tmp_path):
    evaluation(tmp_path / "run", folder_of(tmp_path, RIGHT[name]))
    assert (tmp_path / "run" / "records.jsonl").read_bytes().count(b"\n") == 6


@BOTH
@pytest.mark.parametrize(
    "config", [hf.Phi3Config(**LONG), hf.LlamaConfig(**LONG)], ids=["phi3", "llama"]
)
def test_a_cap_that_crosses_the_switch_of_longrope_is_refused(flow, config, tmp_path):
    with pytest.raises(ConfigError, match=r"64 positions up to which longrope .* lower cap_tok"):
        flow(tmp_path / "run", folder_of(tmp_path, config), cap=SWITCH - 4)
    assert not (tmp_path / "run").exists()


NEVER = 10**6


def worst_nats(model, tokenizer, *, positions):
    """Largest |sampler - forward| over rows that fill ``positions``: no token stops them."""
    sampler = make_sampler(model, tokenizer)
    sampler.codec = sampler.codec._replace(max_positions=positions, stop_ids=frozenset({NEVER}))
    sampler._stop_ids = torch.tensor([NEVER])
    problems = [Problem(id=c, prompt=c * n, answer="", source="t") for c, n in (("1", 3), ("2", 9))]
    longest = max(len(job.prompt_ids) for job in sampler.codec.jobs(problems, spec_of(1)))
    worst = 0.0
    for group in sampler.sample(problems, spec_of(positions - longest)):
        for rollout in group:
            ids = torch.tensor([[*rollout.prompt_ids, *rollout.completion_ids]])
            start = len(rollout.prompt_ids)
            with torch.no_grad():
                logp_TV = torch.log_softmax(model(ids).logits[0, start - 1 : -1], dim=-1)
            seen_T = logp_TV.gather(1, ids[0, start:, None])[:, 0].numpy()
            worst = max(worst, float(np.abs(seen_T - rollout.logprobs).max()))
    return worst


def spec_of(cap):
    return SamplingSpec(samples=3, cap_tokens=cap, seed=1)


DYNAMIC = {"rope_type": "dynamic", "rope_theta": 100.0, "factor": 4.0}
YARN = {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0, "attention_factor": 1.7}


@pytest.mark.parametrize(
    ("config", "positions"),
    [
        (hf.Phi3Config(**LONG), SWITCH),
        (hf.LlamaConfig(**LONG), SWITCH),
        (hf.LlamaConfig(**{**SIZE, "max_position_embeddings": 48}, rope_parameters=DYNAMIC), 48),
        (
            hf.Qwen3Config(
                **SIZE, rope_parameters={**YARN, "original_max_position_embeddings": SWITCH}
            ),
            256,
        ),
    ],
    ids=["phi3 longrope", "llama longrope", "llama dynamic", "qwen3 yarn"],
)
def test_every_position_that_is_allowed_is_sampled_as_the_whole_is_scored(config, positions):
    model = randomise(hf.AutoModelForCausalLM.from_config(copy.deepcopy(config)))
    tokenizer = load_tokenizer("lab")
    assert make_sampler(model, tokenizer).codec.max_positions == positions
    assert worst_nats(model, tokenizer, positions=positions) < 5e-5


def test_beyond_the_switch_of_longrope_the_two_would_differ():
    # What the refusal is for: with the bound lifted, the same rows are off by whole nats.
    model = randomise(hf.AutoModelForCausalLM.from_config(hf.Phi3Config(**LONG)))
    tokenizer = load_tokenizer("lab")
    assert worst_nats(model, tokenizer, positions=SWITCH + 40) > 0.1
