"""Prices: golden numbers by hand, laws, and a second, naive sum over positions."""

import json
from math import isnan
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM, Qwen2Config, Qwen3Config, Qwen3MoeConfig

from tersely.core.errors import ConfigError
from tersely.engines.models import lab_folder
from tersely.flows.price.architecture import KNOWN, Architecture, find_architecture
from tersely.flows.price.memory import Setup, memory_of, rows_that_fit, usable
from tersely.flows.price.roofline import (
    BANDWIDTH_SHARE,
    DECODE_SHARE,
    H100,
    H200,
    STEP_OVERHEAD_S,
    Gpu,
    TimeLine,
    decode_seconds,
    experts_read,
    forward_flops,
    sum_of_larger,
)
from tersely.flows.price.total import Price, price_of, sampling_seconds, training_flops
from tersely.flows.recipe.recipe import Recipe, find_recipe, read_recipe
from tersely.flows.trl.settings import setup_of

SMALL, MIXTURE = KNOWN["Qwen3-0.6B"], KNOWN["Qwen3-30B-A3B-Thinking-2507"]


def recipe(name: str = "qwen3-0.6b", *overrides: str) -> Recipe:
    return read_recipe(find_recipe(Path(name)), overrides=overrides)


def price(gpus: int = 8, *overrides: str, gpu: Gpu = H100, mean: int | None = None) -> Price:
    return price_of(recipe("qwen3-0.6b", *overrides), SMALL, gpu, Setup(gpus), mean_tokens=mean)


# Published: the model cards' totals; 596,049,920 is KerasHub's preset, to the weight. 30B-A3B's
# card says 30.5B and 3.3B.
@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("Qwen3-0.6B", 0.59604992),
        ("Qwen3-1.7B", 1.72),
        ("Qwen3-4B-Instruct-2507", 4.02),
        ("Qwen3-4B-Thinking-2507", 4.02),
        ("Qwen3-8B", 8.19),
        ("Qwen3-30B-A3B-Instruct-2507", 30.5),
        ("Qwen3-30B-A3B-Thinking-2507", 30.5),
        ("DeepSeek-R1-Distill-Qwen-1.5B", 1.78),
    ],
)
def test_known_models_have_as_many_weights_as_published(name: str, billions: float) -> None:
    assert KNOWN[name].parameters == pytest.approx(billions * 1e9, rel=0.005)


def test_the_weights_of_qwen3_0_6b_by_hand() -> None:
    # Attention: 1024 x (16 + 2 x 8) x 128 + 2048 x 1024 = 6,291,456. Feed-forward: 3 x 1024 x 3072
    # = 9,437,184. Norms: 2 x 1024 + 2 x 128 = 2,304. A layer: 15,730,944, 28 of them 440,466,432.
    # One embedding, tied: 151,936 x 1024 = 155,582,464. Last norm: 1024.
    assert SMALL.parameters == 440_466_432 + 155_582_464 + 1024 == 596_049_920


def test_a_mixture_is_active_in_part() -> None:
    # Eight of 128 experts in 48 layers, 3 x 2048 x 768 = 4,718,592 each: 1.812B. The rest: 1.541B,
    # of which the input embedding, 0.311B, is only looked up. The card's 3.3B lies between.
    assert MIXTURE.active_parameters == pytest.approx(3.353e9, rel=1e-3)
    assert MIXTURE.multiplied_parameters == pytest.approx(3.042e9, rel=1e-3)


def test_a_head_of_its_own_is_the_difference_to_1_54_billion() -> None:
    distilled = KNOWN["DeepSeek-R1-Distill-Qwen-1.5B"]
    assert distilled.multiplied_parameters == pytest.approx(1.54e9, rel=0.01)


def weights_of(config: Any) -> int:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return sum(weight.numel() for weight in model.parameters())


def test_the_lab_s_weights_are_counted_to_the_last() -> None:
    found = find_architecture("lab")
    assert found is not None
    assert found.parameters == weights_of(AutoConfig.from_pretrained(lab_folder()))


SHAPE: dict[str, Any] = {
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "intermediate_size": 80,
    "vocab_size": 100,
}
MOE = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 20}


@pytest.mark.parametrize(
    "config",
    [
        Qwen2Config(**SHAPE, tie_word_embeddings=False),
        Qwen3Config(**SHAPE, head_dim=16, tie_word_embeddings=True),
        Qwen3MoeConfig(**SHAPE, **MOE, head_dim=16, tie_word_embeddings=False),
    ],
    ids=lambda config: config.model_type,
)
def test_a_folder_s_weights_are_counted_from_its_config(config: Any, tmp_path: Path) -> None:
    config.save_pretrained(tmp_path)
    found = find_architecture(str(tmp_path))
    assert found is not None
    assert found.parameters == weights_of(config)


@pytest.mark.parametrize("content", ["{}", "no json", '{"n_embd": 768}', "[]"])
def test_an_unknown_form_has_no_figures(content: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    assert find_architecture(str(tmp_path)) is None
    assert find_architecture("models/unheard-of") is None


def test_a_config_in_the_folder_goes_before_the_name(tmp_path: Path) -> None:
    folder = tmp_path / "Qwen3-0.6B"
    assert find_architecture(str(folder)) is SMALL
    folder.mkdir()
    config = json.loads((lab_folder() / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config))
    assert find_architecture(str(folder)) == find_architecture("lab")


def test_cache_bytes_by_hand() -> None:
    # Key and value x layers x kv heads x head dim x 2 bytes.
    assert SMALL.cache_bytes == 2 * 28 * 8 * 128 * 2 == 114_688
    assert MIXTURE.cache_bytes == 2 * 48 * 4 * 128 * 2 == 98_304
    assert KNOWN["DeepSeek-R1-Distill-Qwen-1.5B"].cache_bytes == 2 * 28 * 2 * 128 * 2 == 28_672


def naive_decode(
    model: Architecture, gpu: Gpu, *, rows: int, first: int, last: int, tensor_parallel: int = 1
) -> float:
    """Position by position: what is read, what is computed, and the slower of both."""
    used = model.experts * (
        1 - (1 - model.experts_active / model.experts) ** rows if model.experts else 0
    )
    weights = model.shared_parameters + model.layers * used * model.expert_parameters
    seconds = 0.0
    for context in range(first, last + 1):
        read = 2 * weights + rows * context * model.layers * model.kv_heads * model.head_dim * 4
        scores = 2 * model.layers * model.heads * model.head_dim * context * 2
        done = rows * (2 * model.multiplied_parameters + scores)
        seconds += STEP_OVERHEAD_S + max(
            read / (gpu.bandwidth * BANDWIDTH_SHARE * tensor_parallel),
            done / (gpu.flops * DECODE_SHARE * tensor_parallel),
        )
    return seconds


@pytest.mark.parametrize("model", [SMALL, MIXTURE], ids=["dense", "mixture"])
@pytest.mark.parametrize("rows", [1, 7, 300, 5000])
@pytest.mark.parametrize(("first", "last"), [(1, 1), (200, 3000), (4000, 9000)])
def test_the_closed_form_of_decoding_is_the_loop(
    model: Architecture, rows: int, first: int, last: int
) -> None:
    places = {"rows": rows, "first": first, "last": last, "tensor_parallel": 2}
    expected = naive_decode(model, H100, **places)
    assert decode_seconds(model, H100, **places) == pytest.approx(expected, rel=1e-9)


slopes = st.floats(0, 10)


@given(slopes, slopes, slopes, slopes, st.integers(0, 20), st.integers(0, 60))
def test_the_sum_of_the_larger_line_is_the_loop(
    start_a: float, slope_a: float, start_b: float, slope_b: float, first: int, more: int
) -> None:
    a, b = TimeLine(start_a, slope_a), TimeLine(start_b, slope_b)
    expected = sum(
        max(start_a + slope_a * t, start_b + slope_b * t) for t in range(first, first + more)
    )
    found = sum_of_larger(a, b, first=first, last=first + more - 1)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_a_decode_step_by_hand() -> None:
    # One row of 0.6B at context 1,000 on an H100: 2 x 596,049,920 bytes of weights + 1,000 x
    # 114,688 of cache = 1,306,787,840 bytes at 0.7 x 3.35e12 bytes/s = 0.557 ms, and 4 ms for
    # the step.
    found = decode_seconds(SMALL, H100, rows=1, first=1000, last=1000)
    assert found == pytest.approx(0.557267e-3 + 4e-3, rel=1e-4)


def test_few_rows_read_few_experts_and_many_rows_all() -> None:
    assert experts_read(MIXTURE, 1) == pytest.approx(MIXTURE.active_parameters)
    assert experts_read(MIXTURE, 1000) == pytest.approx(MIXTURE.parameters)
    assert experts_read(SMALL, 5) == SMALL.parameters


def test_training_flops_by_hand() -> None:
    # 0.6B, prompt 200 + 8,192 = 8,392 tokens: 2 x 596,049,920 x 8,392 = 1.00041e13, and attention
    # 4 x 28 x 16 x 128 = 229,376 a token and earlier token: x 8,392 x 8,393 / 2 = 8.0779e12,
    # together 1.80820e13 a pass. Passes: forward, backward two, recomputed one, reference one,
    # old policy one: 6. Rollouts: 3,072. 6 x 3,072 x 1.80820e13 = 3.33288e17.
    assert training_flops(recipe(), SMALL, mean_tokens=8192) == pytest.approx(3.33288e17, rel=1e-4)
    assert training_flops(
        recipe("qwen3-0.6b", "model.gradient_checkpointing=false"), SMALL, mean_tokens=8192
    ) == pytest.approx(5 / 6 * 3.33288e17, rel=1e-4)


def test_twice_the_tokens_are_twice_the_flops_and_more_if_they_are_longer() -> None:
    once, twice = price(), price(8, "sampling.prompts_per_step=256")
    assert twice.completion_tokens == 2 * once.completion_tokens
    assert twice.training_flops == pytest.approx(2 * once.training_flops)
    assert forward_flops(SMALL, 8000) > 2 * forward_flops(SMALL, 4000)


def test_more_gpus_take_less_time_for_the_same_flops() -> None:
    one, eight = price(1), price(8)
    assert eight.training_flops == one.training_flops
    assert eight.learning_s == pytest.approx(one.learning_s / 8)
    assert eight.sampling_s < one.sampling_s
    assert price(gpu=H200).sampling_s < eight.sampling_s


def test_hours_are_seconds_times_gpus() -> None:
    found = price(8)
    hours = 8 * (found.sampling_s + found.learning_s) / 3600
    assert found.step_gpu_hours == pytest.approx(hours)


def test_learner_memory_by_hand_and_over_shards() -> None:
    # A weight: 18 bytes, and 4 of the reference: 22 x 596,049,920 = 13.1131 GB, an eighth
    # 1.6391 GB. A row of 8,392 tokens: logits 10 x 151,936 bytes a token; activations,
    # checkpointed, 2 x (28 x 1024 + 4 x 1024 + 2 x 24 x 128 + 3 x 3072) = 96,256 bytes a token:
    # 13.5584 GB.
    alone, shared = price(1).memory, price(8).memory
    assert alone.state == pytest.approx(13.1131e9, rel=1e-4)
    assert shared.state == pytest.approx(alone.state / 8)
    assert alone.working == shared.working == pytest.approx(13.5584e9, rel=1e-4)
    assert price_of(recipe(), SMALL, H100, Setup(8, sharded=False)).memory.state == alone.state


def test_a_mixture_takes_memory_by_all_its_weights_and_learns_by_the_active_ones() -> None:
    settings = recipe("qwen3-30b-a3b-thinking")
    memory = memory_of(settings, MIXTURE, H200, Setup(64), mean_tokens=4096)
    assert memory.state == 22 * MIXTURE.parameters / 64
    assert memory.weights == 2 * MIXTURE.parameters
    flops = training_flops(settings, MIXTURE, mean_tokens=4096)
    tokens = 768 * (200 + 4096)
    assert 6 * 2 * 3.04e9 * tokens < flops < 6 * 2 * 5e9 * tokens


def test_it_fits_on_what_it_is_said_to_need_and_on_no_less() -> None:
    settings, model = recipe("qwen3-8b"), KNOWN["Qwen3-8B"]
    few = price_of(settings, model, H100, Setup(1))
    assert not few.fits
    assert isnan(few.sampling_s)
    assert isnan(few.step_gpu_hours)
    assert few.gpus_needed == 8
    # 22 x 8.19e9 / 8 = 22.5 GB, and 32.2 GB of a row's logits and activations: 54.7 of 72 GB. On 4
    # it would be 77.2.
    enough = price_of(settings, model, H100, Setup(8))
    assert enough.fits
    assert enough.memory.learning <= usable(H100)
    assert not price_of(settings, model, H100, Setup(4)).fits


def test_what_is_not_shared_out_is_needed_on_every_gpu() -> None:
    found = price_of(recipe("qwen3-8b"), KNOWN["Qwen3-8B"], H100, Setup(64, sharded=False))
    assert found.gpus_needed is None


def test_a_sampler_holds_as_many_rows_as_fit_into_its_share() -> None:
    # 0.5 x 80 GB - 1.192 GB of weights = 38.808 GB; a row of 8,392 tokens 0.96246 GB: 40.
    setup = Setup(1, sampler_share=0.5)
    assert rows_that_fit(SMALL, H100, setup, state=13e9, tokens=8392) == 40
    assert memory_of(recipe(), SMALL, H100, setup, mean_tokens=8192).in_flight == 40
    limited = memory_of(recipe(), SMALL, H100, Setup(1, rows=32), mean_tokens=8192)
    assert (limited.in_flight, limited.rows) == (32, 3072)


def test_the_longest_rollout_goes_on_alone_to_the_cap() -> None:
    places = {"rows": 10, "in_flight": 10, "mean_tokens": 1000}
    to_mean = sampling_seconds(SMALL, H100, **places, cap_tokens=1000)
    to_cap = sampling_seconds(SMALL, H100, **places, cap_tokens=3000)
    alone = naive_decode(SMALL, H100, rows=1, first=1201, last=3200)
    assert to_cap - to_mean == pytest.approx(alone)


def test_shorter_rollouts_cost_less() -> None:
    at_most, expected = price(8), price(8, mean=3000)
    assert expected.step_gpu_hours < at_most.step_gpu_hours
    assert expected.completion_tokens == 3072 * 3000


@pytest.mark.parametrize("mean", [0, -5, 8193])
def test_a_mean_beyond_the_cap_is_refused(mean: int) -> None:
    with pytest.raises(ConfigError, match=rf"--mean-tokens {mean} .* 8192 \(L_R\)"):
        price(mean=mean)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("{}", Setup(8, sharded=False)),
        ("{fsdp = true}", Setup(8)),
        ("{use_vllm = true}", Setup(8, sharded=False, sampler_share=0.3)),
        (
            "{use_vllm = true, vllm_tensor_parallel_size = 2, vllm_gpu_memory_utilization = 0.6}",
            Setup(8, sharded=False, tensor_parallel=2, sampler_share=0.6),
        ),
        ('{use_vllm = true, vllm_mode = "server", deepspeed = "zero3.json"}', Setup(8)),
        (
            '{use_vllm = true, vllm_tensor_parallel_size = "two", fsdp = true}',
            Setup(8, True, 1, None, 0.3),
        ),
    ],
)
def test_a_setup_is_read_from_trl_s_settings(settings: str, expected: Setup) -> None:
    assert setup_of(recipe("qwen3-0.6b", f"trl={settings}"), processes=8) == expected
