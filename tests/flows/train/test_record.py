"""A step's records from the columns of its rollouts, by hand."""

from pathlib import Path

import numpy as np
import pytest

from tersely.algo.ragged import Ragged
from tersely.core import jsonl
from tersely.core.types import Finish, Grade, RolloutRecord
from tersely.engines.learning.learner import LearnStats
from tersely.flows.recipe.shaping import RolloutColumns, ShapedStep, joined
from tersely.flows.train.record import step_record, write_rollouts
from tersely.flows.train.session import forget_after
from tersely.targets import Target

STATS = LearnStats(
    loss=0.25,
    grad_norm=0.5,
    clip_share=0.0,
    kl_mean=float("nan"),
    sampler_mismatch=0.0,
    update_tokens=30,
    learning_rate=1e-3,
    dropped_nonfinite=0,
)


def columns(*rows: tuple[str, Grade, int, Finish]) -> RolloutColumns:
    problem, grade, tokens, finish = zip(*rows, strict=True)
    texts = [f"text {number}" for number in range(len(rows))]
    samples, unsaid, closed = list(range(len(rows))), [None] * len(rows), [False] * len(rows)
    return RolloutColumns(
        problem, samples, grade, unsaid, tokens, finish, texts, closed, unsaid, unsaid
    )


# a: right, cut with its right answer written, ungraded. b: wrong and unparsed, a dropped group.
ROLLOUTS = joined(
    [
        columns(
            ("a", Grade.CORRECT, 10, Finish.STOP),
            ("a", Grade.CORRECT, 40, Finish.LENGTH),
            ("a", Grade.UNGRADED, 6, Finish.STOP),
        ),
        columns(("b", Grade.WRONG, 20, Finish.STOP), ("b", Grade.UNPARSED, 24, Finish.STOP)),
    ]
)
SHAPED = ShapedStep(
    target=Target(np.array([10.0, 30.0]), {}),
    layout=Ragged(np.array([3, 2])),
    reward_N=np.array([1.0, -0.5, np.nan, 0.0, 0.0]),
    keep_N=np.array([True, True, False, False, False]),
    advantage_N=np.array([0.75, -0.75, 0.0, 0.0, 0.0]),
    dropped_P=np.array([False, True]),
)


def test_golden_record_of_a_step() -> None:
    record = step_record(3, ROLLOUTS, SHAPED, STATS, cap_tokens=40, entropy_mean=0.5)
    assert (record.step, record.prompts, record.rollouts, record.dropped_groups) == (3, 2, 5, 1)
    # Four are graded, one of them correct and finished; rewards 1 - 1/2 + 0 + 0 over four.
    assert (record.accuracy, record.reward_mean, record.positive_share) == (0.25, 0.125, 0.25)
    assert (record.unparsed_share, record.ungraded_share) == (0.25, pytest.approx(0.2))
    # Of all five, one was cut; 10 + 40 + 6 + 20 + 24 = 100.
    assert (record.truncated_share, record.tokens_mean, record.sampled_tokens) == (0.2, 20, 100)
    assert (record.correct_tokens_mean, record.wrong_tokens_mean) == (10, 28)  # (40 + 20 + 24) / 3
    assert (record.positive_tokens_mean, record.negative_tokens_mean) == (10, 28)
    # One group of two has no advantage, one has a rollout that is correct and finished.
    assert (record.zero_signal_share, record.solved_share) == (0.5, 0.5)
    assert record.target_tokens == 20  # of 10 and 30
    assert (record.entropy_mean, record.loss, record.update_tokens) == (0.5, 0.25, 30)


def test_golden_record_of_lengths_in_parts() -> None:
    # Thinking is known of four: 4 + 40 + 0 + 24; what follows 6 + 0 + 20 + 0. Of right and finished
    # rollouts there is one, of 10 tokens, whose answer stood at 7.
    parts = ROLLOUTS._replace(
        thinking_tokens=[4, 40, None, 0, 24], answer_tokens=[7, 30, None, None, None]
    )
    record = step_record(3, parts, SHAPED, STATS, cap_tokens=40, entropy_mean=0.5)
    means = record.thinking_tokens_mean, record.reply_tokens_mean, record.after_right_tokens_mean
    assert means == (17, 6.5, 3)
    unknown = step_record(3, ROLLOUTS, SHAPED, STATS, cap_tokens=40, entropy_mean=0.5)
    assert np.isnan(unknown.thinking_tokens_mean)
    assert np.isnan(unknown.after_right_tokens_mean)


def test_a_group_without_a_grade_is_neither_solved_nor_unsolved() -> None:
    ungraded = [("c", Grade.UNGRADED, 5, Finish.STOP)]
    shaped = SHAPED._replace(
        target=Target(np.array([10.0, 30.0, np.nan]), {}),
        layout=Ragged(np.array([3, 2, 1])),
        reward_N=np.append(SHAPED.reward_N, np.nan),
        keep_N=np.append(SHAPED.keep_N, False),
        advantage_N=np.append(SHAPED.advantage_N, 0.0),
        dropped_P=np.append(SHAPED.dropped_P, True),
    )
    record = step_record(
        0, joined([ROLLOUTS, columns(*ungraded)]), shaped, STATS, cap_tokens=40, entropy_mean=0.5
    )
    assert (record.solved_share, record.prompts) == (0.5, 3)
    assert record.zero_signal_share == pytest.approx(2 / 3)


def test_the_rollouts_of_a_step_are_written_with_what_was_made_of_them(tmp_path: Path) -> None:
    write_rollouts(tmp_path, 3, ROLLOUTS, SHAPED)
    records = jsonl.read(tmp_path / "rollouts" / "step-000003.jsonl.zst", RolloutRecord)
    assert [(r.problem, r.tokens, r.grade) for r in records] == [
        ("a", 10, Grade.CORRECT),
        ("a", 40, Grade.CORRECT),
        ("a", 6, Grade.UNGRADED),
        ("b", 20, Grade.WRONG),
        ("b", 24, Grade.UNPARSED),
    ]
    assert [(r.reward, r.advantage, r.kept) for r in records[:2]] == [
        (1.0, 0.75, True),
        (-0.5, -0.75, True),
    ]
    assert np.isnan(records[2].reward)
    assert {r.step for r in records} == {3}


def test_loops_are_told_of_each_rollout_and_their_share_of_all(tmp_path: Path) -> None:
    looping = "So. " + "Wait, let me look at the angle again. " * 9
    texts = [looping, "text", looping, "text", "text"]
    rollouts = ROLLOUTS._replace(text=texts)
    # Two of five, of which one is ungraded.
    record = step_record(0, rollouts, SHAPED, STATS, cap_tokens=40, entropy_mean=0.5)
    assert record.looping_share == pytest.approx(2 / 5)
    write_rollouts(tmp_path, 0, rollouts, SHAPED)
    written = jsonl.read(tmp_path / "rollouts" / "step-000000.jsonl.zst", RolloutRecord)
    assert [each.loops for each in written] == [True, False, True, False, False]


def test_going_on_drops_the_rollouts_of_later_steps_packed_or_not(tmp_path: Path) -> None:
    folder = tmp_path / "rollouts"
    for step in range(5):
        write_rollouts(tmp_path, step, ROLLOUTS, SHAPED)
    # A run that was begun before the files were packed, and one that was killed in a write.
    for step in (1, 3):
        records = jsonl.read(folder / f"step-00000{step}.jsonl.zst", RolloutRecord)
        jsonl.write(folder / f"step-00000{step}.jsonl", records)
        (folder / f"step-00000{step}.jsonl.zst").unlink()
    (folder / "step-000005.jsonl.zst.tmp").write_bytes(b"\x28\xb5\x2f")
    forget_after(tmp_path, 2)
    assert sorted(file.name for file in folder.iterdir()) == [
        "step-000000.jsonl.zst",
        "step-000001.jsonl",
    ]
