"""What a training step did, as its records: one of the step, one of each rollout."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tersely.core import jsonl
from tersely.core.types import Finish, Grade, Rollout, RolloutRecord, StepRecord
from tersely.engines.learning.learner import LearnStats
from tersely.flows.recipe.shaping import RolloutColumns, ShapedStep
from tersely.metrics.loops import loops


def step_record(
    step: int,
    columns: RolloutColumns,
    shaped: ShapedStep,
    stats: LearnStats,
    *,
    cap_tokens: int,
    entropy_mean: float,
    refill_rounds: int = 0,
) -> StepRecord:
    """What the step did. Correct means correct and finished; shares are of graded rollouts but
    for ``truncated_share`` and ``ungraded_share``, which are of all. The target is the mean over
    groups where they differ.

    Args:
        columns: the rollouts that were shaped, in the same order.
        cap_tokens: L_R.
        entropy_mean: nats a token; NaN where it is not known.
        refill_rounds: rounds in which other prompts were sampled in place of dropped groups.
    """
    tokens_N, layout = np.array(columns.tokens), shaped.layout
    grade_N, finish_N = np.array(columns.grade), np.array(columns.finish)
    graded_N = grade_N != Grade.UNGRADED
    correct_N = (grade_N == Grade.CORRECT) & (finish_N == Finish.STOP)
    positive_N = graded_N & (shaped.reward_N > 0)
    graded_P = layout.sums(graded_N) > 0
    return StepRecord(
        step=step,
        prompts=len(graded_P),
        rollouts=len(tokens_N),
        target_tokens=float(shaped.target.tokens_P.mean()),
        cap_tokens=cap_tokens,
        accuracy=_mean(correct_N, graded_N),
        reward_mean=_mean(shaped.reward_N, graded_N),
        positive_share=_mean(positive_N, graded_N),
        zero_signal_share=float((layout.sums(shaped.advantage_N != 0) == 0).mean()),
        truncated_share=float((finish_N == Finish.LENGTH).mean()),
        unparsed_share=_mean(grade_N == Grade.UNPARSED, graded_N),
        ungraded_share=float(1 - graded_N.mean()),
        tokens_mean=float(tokens_N.mean()),
        correct_tokens_mean=_mean(tokens_N, graded_N & correct_N),
        wrong_tokens_mean=_mean(tokens_N, graded_N & ~correct_N),
        positive_tokens_mean=_mean(tokens_N, positive_N),
        negative_tokens_mean=_mean(tokens_N, graded_N & ~positive_N),
        entropy_mean=entropy_mean,
        kl_mean=stats.kl_mean,
        sampler_mismatch=stats.sampler_mismatch,
        clip_share=stats.clip_share,
        grad_norm=stats.grad_norm,
        loss=stats.loss,
        learning_rate=stats.learning_rate,
        sampled_tokens=int(tokens_N.sum()),
        update_tokens=stats.update_tokens,
        dropped_groups=int(shaped.dropped_P.sum()),
        refill_rounds=refill_rounds,
        solved_share=_mean(layout.sums(correct_N) > 0, graded_P),
        **_part_means(columns, correct_N),
        looping_share=float(np.mean([loops(text) for text in columns.text])),
    )


def _part_means(columns: RolloutColumns, correct_N: np.ndarray) -> dict[str, float]:
    """Mean lengths in parts, each over the rollouts of which the part is known."""
    tokens_N = np.array(columns.tokens)
    thinking_N = np.array(columns.thinking_tokens, dtype=float)
    answer_N = np.array(columns.answer_tokens, dtype=float)
    return {
        "thinking_tokens_mean": _mean(thinking_N, ~np.isnan(thinking_N)),
        "reply_tokens_mean": _mean(tokens_N - thinking_N, ~np.isnan(thinking_N)),
        "after_right_tokens_mean": _mean(tokens_N - answer_N, correct_N & ~np.isnan(answer_N)),
    }


def write_rollouts(folder: Path, step: int, columns: RolloutColumns, shaped: ShapedStep) -> None:
    """The step's rollouts, in a packed file of their own."""
    rows = [dict(zip(columns._fields, row, strict=True)) for row in zip(*columns, strict=True)]
    learned = (shaped.reward_N.tolist(), shaped.advantage_N.tolist(), shaped.keep_N.tolist())
    records = [
        RolloutRecord(
            step=step,
            reward=reward,
            advantage=advantage,
            kept=kept,
            loops=loops(row["text"]),
            **row,
        )
        for row, reward, advantage, kept in zip(rows, *learned, strict=True)
    ]
    (folder / "rollouts").mkdir(exist_ok=True)
    jsonl.write(folder / "rollouts" / f"step-{step:06d}.jsonl.zst", records)


def mean_entropy(rollouts: Sequence[Rollout]) -> float:
    """The policy's mean entropy over all tokens of the rollouts, in nats a token."""
    tokens_N = np.array([rollout.tokens for rollout in rollouts])
    entropy_N = np.array([rollout.entropy for rollout in rollouts])
    return float((entropy_N * tokens_N).sum() / tokens_N.sum())


def _mean(values_N: np.ndarray, where_N: np.ndarray) -> float:
    return float(values_N[where_N].mean()) if where_N.any() else float("nan")
