"""How long arithmetic and memory traffic take on a GPU, with what published measurements add.

Nothing here was measured by us: each constant names the published figures that it was set on, and
docs/scale.md holds the sums against published step times that it was not set on.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from tersely.flows.price.architecture import Architecture
from tersely.flows.price.lengths import Lengths


class Gpu(NamedTuple):
    """Peaks of one GPU by its data sheet: dense bfloat16 FLOP/s, bytes/s, bytes."""

    name: str
    flops: float
    bandwidth: float
    memory_bytes: float


H100 = Gpu("H100 SXM", 989e12, 3.35e12, 80e9)
H200 = Gpu("H200 SXM", 989e12, 4.8e12, 141e9)

# Of peak FLOP/s in forward and backward passes: the mean of 0.39 and 0.41 (training, log-probs) of
# Llama-3.1-8B on 8 H100 in NVIDIA's post on NeMo-RL 0.3, and of 0.41 and 0.41 in a user's rerun.
TRAINING_SHARE = 0.41
# A token's way to one expert of one layer and back, in one pass: to sort, to send and to start many
# small products. What Megatron-Bridge's pretraining page of its 25.11 container leaves on H100
# beside arithmetic at the share above: 0.115 us for Qwen3-30B-A3B, 0.119 us for Qwen3-235B-A22B.
# Pages of 2026 leave 0.05 us and 0.10 us.
ROUTING_S = 0.12e-6
# Of peak FLOP/s in a forward pass over prompts, and in a decode step: an assumption.
PREFILL_SHARE = DECODE_SHARE = 0.5
# The next four follow 69 median times between tokens that the ML.ENERGY Leaderboard lists for vLLM
# on H100: five models of 8B to 70B, 8 to 1,019 rows. Of peak bandwidth; any share from 0.86 to 0.95
# fits them alike:
BANDWIDTH_SHARE = 0.9
# of every decode step, whatever its size: between the 1.6 ms that fit the list best and the 3.3 ms
# that fit the sampling of that 8B in that post;
STEP_OVERHEAD_S = 2.5e-3
# of each row in it, to draw, to schedule and to hand out its token;
ROW_OVERHEAD_S = 35e-6
# and of each of a layer's two sums over the GPUs of a sampler that has several.
ALL_REDUCE_S = 20e-6
# What that post and that rerun report of a step beside sampling, log-probs and training: 8 to 15 s
# for 8B, 9 and 16 s for 32B and 30B-A3B, 17 to 40 s for 70B. The sampler's new weights are taken to
# come at 10 GB/s, by the refits of the two largest; 9.5 s is then the mean of what is left of nine.
HANDOVER_BANDWIDTH = 10e9
HANDOVER_S = 9.5
WEIGHT_BYTES = 2
# Stretches of tokens that the end of a step is summed over, longer the further on: any cap takes
# the same time.
MOST_CELLS = 4096

Amount = int | float | Float[np.ndarray, " T"]


def experts_read(model: Architecture, rows: Amount) -> Amount:
    """Weights that a decode step of ``rows`` tokens reads.

    Of E experts with k active a token, ``E (1 - (1 - k / E)^rows)`` are used by some row if the
    router spreads evenly, so a mixture is read like a small model by few rows, whole by many.
    """
    if not model.experts:
        return float(model.shared_parameters)
    used = model.experts * (1 - (1 - model.experts_active / model.experts) ** rows)
    return model.shared_parameters + model.layers * used * model.expert_parameters


def step_seconds(
    model: Architecture,
    gpu: Gpu,
    *,
    rows: Amount,
    context: Amount,
    tensor_parallel: int = 1,
) -> Amount:
    """One decode step of ``rows`` sequences, at a mean ``context`` of so many tokens.

    Traffic (the weights that are used once, and every row's keys and values) and arithmetic (two
    FLOPs a weight and row, and attention) are split over ``tensor_parallel`` GPUs; overheads are
    not.
    """
    read = experts_read(model, rows) * WEIGHT_BYTES + rows * context * model.cache_bytes
    flops = rows * (2 * model.multiplied_parameters + context * model.attention_flops)
    share = read / (gpu.bandwidth * BANDWIDTH_SHARE) + flops / (gpu.flops * DECODE_SHARE)
    told = 2 * model.layers * ALL_REDUCE_S if tensor_parallel > 1 else 0.0
    return share / tensor_parallel + STEP_OVERHEAD_S + rows * ROW_OVERHEAD_S + told


def decode_seconds(
    model: Architecture,
    gpu: Gpu,
    lengths: Lengths,
    *,
    rows: int,
    in_flight: int,
    prompt_tokens: int,
    tensor_parallel: int = 1,
) -> float:
    """``rows`` rollouts, ``in_flight`` of them side by side; a waiting one takes the place of one
    that ends.

    While some wait, ``(rows - in_flight) / in_flight`` mean lengths, all places are taken, by
    contexts of all ages. Then the rest end one after the other and the longest goes on alone to
    the cap: in a step of hundreds of rollouts one always does.
    """

    edges = np.append(0.0, np.geomspace(1, lengths.cap, MOST_CELLS).round())
    width_T = np.diff(np.unique(edges))
    position_T = np.cumsum(width_T) - width_T / 2
    left = step_seconds(
        model,
        gpu,
        rows=np.maximum(in_flight * lengths.running(position_T), 1.0),
        context=prompt_tokens + position_T,
        tensor_parallel=tensor_parallel,
    )
    full = step_seconds(
        model,
        gpu,
        rows=in_flight,
        context=prompt_tokens + lengths.mean_age,
        tensor_parallel=tensor_parallel,
    )
    waited = (rows - in_flight) / in_flight * lengths.mean
    return float(waited * full + np.sum(width_T * left))


def forward_flops(model: Architecture, *, tokens: int, squares: float) -> float:
    """One forward pass: ``2 P n + a (n^2 + n) / 2`` of n tokens, P the weights a token meets.

    Args:
        squares: n squared, or its mean over passes of different lengths.
    """
    return 2 * model.multiplied_parameters * tokens + model.attention_flops * (squares + tokens) / 2


def pass_seconds(model: Architecture, gpu: Gpu, *, tokens: int, squares: float) -> float:
    """One GPU's forward pass while learning: arithmetic, and every token's way to its experts."""
    routed = tokens * model.layers * model.experts_active
    flops = forward_flops(model, tokens=tokens, squares=squares)
    return flops / (gpu.flops * TRAINING_SHARE) + routed * ROUTING_S


def handover_seconds(model: Architecture) -> float:
    """From learning to sampling and back, where the sampler is an engine of its own."""
    return HANDOVER_S + model.parameters * WEIGHT_BYTES / HANDOVER_BANDWIDTH
