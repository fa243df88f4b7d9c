"""``price_of``: what a recipe's step and run cost on so many GPUs of a kind."""

from itertools import chain
from math import nan
from typing import NamedTuple

from tersely.core.errors import ConfigError
from tersely.flows.price.architecture import Architecture
from tersely.flows.price.lengths import Lengths
from tersely.flows.price.memory import PROMPT_TOKENS, Memory, Setup, memory_of, rows_that_fit
from tersely.flows.price.roofline import (
    PREFILL_SHARE,
    Gpu,
    decode_seconds,
    forward_flops,
    handover_seconds,
    pass_seconds,
)
from tersely.flows.recipe.recipe import Recipe

MOST_GPUS = 1024
MACHINE_GPUS = 8
HOUR_S = 3600
# A weight in float32, beside the bfloat16 copy that is sampled from.
LOADED_BYTES = 4.0


class Price(NamedTuple):
    """Of one step, and of the run; seconds and hours are NaN where it does not fit.

    ``gpus``: all, of which ``sampling_gpus`` only sample. ``handover_s``: between sampling and
    learning. ``evaluation_s``: of one evaluation, on one GPU. ``gpus_needed``: the least that
    learn, if any, on which it fits, None if on none up to ``MOST_GPUS``.
    """

    gpu: Gpu
    gpus: int
    sampling_gpus: int
    steps: int
    rollouts: int
    completion_tokens: int
    training_flops: float
    sampling_s: float
    learning_s: float
    handover_s: float
    evaluation_s: float
    memory: Memory
    gpus_needed: int | None

    @property
    def fits(self) -> bool:
        """Whether it fits on the GPUs that are given."""
        return self.memory.fits(self.gpu)

    @property
    def step_s(self) -> float:
        """One step: its parts in turn, or the longer of two that run side by side."""
        if self.sampling_gpus:
            return max(self.sampling_s, self.learning_s)
        return self.sampling_s + self.learning_s + self.handover_s

    @property
    def step_gpu_hours(self) -> float:
        """One step on all GPUs."""
        return self.step_s * self.gpus / HOUR_S

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
    rollouts = recipe.sampling.prompts_per_step * recipe.sampling.samples_per_prompt
    return Price(
        gpu=gpu,
        gpus=setup.all_gpus,
        sampling_gpus=setup.sampling_gpus,
        steps=recipe.learner.steps,
        rollouts=rollouts,
        completion_tokens=rollouts * mean,
        training_flops=training_flops(recipe, model, mean_tokens=mean, local=setup.local),
        sampling_s=_step_sampling(model, gpu, setup, memory, mean=mean, cap=cap) if fits else nan,
        learning_s=_step_learning(recipe, model, gpu, setup, mean=mean) if fits else nan,
        handover_s=handover_seconds(model) if setup.handover else 0.0,
        evaluation_s=_evaluation(recipe, model, gpu, mean_tokens=mean_tokens),
        memory=memory,
        gpus_needed=_least_gpus(recipe, model, gpu, setup, mean_tokens=mean),
    )


def count_passes(recipe: Recipe, *, local: bool = False) -> int:
    """How often a step's tokens pass through the model; a backward pass is two.

    Forward: one; one more to recompute with gradient checkpointing; one of the reference model
    with a KL estimate; one of the old policy where the batch is used for several updates or the
    sampler's log-probs are corrected for, in our own loop (``local``) only where both are so.
    Backward: two, or one if the weights are frozen (LoRA).
    """
    loss = recipe.loss
    reasons = (recipe.learner.staleness > 1, loss.importance_cap is not None)
    forward = (
        1
        + recipe.model.gradient_checkpointing
        + (loss.kl != "none")
        + (all(reasons) if local else any(reasons))
    )
    return forward + (2 if recipe.model.lora_rank is None else 1)


class _Passes(NamedTuple):
    """How many of one rollout a step takes; a rollout's tokens, prompt and all, and the mean of
    their square."""

    number: int
    tokens: int
    squares: float


def _passes(recipe: Recipe, *, mean_tokens: int, local: bool) -> _Passes:
    rollouts = recipe.sampling.prompts_per_step * recipe.sampling.samples_per_prompt
    lengths = Lengths(mean_tokens, recipe.sampling.cap_tokens)
    return _Passes(
        number=count_passes(recipe, local=local) * rollouts,
        tokens=PROMPT_TOKENS + mean_tokens,
        squares=PROMPT_TOKENS * (PROMPT_TOKENS + 2 * mean_tokens) + lengths.mean_square,
    )


def training_flops(
    recipe: Recipe, model: Architecture, *, mean_tokens: int, local: bool = False
) -> float:
    """All passes of a step over all its tokens."""
    number, tokens, squares = _passes(recipe, mean_tokens=mean_tokens, local=local)
    return number * forward_flops(model, tokens=tokens, squares=squares)


def learning_seconds(
    recipe: Recipe, model: Architecture, gpu: Gpu, *, mean_tokens: int, local: bool = False
) -> float:
    """All passes of a step, in seconds of one GPU."""
    number, tokens, squares = _passes(recipe, mean_tokens=mean_tokens, local=local)
    return number * pass_seconds(model, gpu, tokens=tokens, squares=squares)


def _step_learning(
    recipe: Recipe, model: Architecture, gpu: Gpu, setup: Setup, *, mean: int
) -> float:
    seconds = learning_seconds(recipe, model, gpu, mean_tokens=mean, local=setup.local)
    return seconds / setup.gpus


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
    """One sampler's time: prompts, then decode steps of ``in_flight`` rows."""
    peak = gpu.flops * PREFILL_SHARE * tensor_parallel
    prompt = forward_flops(model, tokens=PROMPT_TOKENS, squares=float(PROMPT_TOKENS**2))
    return rows * prompt / peak + decode_seconds(
        model,
        gpu,
        Lengths(mean_tokens, cap_tokens),
        rows=rows,
        in_flight=in_flight,
        prompt_tokens=PROMPT_TOKENS,
        tensor_parallel=tensor_parallel,
    )


def _evaluation(recipe: Recipe, model: Architecture, gpu: Gpu, *, mean_tokens: int | None) -> float:
    """Seconds of one evaluation on one GPU, up to the largest budget; NaN if it does not fit."""
    top = max(recipe.evaluation.budgets)
    rows = recipe.test_samples
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
