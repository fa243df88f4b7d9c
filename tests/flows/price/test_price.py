"""Prices: golden numbers by hand, laws, and a second, naive sum over positions."""

import json
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    DeepseekV3Config,
    FalconH1Config,
    Glm4MoeConfig,
    Llama4TextConfig,
    MixtralConfig,
    Qwen2Config,
    Qwen2MoeConfig,
    Qwen3Config,
    Qwen3MoeConfig,
    Qwen3NextConfig,
)

from tersely.core.errors import ConfigError
from tersely.engines.models import lab_folder
from tersely.flows.price.architecture import KNOWN, Architecture, find_architecture
from tersely.flows.price.lengths import Lengths
from tersely.flows.price.memory import Setup, memory_of, rows_that_fit, usable
from tersely.flows.price.roofline import (
    H100,
    H200,
    Gpu,
    decode_seconds,
    experts_read,
    forward_flops,
    handover_seconds,
    pass_seconds,
    step_seconds,
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
        MixtralConfig(**SHAPE, num_local_experts=8, num_experts_per_tok=2),
    ],
    ids=lambda config: config.model_type,
)
def test_a_folder_s_weights_are_counted_from_its_config(config: Any, tmp_path: Path) -> None:
    config.save_pretrained(tmp_path)
    found = find_architecture(str(tmp_path))
    assert found is not None
    assert found.parameters == weights_of(config)


@pytest.mark.parametrize(
    "config",
    [
        DeepseekV3Config(n_routed_experts=8, num_experts_per_tok=2),
        Glm4MoeConfig(n_routed_experts=8, num_experts_per_tok=2),
        Qwen2MoeConfig(**SHAPE, **MOE, shared_expert_intermediate_size=64),
        Qwen3MoeConfig(**SHAPE, **MOE, decoder_sparse_step=2),
        Qwen3MoeConfig(**SHAPE, **MOE, mlp_only_layers=[0]),
        Qwen3NextConfig(**SHAPE, **MOE),
        Llama4TextConfig(num_local_experts=4),
        FalconH1Config(),
    ],
    ids=lambda config: config.model_type,
)
def test_layers_that_are_not_counted_have_no_figures(config: Any, tmp_path: Path) -> None:
    config.save_pretrained(tmp_path)
    assert find_architecture(str(tmp_path)) is None


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


def naive_step(
    model: Architecture, gpu: Gpu, contexts: "list[int]", *, tensor_parallel: int = 1
) -> float:
    """Row by row: what is read, what is computed, and what every step and row cost besides."""
    rows = len(contexts)
    used = model.experts * (
        1 - (1 - model.experts_active / model.experts) ** rows if model.experts else 0
    )
    read = 2.0 * (model.shared_parameters + model.layers * used * model.expert_parameters)
    done = 0.0
    for context in contexts:
        read += context * model.layers * model.kv_heads * model.head_dim * 4
        done += 2 * model.multiplied_parameters
        done += 2 * model.layers * model.heads * model.head_dim * context * 2
    seconds = 2.5e-3 + rows * 35e-6 + (2 * model.layers * 20e-6 if tensor_parallel > 1 else 0)
    seconds += read / (gpu.bandwidth * 0.9 * tensor_parallel)
    return seconds + done / (gpu.flops * 0.5 * tensor_parallel)


def naive_decode(model: Architecture, lengths: "list[int]", *, places: int, prompt: int) -> float:
    """A queue of rollouts of so many tokens; one that ends leaves its place to the next."""
    waiting, running, seconds = list(lengths), {}, 0.0
    while waiting or running:
        while waiting and len(running) < places:
            running[len(waiting)] = [0, waiting.pop()]
        contexts = [prompt + done for done, _ in running.values()]
        seconds += naive_step(model, H100, contexts, tensor_parallel=2)
        for place in list(running):
            running[place][0] += 1
            if running[place][0] >= running[place][1]:
                del running[place]
    return seconds


@pytest.mark.parametrize("model", [SMALL, MIXTURE], ids=["dense", "mixture"])
@pytest.mark.parametrize(("rows", "context"), [(1, 1), (7, 200), (300, 3000), (5000, 9000)])
def test_a_decode_step_is_its_rows_one_by_one(model: Architecture, rows: int, context: int) -> None:
    for parallel in (1, 2):
        expected = naive_step(model, H100, [context] * rows, tensor_parallel=parallel)
        places = {"rows": rows, "context": context, "tensor_parallel": parallel}
        assert step_seconds(model, H100, **places) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("model", [SMALL, MIXTURE], ids=["dense", "mixture"])
@pytest.mark.parametrize(("mean", "places"), [(100, 64), (250, 64), (250, 16), (380, 16)])
def test_decoding_is_a_queue_of_rollouts_run_token_by_token(
    model: Architecture, mean: int, places: int
) -> None:
    cap, rows, prompt = 400, 64, 50
    # Rows at even shares of the lengths' distribution, in a random order; the last started is one
    # that goes to the cap.
    shares = (np.arange(rows) + 0.5) / rows
    lengths = np.ceil(cap * (1 - shares ** (1 / (cap / mean - 1))))
    queue = [cap, *np.random.default_rng(0).permutation(lengths)[1:].astype(int).tolist()]
    found = decode_seconds(
        model,
        H100,
        Lengths(mean, cap),
        rows=rows,
        in_flight=places,
        prompt_tokens=prompt,
        tensor_parallel=2,
    )
    assert found == pytest.approx(naive_decode(model, queue, places=places, prompt=prompt), rel=0.1)


def test_rollouts_of_one_length_are_decoded_exactly() -> None:
    expected = naive_decode(SMALL, [300] * 20, places=20, prompt=50)
    places = {"rows": 20, "in_flight": 20, "prompt_tokens": 50, "tensor_parallel": 2}
    # Contexts are counted half a token on.
    found = decode_seconds(SMALL, H100, Lengths(300, 300), **places)
    assert found == pytest.approx(expected, rel=1e-4)


def test_a_cap_of_any_size_is_summed_in_stretches() -> None:
    places = {"rows": 64, "in_flight": 64, "prompt_tokens": 50}
    cap, mean = 20_000, 3000
    found = decode_seconds(SMALL, H100, Lengths(mean, cap), **places)
    token_by_token = sum(
        step_seconds(
            SMALL, H100, rows=max(1.0, 64 * (1 - t / cap) ** (cap / mean - 1)), context=50 + t
        )
        for t in (done + 0.5 for done in range(cap))
    )
    assert found == pytest.approx(token_by_token, rel=1e-5)
    assert decode_seconds(SMALL, H100, Lengths(mean, 10**12), **places) > 10**12 * 2.5e-3


def test_lengths_by_hand() -> None:
    # Mean 1,000 of 4,000: (1 - t / 4000)^3. After 1,000 tokens 0.75^3, after 2,000 an eighth.
    # Mean square 2 x 1e6 x 4000 / 5000.
    lengths = Lengths(1000, 4000)
    running = lengths.running(np.array([0.0, 1000.0, 2000.0]))
    assert running.tolist() == pytest.approx([1, 0.421875, 0.125])
    assert lengths.mean_square == pytest.approx(1.6e6)
    assert lengths.mean_age == pytest.approx(800)
    assert Lengths(4000, 4000).running(np.array([0.0, 3999.5])).tolist() == [1, 1]


@given(st.integers(50, 5000), st.integers(1, 60))
def test_lengths_have_the_mean_and_the_mean_square_that_they_say(mean: int, longer: int) -> None:
    lengths = Lengths(mean, mean + mean * longer // 10)
    tokens_T = np.arange(lengths.cap) + 0.5
    running_T = lengths.running(tokens_T)
    assert running_T.sum() == pytest.approx(mean, rel=0.02)
    assert 2 * (running_T * tokens_T).sum() == pytest.approx(lengths.mean_square, rel=0.02)


def test_a_decode_step_by_hand() -> None:
    # One row of 0.6B at context 1,000 on an H100: 2 x 596,049,920 bytes of weights + 1,000 x
    # 114,688 of cache = 1,306,787,840 bytes at 0.9 x 3.35e12 bytes/s = 0.433429 ms; 2 x 596,049,920
    # + 1,000 x 229,376 = 1,421,475,840 FLOPs at 0.5 x 989e12 = 0.002875 ms; 2.5 ms for the step
    # and 0.035 ms for the row. On two GPUs half of the first two, and 2 x 28 sums of 0.02 ms.
    places = {"rows": 1, "context": 1000}
    alone = step_seconds(SMALL, H100, **places)
    assert alone == pytest.approx(0.436304e-3 + 2.535e-3, rel=1e-5)
    shared = step_seconds(SMALL, H100, **places, tensor_parallel=2)
    assert shared == pytest.approx(0.218152e-3 + 2.535e-3 + 1.12e-3, rel=1e-5)


def test_a_pass_of_a_mixture_by_hand() -> None:
    # 1,000 tokens of 30B-A3B: 2 x 3.04190e9 x 1,000 + 786,432 x 500,500 = 6.47741e12 FLOPs at
    # 0.41 x 989e12 = 15.974 ms; 1,000 x 48 layers x 8 experts x 0.12 us = 46.08 ms.
    assert pass_seconds(MIXTURE, H100, tokens=1000, squares=1e6) == pytest.approx(
        15.974e-3 + 46.08e-3, rel=1e-3
    )
    dense = pass_seconds(SMALL, H100, tokens=1000, squares=1e6)
    flops = forward_flops(SMALL, tokens=1000, squares=1e6)
    assert dense == pytest.approx(flops / 0.41 / 989e12)


def test_a_handover_by_hand() -> None:
    # 9.5 s, and 2 x 596,049,920 bytes at 10 GB/s.
    assert handover_seconds(SMALL) == pytest.approx(9.5 + 0.11921)


def test_few_rows_read_few_experts_and_many_rows_all() -> None:
    assert experts_read(MIXTURE, 1) == pytest.approx(MIXTURE.active_parameters)
    assert experts_read(MIXTURE, 1000) == pytest.approx(MIXTURE.parameters)
    assert experts_read(SMALL, 5) == SMALL.parameters


def test_training_flops_by_hand() -> None:
    # 0.6B, prompt 125 + 8,192 = 8,317 tokens: 2 x 596,049,920 x 8,317 = 9.91469e12, and attention
    # 4 x 28 x 16 x 128 = 229,376 a token and earlier token: x 8,317 x 8,318 / 2 = 7.93421e12,
    # together 1.78489e13 a pass. Passes: forward, backward two, recomputed one, reference one,
    # old policy one: 6. Rollouts: 3,072. 6 x 3,072 x 1.78489e13 = 3.28991e17.
    assert training_flops(recipe(), SMALL, mean_tokens=8192) == pytest.approx(3.28991e17, rel=1e-4)
    assert training_flops(
        recipe("qwen3-0.6b", "model.gradient_checkpointing=false"), SMALL, mean_tokens=8192
    ) == pytest.approx(5 / 6 * 3.28991e17, rel=1e-4)


def test_a_reference_that_only_reports_is_priced_like_one_in_the_loss() -> None:
    report, none = "loss.kl_coef=0", 'loss.kl="none"'
    assert price(1, report).training_flops == price(1).training_flops
    assert price(1, report).memory.state == price(1).memory.state
    # Five passes of six, and 18 bytes a weight.
    assert price(1, report, none).training_flops == pytest.approx(5 / 6 * price(1).training_flops)
    assert price(1, report, none).memory.state == 18 * SMALL.parameters


@pytest.mark.parametrize(
    ("cap", "staleness", "ours", "others"),
    [(None, 1, 5, 5), (None, 2, 5, 6), (2.0, 1, 5, 6), (2.0, 2, 6, 6)],
)
def test_our_own_loop_scores_the_old_policy_only_for_several_corrected_updates(
    cap: float | None, staleness: int, ours: int, others: int
) -> None:
    one_pass = training_flops(recipe(), SMALL, mean_tokens=8192) / 6
    settings = recipe("qwen3-0.6b", f"learner.staleness={staleness}")
    loss = settings.loss.model_copy(update={"importance_cap": cap})
    settings = settings.model_copy(update={"loss": loss})
    for local, passes in ((True, ours), (False, others)):
        found = price_of(settings, SMALL, H100, Setup(1, local=local))
        assert found.training_flops == pytest.approx(passes * one_pass)


def test_twice_the_tokens_are_twice_the_flops_and_more_if_they_are_longer() -> None:
    once, twice = price(), price(8, "sampling.prompts_per_step=256")
    assert twice.completion_tokens == 2 * once.completion_tokens
    assert twice.training_flops == pytest.approx(2 * once.training_flops)
    short = training_flops(recipe(), SMALL, mean_tokens=2000)
    assert training_flops(recipe(), SMALL, mean_tokens=4000) > 2 * short


def test_more_gpus_take_less_time_for_the_same_flops() -> None:
    one, eight = price(1), price(8)
    assert eight.training_flops == one.training_flops
    assert eight.learning_s == pytest.approx(one.learning_s / 8)
    assert eight.sampling_s < one.sampling_s
    assert price(gpu=H200).sampling_s < eight.sampling_s


def test_hours_are_seconds_times_gpus() -> None:
    found = price(8)
    hours = 8 * (found.sampling_s + found.learning_s + found.handover_s) / 3600
    assert found.step_gpu_hours == pytest.approx(hours)


def test_learner_memory_by_hand_and_over_shards() -> None:
    # A weight: 18 bytes, and 4 of the reference: 22 x 596,049,920 = 13.1131 GB, an eighth
    # 1.6391 GB. A row of 8,317 tokens: logits 10 x 151,936 bytes a token; activations,
    # checkpointed, 2 x (28 x 1024 + 4 x 1024 + 2 x 24 x 128 + 3 x 3072) = 96,256 bytes a token:
    # 13.4371 GB.
    alone, shared = price(1).memory, price(8).memory
    assert alone.state == pytest.approx(13.1131e9, rel=1e-4)
    assert shared.state == pytest.approx(alone.state / 8)
    assert alone.working == shared.working == pytest.approx(13.4371e9, rel=1e-4)
    assert price_of(recipe(), SMALL, H100, Setup(8, sharded=False)).memory.state == alone.state


def test_a_mixture_takes_memory_by_all_its_weights_and_learns_by_the_active_ones() -> None:
    settings = recipe("qwen3-30b-a3b-thinking")
    memory = memory_of(settings, MIXTURE, H200, Setup(64), mean_tokens=4096)
    assert memory.state == 22 * MIXTURE.parameters / 64
    assert memory.weights == 2 * MIXTURE.parameters
    flops = training_flops(settings, MIXTURE, mean_tokens=4096)
    tokens = 768 * (125 + 4096)
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
    # 0.5 x 80 GB - 1.192 GB of weights = 38.808 GB; a row of 8,317 tokens 0.95386 GB: 40.
    setup = Setup(1, sampler_share=0.5)
    assert rows_that_fit(SMALL, H100, setup, state=13e9, tokens=8317) == 40
    assert memory_of(recipe(), SMALL, H100, setup, mean_tokens=8192).in_flight == 40
    limited = memory_of(recipe(), SMALL, H100, Setup(1, rows=32), mean_tokens=8192)
    assert (limited.in_flight, limited.rows) == (32, 3072)


def test_the_longest_rollout_goes_on_alone_to_the_cap() -> None:
    # Ten rows of a mean of 10 tokens are down to less than one long before 1,000.
    places = {"rows": 10, "in_flight": 10, "mean_tokens": 10}
    near = sampling_seconds(SMALL, H100, **places, cap_tokens=1000)
    far = sampling_seconds(SMALL, H100, **places, cap_tokens=3000)
    read = (2 * SMALL.parameters + 2125 * SMALL.cache_bytes) / 3.015e12
    assert far - near == pytest.approx(2000 * (2.535e-3 + read), rel=0.01)


def test_samplers_of_their_own_run_beside_the_learner() -> None:
    in_turn = price_of(recipe(), SMALL, H100, Setup(8, handover=True), mean_tokens=4000)
    beside = price_of(
        recipe(), SMALL, H100, Setup(8, handover=True, sampling_gpus=8), mean_tokens=4000
    )
    assert in_turn.step_s == in_turn.sampling_s + in_turn.learning_s + in_turn.handover_s
    assert beside.step_s == max(beside.sampling_s, beside.learning_s)
    assert (beside.gpus, beside.learning_s) == (16, in_turn.learning_s)
    assert beside.step_gpu_hours == pytest.approx(16 * beside.step_s / 3600)
    # Nothing of the learner lies on a sampler's GPU.
    assert beside.memory.sampling == beside.memory.weights + beside.memory.cache


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
        ("{use_vllm = true}", Setup(8, sharded=False, sampler_share=0.3, handover=True)),
        (
            "{use_vllm = true, vllm_tensor_parallel_size = 2, vllm_gpu_memory_utilization = 0.6}",
            Setup(8, sharded=False, tensor_parallel=2, sampler_share=0.6, handover=True),
        ),
        (
            '{use_vllm = true, vllm_mode = "server", deepspeed = "zero3.json"}',
            Setup(8, handover=True),
        ),
        (
            '{use_vllm = true, vllm_tensor_parallel_size = "two", fsdp = true}',
            Setup(8, True, 1, None, 0.3, handover=True),
        ),
    ],
)
def test_a_setup_is_read_from_trl_s_settings(settings: str, expected: Setup) -> None:
    assert setup_of(recipe("qwen3-0.6b", f"trl={settings}"), processes=8) == expected
