"""From a step's graded groups to advantages: what our own loop, TRL, verl and lint all call."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from tersely import rewards, targets
from tersely.algo import advantages, credit
from tersely.algo.advantages import MaskScope
from tersely.algo.aggregations import Aggregate, Aggregation
from tersely.algo.filters import GfpoRank, gfpo_keep
from tersely.algo.masks import VANILLA, Cells, treat
from tersely.algo.ragged import Ragged
from tersely.core.errors import GradingError
from tersely.core.stacks import stacks, whole
from tersely.core.types import Finish, Grade, Group, GroupView, Problem
from tersely.flows.recipe.recipe import Recipe
from tersely.tasks.grading.answer import has_thought, opened
from tersely.tasks.grading.parts import LengthParts, length_parts

UNGRADED_SHARE_BOUND = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Shaping:
    """How a recipe turns graded rollouts into advantages; see ``flows.recipe.sections``.

    Args:
        keep_best: rollouts of a group that the loss sees, the best by ``rank``; None: all.
        drop_silent: leave groups that are all right or all wrong out of the loss.
        target: the rule that sets the target lengths; None: there are none.
        credit: the rule that gives tokens advantages of their own; None: all have their rollout's.
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
    target: str | None = None
    target_parameters: Mapping[str, Any] = field(default_factory=dict)
    credit: str | None = None
    credit_parameters: Mapping[str, Any] = field(default_factory=dict)


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
        target=recipe.target.name if recipe.target else None,
        target_parameters=recipe.target.parameters if recipe.target else {},
        credit=recipe.credit.name if recipe.credit else None,
        credit_parameters=credit.check(recipe.credit.name, recipe.credit.parameters)
        if recipe.credit
        else {},
    )


class RolloutColumns(NamedTuple):
    """Graded rollouts as columns, group after group: all that views and records need of them.

    Args:
        problem: the problem's id.
        tokens: completion tokens, stop token included.
        text: the completion without its stop token.
        thinking_open: the prompt ended inside the thinking, so the text begins there.
        thinking_tokens, answer_tokens: as in an evaluation's record; None where not counted.
    """

    problem: Sequence[str]
    sample: Sequence[int]
    grade: Sequence[Grade]
    extracted: Sequence[str | None]
    tokens: Sequence[int]
    finish: Sequence[Finish]
    text: Sequence[str]
    thinking_open: Sequence[bool]
    thinking_tokens: Sequence[int | None]
    answer_tokens: Sequence[int | None]


class GradedView(NamedTuple):
    """Which rollouts of a group are graded, and what a reward may see of these."""

    graded_G: Bool[np.ndarray, " G"]
    view: GroupView


class ShapedStep(NamedTuple):
    """A step's rollouts as the loss uses them, group after group, and the target they were held to.

    Args:
        layout: the sizes of the groups.
        reward_N: NaN where a rollout is ungraded.
        keep_N: True where the loss sees the rollout.
        dropped_P: True where a group without signal is left out of the loss.
        token_advantages: each rollout's, see ``crediting``; None: all have ``advantage_N``.
    """

    target: targets.Target
    layout: Ragged
    reward_N: Float[np.ndarray, " N"]
    keep_N: Bool[np.ndarray, " N"]
    advantage_N: Float[np.ndarray, " N"]
    dropped_P: Bool[np.ndarray, " P"]
    token_advantages: tuple[np.ndarray, ...] | None = None

    @property
    def group_N(self) -> Int[np.ndarray, " N"]:
        """The number of each rollout's group."""
        return self.layout.spread(np.arange(len(self.dropped_P)))


def columns_of(
    group: Group, split_text: Callable[[Sequence[int]], Sequence[str]] | None = None
) -> RolloutColumns:
    """The group's rollouts as columns.

    Args:
        split_text: token ids to the text of each; without it no length is counted in parts.
    """
    rollouts, verdicts = group.rollouts, group.verdicts
    parts: list[LengthParts | None] = [None] * len(rollouts)
    if split_text is not None:
        parts = [
            length_parts(
                group.problem,
                split_text(rollout.completion_ids),
                verdict.grade,
                thinking_open=rollout.thinking_open,
            )
            for rollout, verdict in zip(rollouts, verdicts, strict=True)
        ]
    return RolloutColumns(
        problem=[group.problem.id] * len(rollouts),
        sample=[rollout.sample for rollout in rollouts],
        grade=[verdict.grade for verdict in verdicts],
        extracted=[verdict.extracted for verdict in verdicts],
        tokens=[rollout.tokens for rollout in rollouts],
        finish=[rollout.finish for rollout in rollouts],
        text=[rollout.text for rollout in rollouts],
        thinking_open=[rollout.thinking_open for rollout in rollouts],
        thinking_tokens=[part and part.thinking_tokens for part in parts],
        answer_tokens=[part and part.answer_tokens for part in parts],
    )


def joined(parts: Sequence[RolloutColumns]) -> RolloutColumns:
    """The rollouts of several groups, one group after the other."""
    return RolloutColumns(*(list(chain(*columns)) for columns in zip(*parts, strict=True)))


def graded_view(problem: Problem, columns: RolloutColumns, *, pay_unfinished: bool) -> GradedView:
    """What rewards and targets may see of one group: its graded rollouts only."""
    graded_G = np.array([grade is not Grade.UNGRADED for grade in columns.grade])
    texts = zip(columns.text, columns.thinking_open, strict=True)
    thought = [has_thought(opened(text, thinking_open=is_open)) for text, is_open in texts]
    view = GroupView(
        correct_G=np.array([grade is Grade.CORRECT for grade in columns.grade])[graded_G],
        tokens_G=np.array(columns.tokens)[graded_G],
        finished_G=np.array([finish is Finish.STOP for finish in columns.finish])[graded_G],
        formatted_G=np.array([grade is not Grade.UNPARSED for grade in columns.grade])[graded_G],
        reference_tokens=_or_nan(problem.reference_tokens),
        reference_accuracy=_or_nan(problem.reference_accuracy),
        thought_G=np.array(thought)[graded_G],
        thinking_G=_thinking(columns, graded_G),
        first_right_G=_first_right(columns, graded_G),
        pay_unfinished=pay_unfinished,
        effort=problem.effort or "",
        problem=problem.id,
    )
    return GradedView(graded_G, view)


def _thinking(
    columns: RolloutColumns, graded_N: Bool[np.ndarray, " N"]
) -> Int[np.ndarray, " G"] | None:
    counted = [tokens for tokens in columns.thinking_tokens if tokens is not None]
    return np.array(counted)[graded_N] if len(counted) == len(graded_N) else None


def _first_right(
    columns: RolloutColumns, graded_N: Bool[np.ndarray, " N"]
) -> Int[np.ndarray, " G"] | None:
    """Only right rollouts are looked at; where one of them has none, it was not looked for."""
    found = list(zip(columns.grade, columns.tokens, columns.answer_tokens, strict=True))
    if any(grade is Grade.CORRECT and answer is None for grade, _, answer in found):
        return None
    all_N = np.array([tokens if answer is None else answer for _, tokens, answer in found])
    return np.asarray(all_N[graded_N])


def shape_step(
    shaping: Shaping, graded_views: Sequence[GradedView], state: targets.TargetState
) -> ShapedStep:
    """Target, rewards, masks and advantages of a step's groups; ``target.state`` is for the next.

    Args:
        state: the target's, after the step before; empty at step 0.
    """
    views = [each.view for each in graded_views]
    if shaping.target is None:
        target = targets.Target(np.full(len(views), np.nan), state)
    else:
        target = targets.load(shaping.target)(state, views, **shaping.target_parameters)
    return shape(shaping, graded_views, target)


def shape(
    shaping: Shaping, graded_views: Sequence[GradedView], target: targets.Target
) -> ShapedStep:
    """``shape_step`` with a target of one's own; ungraded rollouts are masked and seen by neither
    reward nor advantage, and groups that are dropped have no part in the batch's figures."""
    step = whole([each.view for each in graded_views])._replace(
        target_tokens=target.tokens_P, weight=target.weight, cap_tokens=shaping.cap_tokens
    )
    layout = Ragged(np.array([len(each.graded_G) for each in graded_views], dtype=np.int64))
    graded_N = np.concatenate([each.graded_G for each in graded_views])
    reward_N, keep_N, right_N = np.full(len(graded_N), np.nan), graded_N.copy(), graded_N.copy()
    graded_P = layout.sums(graded_N).astype(np.int64)
    reward_N[graded_N], keep_N[graded_N], right_N[graded_N] = _pay(shaping, graded_P, step)
    right_P = layout.sums(right_N)
    dropped_P = shaping.drop_silent & ((right_P == 0) | (right_P == graded_P))
    used_N = layout.spread(~dropped_P)
    advantage_N = np.zeros(len(reward_N))
    if not dropped_P.all():
        advantage_N[used_N] = advantages.advantages_of(
            shaping.advantage,
            advantages.StepArrays(reward_N[used_N], keep_N[used_N], right_N[used_N]),
            Ragged(layout.sizes_P[~dropped_P]),
            mask_scope=shaping.mask_scope,
            **shaping.advantage_parameters,
        )
    return ShapedStep(target, layout, reward_N, keep_N & used_N, advantage_N, dropped_P)


def weigh(shaped: ShapedStep, tokens_N: Int[np.ndarray, " N"], aggregate: Aggregate) -> Aggregation:
    """Each rollout's weight in the step's loss, 0 where masked, and the loss's denominator."""
    keep_N, weight_N = shaped.keep_N, np.zeros(len(tokens_N))
    if not keep_N.any():
        return Aggregation(weight_N, 1)
    made = aggregate(tokens_N[keep_N], shaped.group_N[keep_N])
    weight_N[keep_N] = made.weight_B
    return Aggregation(weight_N, made.denominator)


def has_signal(view: GroupView) -> bool:
    """Whether a group has right and wrong rollouts, as the verifier says, not the reward."""
    return bool(view.right_G.any() and not view.right_G.all())


def _pay(
    shaping: Shaping, sizes_P: Int[np.ndarray, " P"], step: GroupView
) -> advantages.StepArrays:
    """The graded rollouts, of which a group has ``sizes_P``, as the advantage takes them."""
    reward, rollouts = rewards.load(shaping.reward), int(sizes_P.sum())
    paid = advantages.StepArrays(
        np.empty(rollouts), np.ones(rollouts, dtype=bool), np.empty(rollouts, dtype=bool)
    )
    for rows, g in stacks(sizes_P, step):
        if shaping.cells == VANILLA:
            paid.rewards_N[rows] = reward(g, **shaping.parameters)
        else:
            paid.rewards_N[rows], paid.keep_N[rows] = treat(g, shaping.cells)
        if shaping.keep_best is not None:
            paid.keep_N[rows] &= gfpo_keep(
                g, paid.rewards_N[rows], keep=shaping.keep_best, by=shaping.rank
            )
        paid.right_N[rows] = g.right_G
    return paid


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def check_graded(graded_views: Sequence[GradedView]) -> None:
    """Stops a run whose grader fails on too many answers; their rewards would mean nothing."""
    share = 1 - float(np.concatenate([each.graded_G for each in graded_views]).mean())
    if share > UNGRADED_SHARE_BOUND:
        raise GradingError(
            f"{share:.0%} of this step's answers could not be graded (bound "
            f"{UNGRADED_SHARE_BOUND:.0%}); check the problems' gold answers and grader"
        )
