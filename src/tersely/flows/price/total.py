"""``price_of``: what a recipe's step and run cost on so many GPUs of a kind."""

from itertools import chain
from math import nan
from typing import NamedTuple

from tersely.core.errors import ConfigError
from tersely.flows.price.architecture import Architecture
from tersely.flows.price.memory import PROMPT_TOKENS, Memory, Setup, memory_of, rows_that_fit
from tersely.flows.price.roofline import (
    PREFILL_SHARE,
    TRAINING_SHARE,
    Gpu,
    decode_seconds,
    forward_flops,
)
from tersely.flows.recipe.recipe import Recipe

MOST_GPUS = 1024
MACHINE_GPUS = 8
HOUR_S = 3600
# A weight in float32, beside the bfloat16 copy that is sampled from.
LOADED_BYTES = 4.0


class Price(NamedTuple):
    """Of one step, and of the run; seconds and hours are NaN where it does not fit.

    ``gpus_needed``: the least that it fits on, None if on none up to ``MOST_GPUS``.
    ``evaluation_s``: of one evaluation, on one GPU.
    """

    gpu: Gpu
    gpus: int
    steps: int
    rollouts: int
    completion_tokens: int
    training_flops: float
    sampling_s: float
    learning_s: float
    evaluation_s: float
    memory: Memory
    gpus_needed: int | None

    @property
    def fits(self) -> bool:
        """Whether it fits on the GPUs that are given."""
        return self.memory.fits(self.gpu)

    @property
    def step_gpu_hours(self) -> float:
        """Sampling and learning of one step."""
        return (self.sampling_s + self.learning_s) * self.gpus / HOUR_S

    @property
    def evaluation_gpu_hours(self) -> float:
        """One evaluation; the other GPUs wait, and are paid for."""
        return self.evaluation_s * self.gpus / HOUR_S


def price_of(
    recipe: Recipe,
    model: Architecture,
    gpu: Gpu,
    setup: Setup,
    *,
    mean_tokens: int | None = None,
) -> Price:
    """The price by the formulas of docs/scale.md.

    Args:
        mean_tokens: a rollout's mean length; None: the cap, which bounds the price from above.
    Raises:
        ConfigError: ``mean_tokens`` is beyond the cap.
    """
    cap = recipe.sampling.cap_tokens
    mean = cap if mean_tokens is None else mean_tokens
    if not 1 <= mean <= cap:
        raise ConfigError(
            f"--mean-tokens {mean} is not within 1 and sampling.cap_tokens = {cap} (L_R); give the "
            "mean length of a rollout in tokens"
        )
    memory = memory_of(recipe, model, gpu, setup, mean_tokens=mean)
    fits = memory.fits(gpu)
    flops = training_flops(recipe, model, mean_tokens=mean)
    rollouts = recipe.sampling.prompts_per_step * recipe.sampling.samples_per_prompt
    return Price(
        gpu=gpu,
        gpus=setup.gpus,
        steps=recipe.learner.steps,
        rollouts=rollouts,
        completion_tokens=rollouts * mean,
        training_flops=flops,
        sampling_s=_step_sampling(model, gpu, setup, memory, mean=mean, cap=cap) if fits else nan,
        learning_s=flops / (setup.gpus * gpu.flops * TRAINING_SHARE) if fits else nan,
        evaluation_s=_evaluation(recipe, model, gpu, mean_tokens=mean_tokens),
        memory=memory,
        gpus_needed=_least_gpus(recipe, model, gpu, setup, mean_tokens=mean),
    )


def training_flops(recipe: Recipe, model: Architecture, *, mean_tokens: int) -> float:
    """A step's passes over all its tokens: forward passes, and backward ones that cost two.

    Forward: one; one more to recompute with gradient checkpointing; one of the reference model
    with a KL term; one of the old policy where the batch is used for several updates or the
    sampler's log-probs are corrected for. Backward: two, or one if the weights are frozen (LoRA).
    """
    loss, learner = recipe.loss, recipe.learner
    forward = (
        1
        + recipe.model.gradient_checkpointing
        + (loss.kl_coef > 0)
        + (learner.staleness > 1 or loss.importance_cap is not None)
    )
    backward = 2 if recipe.model.lora_rank is None else 1
    rollouts = recipe.sampling.prompts_per_step * recipe.sampling.samples_per_prompt
    return (forward + backward) * rollouts * forward_flops(model, PROMPT_TOKENS + mean_tokens)


def _step_sampling(
    model: Architecture, gpu: Gpu, setup: Setup, memory: Memory, *, mean: int, cap: int
) -> float:
    return sampling_seconds(
        model,
        gpu,
        rows=memory.rows,
        in_flight=memory.in_flight,
        mean_tokens=mean,
        cap_tokens=cap,
        tensor_parallel=setup.tensor_parallel,
    )


def sampling_seconds(
    model: Architecture,
    gpu: Gpu,
    *,
    rows: int,
    in_flight: int,
    mean_tokens: int,
    cap_tokens: int,
    tensor_parallel: int = 1,
) -> float:
    """One sampler's time: prompts, then decode steps of ``in_flight`` rows.

    ``rows / in_flight`` times over, which need not be whole: a waiting row takes the place of one
    that ends. All rows are taken to have the mean length, but for the longest, which goes on alone
    to the cap: in a step of hundreds of rollouts one always does.
    """
    peak = gpu.flops * PREFILL_SHARE * tensor_parallel
    seconds = rows * forward_flops(model, PROMPT_TOKENS) / peak

    def decode(side_by_side: int, first: int, last: int) -> float:
        return decode_seconds(
            model,
            gpu,
            rows=side_by_side,
            first=PROMPT_TOKENS + first,
            last=PROMPT_TOKENS + last,
            tensor_parallel=tensor_parallel,
        )

    seconds += rows / in_flight * decode(in_flight, 1, mean_tokens)
    return seconds + decode(1, mean_tokens + 1, cap_tokens)


def _evaluation(recipe: Recipe, model: Architecture, gpu: Gpu, *, mean_tokens: int | None) -> float:
    """Seconds of one evaluation on one GPU, up to the largest budget; NaN if it does not fit."""
    top = max(recipe.evaluation.budgets)
    rows = recipe.problems.test_limit * recipe.evaluation.samples
    loaded = LOADED_BYTES * model.parameters
    fitting = rows_that_fit(model, gpu, Setup(), state=loaded, tokens=PROMPT_TOKENS + top)
    if not fitting:
        return nan
    return sampling_seconds(
        model,
        gpu,
        rows=rows,
        in_flight=min(rows, fitting, recipe.sampling.rows),
        mean_tokens=min(top, mean_tokens or top),
        cap_tokens=top,
    )


def _least_gpus(
    recipe: Recipe, model: Architecture, gpu: Gpu, setup: Setup, *, mean_tokens: int
) -> int | None:
    """The least of 1, 2, 4 and whole machines of 8 that learner and sampler fit on."""
    counts = chain((1, 2, 4), range(MACHINE_GPUS, MOST_GPUS + 1, MACHINE_GPUS))
    for gpus in counts:
        changed = setup._replace(gpus=gpus)
        if memory_of(recipe, model, gpu, changed, mean_tokens=mean_tokens).fits(gpu):
            return gpus
    return None
