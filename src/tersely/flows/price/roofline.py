"""How long arithmetic and memory traffic take on a GPU: the slower of the two is the time.

The shares of peak below are assumptions. Nothing here was measured by us; docs/scale.md says what
they rest on and what a price leaves out.
"""

from math import floor
from typing import NamedTuple

from tersely.flows.price.architecture import Architecture


class Gpu(NamedTuple):
    """Peaks of one GPU by its data sheet: dense bfloat16 FLOP/s, bytes/s, bytes."""

    name: str
    flops: float
    bandwidth: float
    memory_bytes: float


H100 = Gpu("H100 SXM", 989e12, 3.35e12, 80e9)
H200 = Gpu("H200 SXM", 989e12, 4.8e12, 141e9)

# Of peak FLOP/s in forward and backward passes: 0.4 to 0.5 is what tuned pretraining reaches, and
# rows padded to the longest, of lengths that differ by five times, leave less.
TRAINING_SHARE = 0.3
# Of peak FLOP/s in a forward pass over prompts: large matrix products, no backward pass.
PREFILL_SHARE = 0.5
# Of peak FLOP/s in a decode step: thin matrix products and attention over a paged cache.
DECODE_SHARE = 0.5
# Of peak bandwidth in a decode step: kernels that only read reach 0.8 to 0.9, paged ones less.
BANDWIDTH_SHARE = 0.7
# Of every decode step whatever its size: scheduling, drawing tokens, starting kernels. Small models
# are bound by it.
STEP_OVERHEAD_S = 4e-3
WEIGHT_BYTES = 2


class TimeLine(NamedTuple):
    """``start + slope x t``."""

    start: float
    slope: float

    def total(self, first: int, last: int) -> float:
        """The sum over t = first to last."""
        count = last - first + 1
        return count * (self.start + self.slope * (first + last) / 2) if count > 0 else 0.0


def sum_of_larger(a: TimeLine, b: TimeLine, *, first: int, last: int) -> float:
    """``sum_t max(a(t), b(t))`` for t = first to last; two lines cross once at most."""
    if a.slope == b.slope:
        return max(a, b).total(first, last)
    cross = (b.start - a.start) / (a.slope - b.slope)
    middle = min(max(floor(cross), first - 1), last)
    flatter, steeper = sorted((a, b), key=lambda line: line.slope)
    return flatter.total(first, middle) + steeper.total(middle + 1, last)


def experts_read(model: Architecture, rows: int) -> float:
    """Weights that a decode step of ``rows`` tokens reads.

    Of E experts with k active a token, ``E (1 - (1 - k / E)^rows)`` are used by some row if the
    router spreads evenly, so a mixture is read like a small model by few rows, whole by many.
    """
    if not model.experts:
        return float(model.shared_parameters)
    used = model.experts * (1 - (1 - model.experts_active / model.experts) ** rows)
    return model.shared_parameters + model.layers * used * model.expert_parameters


def decode_lines(
    model: Architecture, gpu: Gpu, *, rows: int, tensor_parallel: int = 1
) -> tuple[TimeLine, TimeLine]:
    """Seconds of one decode step as lines over the context's tokens: traffic, and arithmetic.

    Traffic: the weights once, and every row's keys and values. Arithmetic: two FLOPs a weight and
    row, and attention. Both are split over ``tensor_parallel`` GPUs; what these tell each other
    is left out.
    """
    bandwidth = gpu.bandwidth * BANDWIDTH_SHARE * tensor_parallel
    flops = gpu.flops * DECODE_SHARE * tensor_parallel
    return (
        TimeLine(
            experts_read(model, rows) * WEIGHT_BYTES / bandwidth,
            rows * model.cache_bytes / bandwidth,
        ),
        TimeLine(
            rows * 2 * model.multiplied_parameters / flops, rows * model.attention_flops / flops
        ),
    )


def decode_seconds(
    model: Architecture,
    gpu: Gpu,
    *,
    rows: int,
    first: int,
    last: int,
    tensor_parallel: int = 1,
) -> float:
    """``rows`` sequences side by side, while their context grows from ``first`` to ``last``."""
    if rows < 1 or last < first:
        return 0.0
    traffic, arithmetic = decode_lines(model, gpu, rows=rows, tensor_parallel=tensor_parallel)
    busy = sum_of_larger(traffic, arithmetic, first=first, last=last)
    return busy + (last - first + 1) * STEP_OVERHEAD_S


def forward_flops(model: Architecture, tokens: int) -> float:
    """One forward pass over n tokens: ``2 P n + a n (n + 1) / 2``, P the weights a token meets."""
    return (
        2 * model.multiplied_parameters * tokens + model.attention_flops * tokens * (tokens + 1) / 2
    )
