"""What a recipe's updates minimise."""

from functools import partial

from tersely.algo import aggregations, losses
from tersely.algo.kl import kl_k1, kl_k2, kl_k3
from tersely.engines.learning.objective import Objective
from tersely.flows.recipe.recipe import Recipe


def objective_of(recipe: Recipe) -> Objective:
    """What the recipe's updates minimise."""
    section = recipe.loss
    bounds = {"clip_low": section.clip_low, "clip_high": section.clip_high}
    if section.dual_clip is not None:
        bounds["dual_clip"] = section.dual_clip
    return Objective(
        policy=partial(losses.load(section.name), **bounds),
        aggregate=aggregations.load(section.aggregation, cap_tokens=recipe.sampling.cap_tokens),
        kl={"none": kl_k3, "k1": kl_k1, "k2": kl_k2, "k3": kl_k3}[section.kl],
        kl_coef=section.kl_coef,
        entropy_coef=section.entropy_coef,
        importance_cap=section.importance_cap,
    )
