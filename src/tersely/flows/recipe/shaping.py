"""From graded groups to advantages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from tersely import rewards, targets
from tersely.algo import batches
from tersely.algo.advantages import MaskScope
from tersely.algo.filters import GfpoRank, gfpo_keep
from tersely.algo.masks import VANILLA, Cells, treat
from tersely.algo.ragged import Ragged
from tersely.core.errors import GradingError
from tersely.core.types import (
    Finish,
    Grade,
    Group,
    GroupView,
    RewardBreakdown,
)
from tersely.flows.recipe.recipe import Recipe
from tersely.tasks.grading.answer import has_thought, opened

UNGRADED_SHARE_BOUND = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Shaping:
    """How a recipe turns graded rollouts into advantages; see ``flows.sections``.

    Args:
        keep_best: rollouts of a group that the loss sees, the best by ``rank``; None: all.
        drop_silent: leave groups that are all right or all wrong out of the loss.
    """

    reward: str
    parameters: Mapping[str, object]
    cap_tokens: float = float("nan")
    cells: Cells = VANILLA
    pay_unfinished: bool = False
    mask_scope: MaskScope = MaskScope.EVERYWHERE
    keep_best: int | None = None
    rank: GfpoRank = GfpoRank.SHORTEST
    drop_silent: bool = False
    advantage: str = "group_normalised"
    advantage_parameters: Mapping[str, object] = field(default_factory=dict)


def shaping_of(recipe: Recipe) -> Shaping:
    """The shaping that a recipe asks for."""
    return Shaping(
        reward=recipe.reward.name,
        parameters=rewards.typed(recipe.reward.name, recipe.reward.parameters),
        cap_tokens=float(recipe.sampling.cap_tokens),
        cells=recipe.treatment.table,
        pay_unfinished=recipe.treatment.unfinished == "graded",
        mask_scope=recipe.treatment.mask_scope,
        keep_best=recipe.filter.keep if recipe.filter else None,
        rank=recipe.filter.by if recipe.filter else GfpoRank.SHORTEST,
        drop_silent=recipe.sampling.without_signal != "keep",
        advantage=recipe.advantage.name,
        advantage_parameters=recipe.advantage.parameters,
    )


class GradedView(NamedTuple):
    """Which rollouts of a group are graded, and what a reward may see of these."""

    graded_G: Bool[np.ndarray, " G"]
    view: GroupView


class Judged(NamedTuple):
    """A group's reward and advantages; a dropped one has no part in the loss."""

    reward: RewardBreakdown
    advantage_G: Float[np.ndarray, " G"]
    dropped: bool = False


class Shaped(NamedTuple):
    """A group with its reward and advantages; a dropped one has no part in the loss."""

    group: Group
    reward: RewardBreakdown
    advantage_G: Float[np.ndarray, " G"]
    dropped: bool = False


def graded_mask(group: Group) -> Bool[np.ndarray, " G"]:
    """Which rollouts of the group have a grade."""
    return np.array([verdict.grade is not Grade.UNGRADED for verdict in group.verdicts])


def view(
    group: Group,
    *,
    target_tokens: float = float("nan"),
    weight: float = float("nan"),
    cap_tokens: float = float("nan"),
    pay_unfinished: bool = False,
) -> GroupView:
    """What a reward or target may see of the group: its graded rollouts only."""
    graded_G = graded_mask(group)
    grades = [verdict.grade for verdict in group.verdicts]
    problem = group.problem
    return GroupView(
        correct_G=np.array([grade is Grade.CORRECT for grade in grades])[graded_G],
        tokens_G=np.array([rollout.tokens for rollout in group.rollouts])[graded_G],
        finished_G=np.array([r.finish is Finish.STOP for r in group.rollouts])[graded_G],
        formatted_G=np.array([grade is not Grade.UNPARSED for grade in grades])[graded_G],
        target_tokens=target_tokens,
        cap_tokens=cap_tokens,
        weight=weight,
        reference_tokens=_or_nan(problem.reference_tokens),
        reference_accuracy=_or_nan(problem.reference_accuracy),
        thought_G=np.array(
            [has_thought(opened(r.text, thinking_open=r.thinking_open)) for r in group.rollouts]
        )[graded_G],
        pay_unfinished=pay_unfinished,
        problem=problem.id,
    )


def aim(recipe: Recipe, views: Sequence[GroupView], state: targets.TargetState) -> targets.Target:
    """The target lengths that the recipe sets for a step's groups, and the state after it."""
    if recipe.target is None:
        return targets.Target(np.full(len(views), np.nan), state)
    return targets.load(recipe.target.name)(state, views, **recipe.target.parameters)


def shape(
    groups: Sequence[Group],
    shaping: Shaping,
    *,
    tokens_P: Float[np.ndarray, " P"],
    weight: float = float("nan"),
) -> list[Shaped]:
    """Rewards and advantages of a step's groups; ungraded rollouts are masked and seen by neither.

    Args:
        tokens_P: each group's target length; NaN where the recipe sets none.
        weight: the price of length, from targets that move one.
    """
    seen = [
        GradedView(graded_mask(group), view(group, pay_unfinished=shaping.pay_unfinished))
        for group in groups
    ]
    judged = judge(seen, shaping, tokens_P=tokens_P, weight=weight)
    return [Shaped(group, *each) for group, each in zip(groups, judged, strict=True)]


def judge(
    seen: Sequence[GradedView],
    shaping: Shaping,
    *,
    tokens_P: Float[np.ndarray, " P"],
    weight: float = float("nan"),
) -> list[Judged]:
    """``shape`` for what rewards may see of the groups, where there are no rollouts to hold."""
    reward = rewards.load(shaping.reward)
    paid = [
        _pay(each, shaping, reward, target_tokens=float(tokens), weight=weight)
        for each, tokens in zip(seen, tokens_P, strict=True)
    ]
    used = [
        not shaping.drop_silent or has_signal(np.ones_like(right_G), right_G)
        for right_G in (each.view.right_G for each in seen)
    ]
    made = iter(_advantages(paid, [_spread_right(each) for each in seen], used, shaping))
    return [
        Judged(pay, next(made))
        if use
        else Judged(_masked(pay), np.zeros(len(pay.keep_G)), dropped=True)
        for pay, use in zip(paid, used, strict=True)
    ]


def _spread_right(seen: GradedView) -> Bool[np.ndarray, " G"]:
    right_G = seen.graded_G.copy()
    right_G[seen.graded_G] = seen.view.right_G
    return right_G


def has_signal(graded_G: Bool[np.ndarray, " G"], right_G: Bool[np.ndarray, " G"]) -> bool:
    """Whether a group has right and wrong rollouts, as the verifier says, not the reward."""
    return bool(right_G.any() and (graded_G & ~right_G).any())


def _masked(pay: RewardBreakdown) -> RewardBreakdown:
    return pay._replace(keep_G=np.zeros_like(pay.keep_G))


def _advantages(
    paid: Sequence[RewardBreakdown],
    right: Sequence[np.ndarray],  # one axis a group, of its own length
    used: Sequence[bool],
    shaping: Shaping,
) -> list[np.ndarray]:
    """One array for each group that is used; the others have no part in the batch's figures."""
    if not any(used):
        return []
    kept = [(p.total_G, p.keep_G, r) for p, r, use in zip(paid, right, used, strict=True) if use]
    layout = Ragged(np.array([len(total_G) for total_G, _, _ in kept], dtype=np.int64))
    step = batches.StepArrays(*map(np.concatenate, zip(*kept, strict=True)))
    adv_N = batches.advantages_of(
        shaping.advantage,
        step,
        layout,
        mask_scope=shaping.mask_scope,
        **shaping.advantage_parameters,
    )
    return layout.split(adv_N)


def _pay(
    seen: GradedView,
    shaping: Shaping,
    reward: rewards.Reward,
    *,
    target_tokens: float,
    weight: float,
) -> RewardBreakdown:
    """One group's reward; an ungraded rollout's is NaN under a mask, so that none counts it."""
    graded_G = seen.graded_G
    keep_G, total_G = graded_G.copy(), np.full(len(graded_G), np.nan)
    if graded_G.any():
        g = seen.view._replace(
            target_tokens=target_tokens, weight=weight, cap_tokens=shaping.cap_tokens
        )
        if shaping.cells == VANILLA:
            total_G[graded_G] = reward(g, **shaping.parameters)
        else:
            treated = treat(g, shaping.cells)
            total_G[graded_G], keep_G[graded_G] = treated.reward_G, treated.keep_G
        if shaping.keep_best is not None:
            best_G = gfpo_keep(g, total_G[graded_G], keep=shaping.keep_best, by=shaping.rank)
            keep_G[graded_G] &= best_G
    return RewardBreakdown(terms={shaping.reward: total_G}, total_G=total_G, keep_G=keep_G)


def right_mask(group: Group, *, pay_unfinished: bool = False) -> Bool[np.ndarray, " G"]:
    """Which rollouts of a group are right, ungraded ones being none of them."""
    return np.array(
        [
            verdict.grade is Grade.CORRECT and (pay_unfinished or rollout.finish is Finish.STOP)
            for rollout, verdict in zip(group.rollouts, group.verdicts, strict=True)
        ]
    )


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def check_graded(shaped: Sequence[Shaped]) -> None:
    """Stops a run whose grader fails on too many answers; their rewards would mean nothing."""
    share = 1 - float(np.concatenate([graded_mask(s.group) for s in shaped]).mean())
    if share > UNGRADED_SHARE_BOUND:
        raise GradingError(
            f"{share:.0%} of this step's answers could not be graded (bound "
            f"{UNGRADED_SHARE_BOUND:.0%}); check the problems' gold answers and grader"
        )
