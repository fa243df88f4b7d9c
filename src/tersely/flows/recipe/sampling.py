"""What a recipe has sampled: the settings of its steps and evaluations, and their seeds."""

from dataclasses import replace

import numpy as np

from tersely.core.types import SamplingSpec
from tersely.flows.recipe.recipe import Recipe

# Kept apart so that training and evaluation never share random numbers.
EVAL_STREAM, TRAIN_STREAM, REFILL_STREAM = 1, 2, 3


def stream_seed(*parts: int) -> int:
    """A 32-bit seed for one purpose of a run."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint32)[0])


def training_spec(recipe: Recipe, step: int) -> SamplingSpec:
    """How the rollouts of a training step are sampled."""
    section = recipe.sampling
    return SamplingSpec(
        samples=section.samples_per_prompt,
        cap_tokens=section.cap_tokens,
        seed=stream_seed(recipe.seed, TRAIN_STREAM, step),
        temperature=section.temperature,
        top_p=section.top_p,
        top_k=section.top_k,
        policy_step=step,
    )


def evaluation_spec(recipe: Recipe, step: int) -> SamplingSpec:
    """How the policy is evaluated after so many steps: the same random numbers each time."""
    return replace(
        training_spec(recipe, step),
        samples=recipe.evaluation.samples,
        cap_tokens=max(recipe.evaluation.budgets),
        seed=stream_seed(recipe.seed, EVAL_STREAM),
    )
