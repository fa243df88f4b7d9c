"""Records as the groups of first steps, judged by the code that trains."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from tersely.algo import aggregations
from tersely.core.types import GroupView
from tersely.flows.lint.forecast import Pushed
from tersely.flows.lint.pool import LintRecords, prefix_right, without_answer
from tersely.flows.recipe.recipe import Recipe
from tersely.flows.recipe.shaping import GradedView, ShapedStep, shape_step, shaping_of, weigh
from tersely.metrics.records import UNKNOWN_TOKENS


class Cut(NamedTuple):
    """The samples as the recipe's cap would leave them: P problems by S samples."""

    correct_PS: Bool[np.ndarray, "P S"]
    finished_PS: Bool[np.ndarray, "P S"]
    formatted_PS: Bool[np.ndarray, "P S"]
    tokens_PS: Int[np.ndarray, "P S"]


class LintStep(NamedTuple):
    """Groups that could be one step's, and the row of each one's problem."""

    rows: list[int]
    views: list[GroupView]


def cut_samples(pool: LintRecords, *, cap_tokens: int) -> Cut:
    """The samples cut at ``cap_tokens``: a longer one is not finished, and is correct only where
    its prefix of that length is known to grade so.

    Records of a lower cap stay as they are: what would have come after it is not known.
    """
    table = pool.table
    whole_PS = table.tokens_PS <= cap_tokens
    right_PS = prefix_right(pool, cap_tokens=cap_tokens)
    stands_PS = np.zeros_like(whole_PS) if right_PS is None else right_PS & ~whole_PS
    return Cut(
        correct_PS=np.where(whole_PS, table.correct_PS, stands_PS),
        finished_PS=table.finished_PS & whole_PS,
        formatted_PS=np.where(whole_PS, ~without_answer(pool), stands_PS),
        tokens_PS=np.minimum(table.tokens_PS, cap_tokens),
    )


def make_steps(pool: LintRecords, recipe: Recipe, *, samples: int | None = None) -> list[LintStep]:
    """Groups of N graded samples, each sample in one of them, dealt out over steps at step 0.

    A problem with fewer samples gives one group of all it has; what is left over at the end of
    one with more is in none. The groups of one problem are in different rounds, and each round,
    in the recipe's own random order, is cut into as many steps as are nearest to its
    ``prompts_per_step``.

    Args:
        samples: N; None is the recipe's.
    """
    size, levels = samples or recipe.sampling.samples_per_prompt, [*recipe.effort] or [""]
    cut = cut_samples(pool, cap_tokens=recipe.sampling.cap_tokens)
    rounds: dict[int, list[tuple[int, GroupView]]] = {}
    for row in np.random.default_rng([recipe.seed, 0]).permutation(len(pool.problems)).tolist():
        (places,) = np.nonzero(pool.table.graded_PS[row])
        for number in range(max(len(places) // size, 1)):
            members = places[number * size : (number + 1) * size]
            # Records that ask for no level stand for each of them in turn.
            effort = pool.problems[row].effort or levels[(row + number) % len(levels)]
            view = _view(pool, recipe, cut, row, members)._replace(effort=effort)
            rounds.setdefault(number, []).append((row, view))
    steps = []
    for _, groups in sorted(rounds.items()):
        count = max(1, round(len(groups) / recipe.sampling.prompts_per_step))
        bounds = np.linspace(0, len(groups), count + 1).round().astype(int)
        for first, last in itertools.pairwise(bounds):
            part = groups[first:last]
            steps.append(LintStep([row for row, _ in part], [view for _, view in part]))
    return steps


def _view(pool: LintRecords, recipe: Recipe, cut: Cut, row: int, members: np.ndarray) -> GroupView:
    problem, thought_PS = pool.problems[row], pool.thought_PS
    return GroupView(
        correct_G=cut.correct_PS[row, members],
        tokens_G=cut.tokens_PS[row, members],
        finished_G=cut.finished_PS[row, members],
        formatted_G=cut.formatted_PS[row, members],
        reference_tokens=_or_nan(problem.reference_tokens),
        reference_accuracy=_or_nan(problem.reference_accuracy),
        thought_G=None if thought_PS is None else thought_PS[row, members],
        thinking_G=_at_most(pool.table.thinking_PS, cut, row, members),
        first_right_G=_first_right(pool, cut, row, members),
        pay_unfinished=recipe.treatment.unfinished == "graded",
        problem=problem.id,
    )


def _at_most(
    part_PS: Int[np.ndarray, "P S"] | None, cut: Cut, row: int, members: np.ndarray
) -> Int[np.ndarray, " G"] | None:
    """A part of the samples' lengths, cut as they are; None if it is not known of each."""
    if part_PS is None or (part_PS[row, members] == UNKNOWN_TOKENS).any():
        return None
    return np.asarray(np.minimum(part_PS[row, members], cut.tokens_PS[row, members]))


def _first_right(
    pool: LintRecords, cut: Cut, row: int, members: np.ndarray
) -> Int[np.ndarray, " G"] | None:
    """As in training: all tokens of a rollout that is not right."""
    found_PS, correct_G = pool.table.answer_tokens_PS, cut.correct_PS[row, members]
    if found_PS is None or (found_PS[row, members][correct_G] == UNKNOWN_TOKENS).any():
        return None
    tokens_G = cut.tokens_PS[row, members]
    return np.asarray(np.where(correct_G, np.minimum(found_PS[row, members], tokens_G), tokens_G))


def push_all(recipe: Recipe, steps: Sequence[LintStep]) -> tuple[Pushed, Float[np.ndarray, " K"]]:
    """How the recipe pushes each rollout of the steps, every step being the run's first, and the
    target length of each group."""
    shaping, first_group, parts, targets = shaping_of(recipe), 0, [], []
    for step in steps:
        graded_views = [
            GradedView(np.ones(len(view.correct_G), dtype=bool), view) for view in step.views
        ]
        shaped = shape_step(shaping, graded_views, {})
        parts.append(_push_step(recipe, step, shaped, first_group=first_group))
        targets.append(shaped.target.tokens_P)
        first_group += len(step.rows)
    return Pushed(*map(np.concatenate, zip(*parts, strict=True))), np.concatenate(targets)


def _push_step(recipe: Recipe, step: LintStep, shaped: ShapedStep, *, first_group: int) -> Pushed:
    spread = shaped.layout.spread
    tokens_N = np.concatenate([view.tokens_G for view in step.views])
    # Without a target, the group's mean tells short from long.
    limits = [
        float(np.mean(view.tokens_G)) if np.isnan(target) else target
        for view, target in zip(step.views, shaped.target.tokens_P, strict=True)
    ]
    return Pushed(
        problem_N=spread(np.array(step.rows)),
        group_N=first_group + shaped.group_N,
        tokens_N=tokens_N,
        right_N=np.concatenate([view.right_G for view in step.views]),
        short_N=tokens_N <= spread(np.array(limits)),
        reward_N=shaped.reward_N,
        keep_N=shaped.keep_N,
        push_N=shaped.advantage_N * _weights(recipe, shaped, tokens_N),
    )


def _weights(
    recipe: Recipe, shaped: ShapedStep, tokens_N: Int[np.ndarray, " N"]
) -> Float[np.ndarray, " N"]:
    """What the loss's aggregation weighs each rollout's gradient by, over the mean of the kept.

    The gradient of a rollout is that of the sum over its tokens, so one weight for all tokens
    (token_mean, constant) is one weight for all rollouts, whatever their lengths.
    """
    loss, cap_tokens = recipe.loss, recipe.sampling.cap_tokens
    aggregate = aggregations.load(loss.aggregation, cap_tokens=cap_tokens)
    weight_N = weigh(shaped, tokens_N, aggregate).weight_B
    return weight_N / weight_N[shaped.keep_N].mean() if shaped.keep_N.any() else weight_N


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
