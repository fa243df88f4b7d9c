"""From graded groups to advantages, as a recipe asks for it."""

import numpy as np
import pytest

from tersely import rewards, targets
from tersely.algo.advantages import MaskScope, available
from tersely.algo.aggregations.prompt_mean import prompt_mean
from tersely.algo.masks import NO_WRONG, STRATEGIES, Cells
from tersely.core.errors import ConfigError, GradingError
from tersely.core.types import Finish, Grade, Group, Problem, Rollout, Verdict
from tersely.flows.recipe.recipe import check_recipe
from tersely.flows.recipe.shaping import (
    Shaping,
    check_graded,
    columns_of,
    graded_view,
    shape,
    shape_step,
    shaping_of,
    weigh,
)

NAN = float("nan")
WRONG_CELLS = ("wrong_short", "wrong_long")


def rollout(sample, tokens, finish, text="<think>x</think>1"):
    return Rollout(
        problem_id="p",
        sample=sample,
        prompt_ids=(1,),
        completion_ids=(1,) * tokens,
        logprobs=np.zeros(tokens, dtype=np.float32),
        entropy=0.5,
        finish=finish,
        policy_step=0,
        text=text,
    )


def group(*rows, **problem):
    """Rows are (tokens, grade) or (tokens, grade, finish)."""
    finishes = [row[2] if len(row) > 2 else Finish.STOP for row in rows]
    return Group(
        problem=Problem(id="p", prompt="?", answer="1", source="s", **problem),
        rollouts=tuple(
            rollout(s, row[0], f) for s, (row, f) in enumerate(zip(rows, finishes, strict=True))
        ),
        verdicts=tuple(Verdict(grade=row[1]) for row in rows),
    )


RIGHT, WRONG, NONE = Grade.CORRECT, Grade.WRONG, Grade.UNGRADED
# short right, long right, short wrong, long wrong around a target of 10
FOUR = group((5, RIGHT), (15, RIGHT), (5, WRONG), (15, WRONG))


def view(group, *, pay_unfinished=False):
    columns = columns_of(group, lambda ids: ["a"] * len(ids))
    return graded_view(group.problem, columns, pay_unfinished=pay_unfinished)


def shaped(*groups, target=10.0, weight=NAN, **settings):
    shaping = Shaping(**{"reward": "truncation", "parameters": {}, **settings})
    seen = [view(group, pay_unfinished=shaping.pay_unfinished) for group in groups]
    return shape(shaping, seen, targets.Target(np.full(len(groups), target), {}, weight))


def test_golden_truncation_is_normalised_by_the_population_std():
    # rewards 1 0 0 0: mean 1/4, std sqrt(3)/4: advantages sqrt(3), -1/sqrt(3) thrice
    only = shaped(FOUR)
    assert only.reward_N.tolist() == [1, 0, 0, 0]
    assert only.advantage_N == pytest.approx([3**0.5, *[-(3**-0.5)] * 3])


@pytest.mark.parametrize(
    ("cells", "keep", "advantages"),
    [
        # Table 1 of the paper; advantages over the kept rollouts alone
        ("no-wrong", [1, 1, 0, 0], [1, -1, 0, 0]),
        ("no-long-correct", [1, 0, 1, 1], [2**0.5, 0, -(2**-0.5), -(2**-0.5)]),
        ("no-long-correct-no-short-wrong", [1, 0, 0, 1], [1, 0, 0, -1]),
        ("no-long-correct-no-long-wrong", [1, 0, 1, 0], [1, 0, -1, 0]),
    ],
)
def test_golden_cells_are_masked(cells, keep, advantages):
    only = shaped(FOUR, cells=STRATEGIES[cells])
    assert only.keep_N.tolist() == [bool(k) for k in keep]
    assert only.advantage_N == pytest.approx(advantages)


def test_masked_rollouts_count_in_mean_and_std_only_when_asked():
    only = shaped(FOUR, cells=NO_WRONG, mask_scope=MaskScope.LOSS_ONLY)
    # as if nothing were masked, but for the zeros: 1 0 0 0 again
    assert only.advantage_N == pytest.approx([3**0.5, -(3**-0.5), 0, 0])


@pytest.mark.parametrize("scope", list(MaskScope))
def test_an_ungraded_rollout_is_seen_by_neither_reward_nor_advantage(scope):
    with_one = shaped(group((5, RIGHT), (7, NONE), (5, WRONG)), mask_scope=scope)
    assert with_one.keep_N.tolist() == [True, False, True]
    assert with_one.advantage_N == pytest.approx([1, 0, -1])


def test_masked_cells_are_not_ungraded_and_do_not_stop_the_run():
    assert not shaped(FOUR, cells=NO_WRONG).keep_N.all()
    check_graded([view(FOUR)])
    with pytest.raises(GradingError, match="50%"):
        check_graded([view(group((5, NONE), (5, RIGHT)))])


def test_a_cut_rollout_with_its_answer_is_right_only_if_unfinished_ones_are_paid():
    cut = group((10, RIGHT, Finish.LENGTH), (5, WRONG))
    assert shaped(cut).reward_N.tolist() == [0, 0]
    assert shaped(cut, pay_unfinished=True).reward_N.tolist() == [1, 0]


def test_a_batch_normalised_step_looks_across_groups():
    # gaps .5 -.5 | 0 0: batch std sqrt(.25 * 2 / 4): 1.414, -1.414, 0, 0
    made = shaped(
        group((5, RIGHT), (5, WRONG)),
        group((5, WRONG), (5, WRONG)),
        advantage="batch_normalised",
    )
    assert made.advantage_N == pytest.approx([2**0.5, -(2**0.5), 0, 0])
    assert made.group_N.tolist() == [0, 0, 1, 1]


def test_golden_without_a_baseline_the_right_and_short_alone_are_learned_from():
    only = shaped(FOUR, reward="on_policy_sft", advantage="unbaselined")
    assert only.advantage_N.tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("advantage", sorted({*available()} - {"unbaselined"}))
def test_every_advantage_of_a_recipe_gives_zero_where_there_is_no_signal(advantage):
    for silent in (
        group((5, RIGHT)),
        group((5, RIGHT), (6, RIGHT)),
        group((5, WRONG), (50, WRONG)),
    ):
        assert not shaped(silent, advantage=advantage).advantage_N.any()


def test_only_the_best_of_a_group_reach_the_loss_and_its_mean():
    # kept: the two shortest, 5 right and 5 wrong: rewards 1 0, mean 1/2, std 1/2
    only = shaped(FOUR, keep_best=2)
    assert only.keep_N.tolist() == [True, False, True, False]
    assert only.advantage_N.tolist() == [1, 0, -1, 0]


def test_an_ungraded_rollout_takes_no_place_among_the_best():
    only = shaped(group((2, NONE), (5, RIGHT), (6, WRONG), (7, WRONG)), keep_best=2)
    assert only.keep_N.tolist() == [False, True, True, False]


def test_groups_are_dropped_by_correctness_and_not_by_their_shaped_reward():
    # all right, one of them too long: the reward differs, the verifier's word does not
    all_right = group((5, RIGHT), (15, RIGHT))
    # right and wrong, and yet all rewards are zero: too long
    mixed = group((15, RIGHT), (15, WRONG))
    kept = shaped(all_right, mixed)
    assert kept.advantage_N[:2].any()
    assert not kept.dropped_P.any()
    dropped = shaped(all_right, mixed, drop_silent=True)
    assert dropped.dropped_P.tolist() == [True, False]
    assert not dropped.advantage_N.any()
    assert dropped.keep_N.tolist() == [False, False, True, True]
    assert dropped.reward_N.tolist() == [1, 0, 0, 0]


def test_a_cut_right_answer_is_a_signal_only_where_unfinished_ones_are_paid():
    cut = group((10, RIGHT, Finish.LENGTH), (5, WRONG))
    assert shaped(cut, drop_silent=True).dropped_P.all()
    assert not shaped(cut, drop_silent=True, pay_unfinished=True).dropped_P.any()


def test_an_ungraded_rollout_is_not_the_wrong_one_that_makes_a_signal():
    assert shaped(group((5, RIGHT), (5, NONE)), drop_silent=True).dropped_P.all()


@pytest.mark.parametrize("scope", list(MaskScope))
def test_dropped_groups_have_no_part_in_the_std_of_the_batch(scope):
    signal, silent = group((5, RIGHT), (5, WRONG)), group((5, WRONG), (5, WRONG))
    settings = {"advantage": "batch_normalised", "mask_scope": scope}
    alone = shaped(signal, **settings)
    with_silent = shaped(silent, signal, silent, drop_silent=True, **settings)
    assert alone.advantage_N.tolist() == [1, -1]
    assert with_silent.advantage_N.tolist() == [0, 0, 1, -1, 0, 0]


def test_a_step_whose_groups_are_all_dropped_has_no_advantages():
    made = shaped(group((5, WRONG), (5, WRONG)), drop_silent=True)
    assert made.dropped_P.all()
    assert made.advantage_N.tolist() == [0, 0]


def test_golden_decoupled_advantages_add_up_two_unit_terms():
    # lengths 5 15 5 15, target 10: truncation pays 1 0 0 0; correctness 1 1 0 0 -> 1 1 -1 -1;
    # the rest 0 -1 0 0: mean -1/4, std sqrt(3)/4 -> 1/sqrt(3), -sqrt(3), 1/sqrt(3), 1/sqrt(3)
    only = shaped(FOUR, advantage="decoupled")
    a, b = 3**-0.5, 3**0.5
    assert only.advantage_N == pytest.approx([1 + a, 1 - b, -1 + a, -1 + a])
    half = shaped(FOUR, advantage="decoupled", advantage_parameters={"length_weight": 0.5})
    assert half.advantage_N == pytest.approx([1 + a / 2, 1 - b / 2, -1 + a / 2, -1 + a / 2])


def test_scaled_decoupled_advantages_have_unit_size():
    made = shaped(
        FOUR,
        group((5, RIGHT), (5, NONE), (15, RIGHT)),
        advantage="decoupled",
        advantage_parameters={"scaled": True},
    )
    kept = made.advantage_N[made.keep_N]
    assert np.sqrt((kept**2).mean()) == pytest.approx(1)


def test_what_a_reward_may_see_is_filled_in():
    rows = ((5, RIGHT), (6, NONE), (7, WRONG, Finish.LENGTH))
    graded_G, seen = view(group(*rows, reference_tokens=40.0, reference_accuracy=0.5))
    assert graded_G.tolist() == [True, False, True]
    assert seen.tokens_G.tolist() == [5, 7]
    assert (seen.reference_tokens, seen.reference_accuracy) == (40.0, 0.5)
    assert seen.thought_G.tolist() == [True, True]
    assert seen.problem == "p"


def test_target_weight_and_cap_reach_the_reward(monkeypatch):
    told = []

    def spy(g):
        told.extend(np.broadcast(g.target_tokens, g.weight, g.cap_tokens))
        return np.zeros(g.tokens_G.shape)

    monkeypatch.setattr(rewards, "load", lambda name: spy)
    shaped(FOUR, FOUR, target=10.0, weight=0.1, cap_tokens=7.0)
    assert told == [(10.0, 0.1, 7.0)] * 2


def test_a_step_is_shaped_by_its_target_which_moves_with_its_state():
    # The least right length so far is 5; of the next step's right ones, 15 is longer than that.
    shaping = Shaping(reward="truncation", parameters={}, target="history_minimum")
    first = shape_step(shaping, [view(FOUR)], {})
    second = shape_step(shaping, [view(group((15, RIGHT), (5, RIGHT)))], first.target.state)
    assert second.target.tokens_P.tolist() == [5]
    assert second.reward_N.tolist() == [0, 1]
    untargeted = shape_step(Shaping(reward="kimi", parameters={}), [view(FOUR)], {"kept": 1})
    assert np.isnan(untargeted.target.tokens_P).all()
    assert untargeted.target.state == {"kept": 1}


def test_rows_weigh_by_their_own_group_and_masked_ones_nothing():
    made = shaped(FOUR, group((4, RIGHT), (6, WRONG)), cells=NO_WRONG)
    tokens_N = np.array([5, 15, 5, 15, 4, 6])
    weighed = weigh(made, tokens_N, prompt_mean)
    # kept: 5 and 15 of the first prompt, 4 of the second; two prompts
    assert weighed.weight_B == pytest.approx([1 / 20, 1 / 20, 0, 0, 1 / 4, 0])
    assert weighed.denominator == 2
    # nothing is kept: nothing weighs, and the sum of nothing can still be divided
    silent = shaped(group((5, WRONG), (5, WRONG)), drop_silent=True)
    assert weigh(silent, np.array([5, 5]), prompt_mean).weight_B.tolist() == [0, 0]
    assert weigh(silent, np.array([5, 5]), prompt_mean).denominator == 1


@pytest.mark.parametrize("name", rewards.available())
def test_every_reward_can_be_paid_to_a_real_group(name):
    whole = group(
        (5, RIGHT),
        (15, RIGHT),
        (9, WRONG),
        (20, WRONG, Finish.LENGTH),
        reference_tokens=12.0,
        reference_accuracy=0.5,
    )
    only = shaped(whole, reward=name, cap_tokens=20.0, weight=1e-3)
    assert np.isfinite(only.reward_N).all()
    assert np.isfinite(only.advantage_N).all()


def recipe(**changes):
    settings = {
        "sampling": {"prompts_per_step": 4, "samples_per_prompt": 4, "cap_tokens": 50},
        "reward": {"name": "truncation"},
        "target": {"name": "fixed", "tokens": 30},
        "learner": {"steps": 2, "learning_rate": 1e-3},
        "evaluation": {"every_steps": 2, "samples": 2, "budgets": [50]},
        **changes,
    }
    return check_recipe({key: value for key, value in settings.items() if value is not None})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": None}, "reward truncation needs target_tokens, and the recipe has no target"),
        (
            {"reward": {"name": "a_dlp"}},
            "reward a_dlp needs weight, which target fixed does not give; "
            "use one of accuracy_control, dual_weight",
        ),
        (
            {"target": {"name": "dual_weight", "accuracy": 0.5}},
            "reward truncation needs target_tokens, which target dual_weight does not give",
        ),
        (
            {"treatment": {"cells": "all"}},
            "no strategy 'all'; .*vanilla, no-wrong",
        ),
        (
            {"treatment": {"cells": "no-wrong"}, "reward": {"name": "kimi"}},
            "treats cells of the truncation reward, but the reward is kimi",
        ),
        (
            {"treatment": {"cells": dict.fromkeys(("correct_long", *WRONG_CELLS), "masked")}},
            "all wrong rollouts and the overlong correct ones are masked.*the trap",
        ),
        ({"treatment": {"cells": {"long": "masked"}}}, "no recipe key 'treatment.cells"),
        (
            {"treatment": {"cells": {"wrong_long": "hidden"}}},
            "a number or \"masked\", not 'hidden'",
        ),
        ({"treatment": {"cells": {"wrong_long": -1e300}}}, r"-1e\+300 is above 1e\+12 in size"),
        ({"treatment": {"cells": {"wrong_long": 10**400}}}, "0... is above 1e\\+12 in size"),
        ({"treatment": {"unfinished": "maybe"}}, "treatment.unfinished = 'maybe'"),
        ({"advantage": {"name": "none"}}, "no advantage 'none'; choose one of batch_normalised"),
        (
            {"target": {"name": "staged", "tokens": [60, 20], "every_steps": 5}},
            r"target.tokens = 60 \(L_T\) exceeds sampling.cap_tokens = 50",
        ),
        (
            {"target": {"name": "decaying", "start_tokens": 60, "factor": 0.5, "every_steps": 5}},
            r"target.start_tokens = 60 \(L_T\) exceeds sampling.cap_tokens = 50",
        ),
        (
            {"reward": {"name": "a_dlp"}, "target": None},
            "one of accuracy_control, dual_weight for its name",
        ),
        ({"reward": {"name": "kimi", "alpha": 3.0}}, "reward.alpha = 3 is above 2"),
        ({"reward": {"name": "kimi", "beta": 3.0}}, "no parameter 'beta' of the reward kimi"),
        ({"advantage": {"name": "decoupled", "weight": 1}}, "choose one of length_weight, scaled"),
        ({"advantage": {"name": "decoupled", "length_weight": -1.0}}, r"is not in \[0, inf\)"),
        ({"filter": {"name": "gfpo", "keep": 4}}, "filter.keep = 4 keeps all of"),
        ({"filter": {"name": "gfpo", "keep": 2, "by": "length"}}, "shortest, reward_per_tok"),
        ({"loss": {"name": "dpo"}}, "no loss 'dpo'; choose one of cispo"),
        ({"loss": {"name": "gspo", "dual_clip": 3.0}}, "loss.dual_clip = 3 is a bound of ppo_clip"),
        (
            {"loss": {"dual_clip": 1.0}},
            "loss.dual_clip = 1.0 is not above 1; set loss.dual_clip > 1",
        ),
        ({"loss": {"kl_coef": 0.1}}, "loss.kl_coef = 0.1 weighs no estimator; set loss.kl"),
        ({"loss": {"kl": "k1", "kl_coef": 0.1}}, "its expected gradient is zero; set loss.kl"),
        (
            {
                "sampling": {
                    "prompts_per_step": 4,
                    "samples_per_prompt": 4,
                    "cap_tokens": 50,
                    "engine": "vllm",
                    "dtype": "bfloat16",
                }
            },
            "sampling.dtype = 'bfloat16' is of the local engine",
        ),
        ({"loss": {"importance_cap": 0.5}}, "is below 1; set loss.importance_cap >= 1"),
        ({"loss": {"clip": 0.5}}, "no recipe key 'loss.clip'; did you mean 'loss.clip_low'"),
        ({"sampling": {"without_signal": "drop"}}, "sampling.prompts_per_step is missing"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        recipe(**changes)


def test_a_reward_without_a_target_needs_none():
    assert recipe(reward={"name": "kimi"}, target=None).target is None
    recipe(reward={"name": "a_dlp"}, target={"name": "dual_weight", "accuracy": 0.5})


def test_a_table_of_ones_own_is_what_the_loss_sees():
    cells = {"wrong_short": -1.0, "correct_long": "masked"}
    shaping = shaping_of(recipe(treatment={"cells": cells}))
    assert shaping.cells == Cells(1.0, None, -1.0, 0.0)
    only = shape(shaping, [view(FOUR)], targets.Target(np.array([10.0]), {}))
    assert only.keep_N.tolist() == [True, False, True, True]
    assert only.reward_N.tolist() == [1, 0, -1, 0]


def words(ids):
    """The text of each token: the thinking takes three, the answer two, and the stop token one."""
    told = ["<think>", "x", "</think>", "\\boxed{1}", " and more", "<eos>"]
    return told[: len(ids)]


def test_views_hold_the_parts_of_every_graded_rollout():
    made = group((6, RIGHT), (6, NONE), (5, WRONG), (2, WRONG, Finish.LENGTH))
    columns = columns_of(made, words)
    assert columns.thinking_tokens == [3, 3, 3, 2]
    assert columns.answer_tokens == [4, None, None, None]
    seen = graded_view(made.problem, columns, pay_unfinished=False).view
    assert seen.thinking_G.tolist() == [3, 3, 2]
    # Before a right answer stands all of a wrong rollout.
    assert seen.first_right_G.tolist() == [4, 5, 2]


def test_views_without_the_text_of_tokens_have_no_parts():
    seen = graded_view(FOUR.problem, columns_of(FOUR), pay_unfinished=False).view
    assert seen.thinking_G is None
    assert seen.first_right_G is None


def test_parts_move_with_their_rollouts():
    made = group((6, RIGHT), (5, RIGHT), (4, WRONG), (2, WRONG))
    seen = graded_view(made.problem, columns_of(made, words), pay_unfinished=False).view
    order = [2, 0, 3, 1]
    turned = Group(
        problem=made.problem,
        rollouts=tuple(made.rollouts[n] for n in order),
        verdicts=tuple(made.verdicts[n] for n in order),
    )
    again = graded_view(made.problem, columns_of(turned, words), pay_unfinished=False).view
    assert again.thinking_G.tolist() == seen.thinking_G[order].tolist()
    assert again.first_right_G.tolist() == seen.first_right_G[order].tolist()
