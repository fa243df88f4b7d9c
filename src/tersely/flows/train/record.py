"""What a training step did, as one record."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from tersely.core.types import Finish, Grade, StepRecord
from tersely.engines.learning.learner import LearnStats
from tersely.flows.recipe.shaping import Shaped


def step_record(
    step: int,
    shaped: Sequence[Shaped],
    stats: LearnStats,
    *,
    target_tokens: float,
    cap_tokens: int,
    refill_rounds: int = 0,
) -> StepRecord:
    """What the step did. Correct means correct and finished; shares are of graded rollouts but
    for ``truncated_share`` and ``ungraded_share``, which are of all.

    Args:
        target_tokens: L_T, the mean over groups where they differ.
        cap_tokens: L_R.
        refill_rounds: rounds in which other prompts were sampled in place of dropped groups.
    """
    flat = _flatten(shaped)
    graded_R, positive_R = flat.graded_R, flat.graded_R & (flat.reward_R > 0)
    silent = [not s.advantage_G.any() for s in shaped]
    return StepRecord(
        step=step,
        prompts=len(shaped),
        rollouts=len(flat.tokens_R),
        target_tokens=target_tokens,
        cap_tokens=cap_tokens,
        accuracy=_mean(flat.correct_R, graded_R),
        reward_mean=_mean(flat.reward_R, graded_R),
        positive_share=_mean(positive_R, graded_R),
        zero_signal_share=float(np.mean(silent)),
        truncated_share=float(flat.truncated_R.mean()),
        unparsed_share=_mean(flat.unparsed_R, graded_R),
        ungraded_share=float(1 - graded_R.mean()),
        tokens_mean=float(flat.tokens_R.mean()),
        correct_tokens_mean=_mean(flat.tokens_R, graded_R & flat.correct_R),
        wrong_tokens_mean=_mean(flat.tokens_R, graded_R & ~flat.correct_R),
        positive_tokens_mean=_mean(flat.tokens_R, positive_R),
        negative_tokens_mean=_mean(flat.tokens_R, graded_R & ~positive_R),
        entropy_mean=float((flat.entropy_R * flat.tokens_R).sum() / flat.tokens_R.sum()),
        kl_mean=stats.kl_mean,
        sampler_mismatch=stats.sampler_mismatch,
        clip_share=stats.clip_share,
        grad_norm=stats.grad_norm,
        loss=stats.loss,
        learning_rate=stats.learning_rate,
        sampled_tokens=int(flat.tokens_R.sum()),
        update_tokens=stats.update_tokens,
        dropped_groups=sum(s.dropped for s in shaped),
        refill_rounds=refill_rounds,
        solved_share=_solved_share(shaped),
    )


class _Flat(NamedTuple):
    tokens_R: Int[np.ndarray, " R"]
    correct_R: Bool[np.ndarray, " R"]
    graded_R: Bool[np.ndarray, " R"]
    unparsed_R: Bool[np.ndarray, " R"]
    truncated_R: Bool[np.ndarray, " R"]
    reward_R: Float[np.ndarray, " R"]
    entropy_R: Float[np.ndarray, " R"]


def _flatten(shaped: Sequence[Shaped]) -> _Flat:
    rollouts = [rollout for s in shaped for rollout in s.group.rollouts]
    grades = [verdict.grade for s in shaped for verdict in s.group.verdicts]
    finished_R = np.array([rollout.finish is Finish.STOP for rollout in rollouts])
    return _Flat(
        tokens_R=np.array([rollout.tokens for rollout in rollouts]),
        correct_R=np.array([grade is Grade.CORRECT for grade in grades]) & finished_R,
        graded_R=np.array([grade is not Grade.UNGRADED for grade in grades]),
        unparsed_R=np.array([grade is Grade.UNPARSED for grade in grades]),
        truncated_R=np.array([rollout.finish is Finish.LENGTH for rollout in rollouts]),
        reward_R=np.concatenate([s.reward.total_G for s in shaped]),
        entropy_R=np.array([rollout.entropy for rollout in rollouts]),
    )


def _solved_share(shaped: Sequence[Shaped]) -> float:
    """Of the groups with a graded rollout, those in which one is correct and finished."""
    parts = [_flatten([s]) for s in shaped]
    graded = [part for part in parts if part.graded_R.any()]
    return float(np.mean([part.correct_R.any() for part in graded])) if graded else float("nan")


def _mean(values_R: np.ndarray, where_R: np.ndarray) -> float:
    return float(values_R[where_R].mean()) if where_R.any() else float("nan")
