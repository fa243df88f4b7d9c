"""What verl carries of a rollout, and what the estimator makes of a batch of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tersely.algo.advantages import MaskScope
from tersely.algo.aggregations.sequence_mean import sequence_mean
from tersely.algo.aggregations.token_mean import token_mean
from tersely.core.errors import DataError, EngineError
from tersely.core.types import Finish, Grade, Problem, Verdict
from tersely.flows.recipe.shaping import Shaping
from tersely.flows.verl.estimator import (
    Estimator,
    GradedLine,
    RolloutGrader,
    VerlRow,
    facts_of,
    row_of,
    score_of,
)

BIT = 2.0**-20


def test_a_reward_is_right_or_wrong_to_verl_and_holds_the_facts_below() -> None:
    # graded 1 + correct 2 + finished 4 + formatted 8 + thought 16 = 31.
    right = score_of(Verdict(grade=Grade.CORRECT), finished=True, thought=True, right=True)
    assert right == 1 + 31 * BIT
    # Cut off: correct but not right; graded 1 + correct 2 + formatted 8 = 11.
    cut = score_of(Verdict(grade=Grade.CORRECT), finished=False, thought=False, right=False)
    assert cut == 11 * BIT
    # Neither graded nor correct, only finished 4 and formatted 8.
    lost = score_of(Verdict(grade=Grade.UNGRADED), finished=True, thought=False, right=False)
    assert lost == 12 * BIT


def test_facts_survive_verl_s_float32() -> None:
    verdicts = [Verdict(grade=grade) for grade in Grade]
    told = [
        (verdict, finished, thought, verdict.grade is Grade.CORRECT and finished)
        for verdict in verdicts
        for finished in (False, True)
        for thought in (False, True)
    ]
    score_B = np.array(
        [score_of(v, finished=f, thought=t, right=r) for v, f, t, r in told], dtype=np.float32
    ).astype(np.float64)
    facts = facts_of(score_B)
    for place, (verdict, finished, thought, _) in enumerate(told):
        assert facts.graded_B[place] == (verdict.grade is not Grade.UNGRADED)
        assert facts.correct_B[place] == (verdict.grade is Grade.CORRECT)
        assert facts.formatted_B[place] == (verdict.grade is not Grade.UNPARSED)
        assert (facts.finished_B[place], facts.thought_B[place]) == (finished, thought)


@pytest.mark.parametrize("score", [0.5, -1.0, 1 + 0.3 * BIT, 2 + BIT, 32 * BIT, 1 - 0.001])
def test_a_reward_of_another_making_is_refused(score: float) -> None:
    with pytest.raises(EngineError, match="none of ours"):
        facts_of(np.array([BIT, score]))


# Right is 1 and wrong 0, minus the mean of the whole group; the loss sees the two shortest.
SHAPING = Shaping(
    reward="truncation",
    parameters={},
    mask_scope=MaskScope.LOSS_ONLY,
    keep_best=2,
    advantage="group_centred",
    target="fixed",
    target_parameters={"tokens": 9},
)


def estimator(**settings: Any) -> Estimator:
    plain = {
        "shaping": SHAPING,
        "samples": 3,
        "aggregate": token_mean,
        "update_rows": 6,
    }
    return Estimator(**{**plain, **settings})


RIGHT = 1 + 15 * BIT  # graded, correct, finished, formatted
WRONG = 13 * BIT  # graded, finished, formatted


def batch(rows: Sequence[tuple[str, int, float]], *, width: int = 9) -> tuple[Any, Any, list[str]]:
    mask_BT = np.arange(width)[None] < np.array([tokens for _, tokens, _ in rows])[:, None]
    reward_BT = np.zeros(mask_BT.shape)
    for place, (_, tokens, score) in enumerate(rows):
        reward_BT[place, max(tokens - 1, 0)] = score
    return reward_BT, mask_BT, [uid for uid, _, _ in rows]


# Two groups whose rows are mixed, one of two rollouts, and verl's padding between them.
ROWS = [
    ("a", 2, RIGHT),
    ("b", 5, WRONG),
    ("pad1", 0, 0.0),
    ("a", 4, WRONG),
    ("b", 1, RIGHT),
    ("a", 3, RIGHT),
]


def test_advantages_weights_and_masks_by_hand() -> None:
    found_B = estimator()(*batch(ROWS))
    # a: right 1, 0, 1, so 1/3, -2/3, 1/3, and its longest (4 tokens) is masked; b: -1/2, 1/2.
    # Kept tokens: 2 + 3 + 5 + 1 = 11, which the sum is divided by.
    np.testing.assert_allclose(
        found_B, [1 / 33, -1 / 22, 0, 0, 1 / 22, 1 / 33], rtol=1e-12, atol=1e-15
    )


def test_a_plain_sum_of_verl_s_is_then_the_recipe_s_aggregation() -> None:
    """A loss of verl's is sum(mask * term * advantage): with term 1, a naive aggregation of it."""
    _, mask_BT, _ = batch(ROWS)
    for aggregate, naive in (
        (token_mean, (1 / 3 * 2 + 1 / 3 * 3 - 1 / 2 * 5 + 1 / 2 * 1) / 11),
        (sequence_mean, (1 / 3 + 1 / 3 - 1 / 2 + 1 / 2) / 4),
    ):
        adv_B = estimator(aggregate=aggregate)(*batch(ROWS))
        assert (adv_B[:, None] * mask_BT).sum() == pytest.approx(naive, rel=1e-12)
        # Of two updates each sums over half of the batch, padding included.
        twice_B = estimator(aggregate=aggregate, update_rows=3)(*batch(ROWS))
        np.testing.assert_allclose(twice_B, 2 * adv_B, rtol=1e-12)


def test_where_verl_aggregates_advantages_are_plain() -> None:
    found_B = estimator(aggregate=None)(*batch(ROWS))
    np.testing.assert_allclose(found_B, [1 / 3, -1 / 2, 0, 0, 1 / 2, 1 / 3], rtol=1e-12)


def test_the_order_of_rows_and_the_side_of_padding_do_not_matter() -> None:
    reward_BT, mask_BT, uid_B = batch(ROWS)
    plain_B = estimator()(reward_BT, mask_BT, uid_B)
    order = np.array([4, 0, 5, 2, 3, 1])
    shuffled_B = estimator()(reward_BT[order], mask_BT[order], [uid_B[place] for place in order])
    np.testing.assert_array_equal(shuffled_B, plain_B[order])
    left_B = estimator()(reward_BT[:, ::-1], mask_BT[:, ::-1], uid_B)
    np.testing.assert_array_equal(left_B, plain_B)


def test_padding_alone_has_no_advantage() -> None:
    assert estimator()(*batch([("pad1", 0, 0.0)] * 2)).tolist() == [0, 0]


def test_a_uid_that_prompts_share_is_refused() -> None:
    with pytest.raises(EngineError, match=r"group 'a' has 4 rollouts.*samples_per_prompt = 3"):
        estimator()(*batch([*ROWS, ("a", 1, WRONG)]))


def test_a_completion_of_several_turns_is_refused() -> None:
    reward_BT, mask_BT, uid_B = batch(ROWS)
    mask_BT[1, 2] = False
    with pytest.raises(EngineError, match="row 1 of the batch has masked tokens between"):
        estimator()(reward_BT, mask_BT, uid_B)


PROBLEM = Problem(id="p", prompt="2+2", answer="4", source="sums")


def grader(*, pay_unfinished: bool = False) -> RolloutGrader:
    return RolloutGrader(
        grade=lambda problem, text: Verdict(
            grade=Grade.CORRECT if text.endswith(problem.answer) else Grade.WRONG, extracted=text
        ),
        decode=lambda ids: "".join(map(str, ids)),
        split_text=lambda ids: [str(number) for number in ids],
        has_thought=lambda text: len(text) > 1,
        stop_ids=frozenset({0}),
        cap_tokens=3,
        pay_unfinished=pay_unfinished,
    )


def row(*ids: int) -> VerlRow:
    return VerlRow(PROBLEM, ids, "train", "u", 1, 7)


def test_a_rollout_was_cut_if_it_reaches_the_cap_without_a_stop_token() -> None:
    score, right, line = grader().grade_rollout(row(1, 4, 0))
    assert (score, right, line.finish, line.tokens) == (1 + 31 * BIT, True, Finish.STOP, 3)
    # The text that is graded is without the stop token, the length with it.
    assert line == GradedLine(
        step=7,
        split="train",
        uid="u",
        sample=1,
        problem="p",
        grade=Grade.CORRECT,
        extracted="14",
        tokens=3,
        finish=Finish.STOP,
        text="14",
        thinking_tokens=0,
        answer_tokens=3,  # nothing marks its answer, so that it stands at its end
    )
    cut = grader().grade_rollout(row(1, 1, 4))
    assert (cut[1], cut[2].finish) == (False, Finish.LENGTH)
    assert grader(pay_unfinished=True).grade_rollout(row(1, 1, 4))[1] is True
    # Shorter than the cap: the engine stopped at a token that we do not know of.
    assert grader().grade_rollout(row(1, 4))[2].finish is Finish.STOP
    with pytest.raises(EngineError, match="no completion tokens"):
        grader().grade_rollout(row())


class Columns:
    """A batch as far as it is looked at before it is read."""

    def __init__(self, **columns: list[Any]) -> None:
        self.non_tensor_batch = columns

    def __len__(self) -> int:
        return 1

    def __getitem__(self, place: int) -> "Columns":
        return Columns(**{name: values[place] for name, values in self.non_tensor_batch.items()})


def test_rows_without_our_columns_are_refused_with_what_they_have() -> None:
    good = {
        "data_source": ["sums"],
        "ability": ["exact"],
        "reward_model": [{"ground_truth": "4"}],
        "extra_info": [{"index": 0}],
        "raw_prompt": [[{"content": "2+2"}]],
    }
    with pytest.raises(DataError, match=r"no extra_info.id; write the files"):
        row_of(Columns(**good))
    del good["ability"]
    with pytest.raises(DataError, match=r"no column ability; they have data_source, extra_info"):
        row_of(Columns(**good))
