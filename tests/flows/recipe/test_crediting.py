"""From a recipe's ``[credit]`` to advantages of tokens, and what does not go together with it."""

import numpy as np
import pytest

from tersely.core.errors import ConfigError, EngineError
from tersely.core.types import GroupView
from tersely.flows.recipe.crediting import credited
from tersely.flows.recipe.recipe import as_toml, check_recipe
from tersely.flows.recipe.shaping import GradedView, shape_step, shaping_of
from tersely.flows.verl.settings import check_supported

PLAIN = {
    "sampling": {"prompts_per_step": 2, "samples_per_prompt": 4, "cap_tokens": 20},
    "reward": {"name": "correctness"},
    "learner": {"steps": 1, "learning_rate": 1e-4},
    "evaluation": {"every_steps": 1, "samples": 1, "budgets": [20]},
}


def recipe(**changes):
    return check_recipe({**PLAIN, **changes})


def views(*, ungraded=False):
    """Two groups of a right rollout of 8 tokens, right at 3 and thinking to 6, and wrong ones."""
    view = GroupView(
        correct_G=np.array([True, False, False]),
        tokens_G=np.array([8, 5, 6]),
        finished_G=np.array([True, True, True]),
        formatted_G=np.array([True, True, True]),
        thinking_G=np.array([6, 2, 6]),
        first_right_G=np.array([3, 5, 6]),
        problem="p",
    )
    graded_G = np.array([True, True, True, True])
    graded_G[1] = False
    if not ungraded:
        graded_G = graded_G[graded_G]
    return [GradedView(graded_G, view)] * 2


def tokens_of(recipe, views):
    shaping = shaping_of(recipe)
    return credited(shaping, views, shape_step(shaping, views, {}))


def test_without_the_section_nothing_is_credited_and_the_recipe_says_nothing_of_it():
    assert tokens_of(recipe(), views()).token_advantages is None
    assert "credit" not in as_toml(recipe())


def test_the_tokens_between_answer_and_end_of_thinking_are_credited_apart():
    # Advantages of 1 right in 3: sqrt(2), and -sqrt(1/2) twice. Excess: tokens 3 and 4; the mark
    # at 5 and the reply keep theirs.
    made = tokens_of(recipe(credit={"name": "after_right", "share": 0.5}), views())
    high, low = np.sqrt(2), -np.sqrt(1 / 2)
    wanted = [high] * 3 + [high / 2] * 2 + [high] * 3
    for group in (0, 3):
        np.testing.assert_allclose(made.token_advantages[group], wanted)
        np.testing.assert_allclose(made.token_advantages[group + 1], [low] * 5)
    np.testing.assert_allclose(made.advantage_N, [high, low, low] * 2)


def test_an_ungraded_rollout_has_no_tokens_and_moves_no_others():
    rule = recipe(credit={"name": "after_right"})
    plain, some = tokens_of(rule, views()), tokens_of(rule, views(ungraded=True))
    assert [len(each) for each in some.token_advantages] == [8, 0, 5, 6] * 2
    np.testing.assert_array_equal(some.token_advantages[2], plain.token_advantages[1])


def test_dropped_groups_and_masked_rollouts_teach_nothing():
    right = views()[0].view._replace(correct_G=np.ones(3, dtype=bool))
    silent = [GradedView(np.ones(3, dtype=bool), right)]
    sampling = {**PLAIN["sampling"], "without_signal": "drop"}
    for name in ("after_right", "decs"):
        made = tokens_of(recipe(credit={"name": name}, sampling=sampling), silent)
        assert not any(each.any() for each in made.token_advantages)
    kept = tokens_of(recipe(credit={"name": "decs"}), silent)
    assert any(each.any() for each in kept.token_advantages)


def test_where_nobody_knows_the_place_it_is_an_error_of_one_line():
    (each, _) = views()
    unknown = [each._replace(view=each.view._replace(first_right_G=None))]
    with pytest.raises(EngineError, match=r"first_right_G of problem 'p', which was not counted"):
        tokens_of(recipe(credit={"name": "after_right"}), unknown)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"credit": {"name": "nope"}}, "there is no credit rule 'nope'; choose one of after_right"),
        ({"credit": {"name": "after_right", "share": 2}}, "credit.share = 2 is above 1"),
        (
            {"credit": {"name": "after_right"}, "loss": {"name": "gspo"}},
            "loss.name = 'gspo' has one ratio for the whole rollout; set loss.name to one of cispo",
        ),
        ({"credit": {"name": "decs"}, "loss": {"name": "gmpo"}}, "loss.name = 'gmpo' has one"),
        (
            {"credit": {"name": "decs"}, "reward": {"name": "kimi"}},
            "reward.name = 'kimi' would not be learned from; set reward.name = \"correctness\"",
        ),
        (
            {"credit": {"name": "decs"}, "advantage": {"name": "leave_one_out"}},
            "advantage.name = 'leave_one_out' would have no effect",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(changes, message):
    with pytest.raises(ConfigError) as raised:
        recipe(**changes)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_verl_refuses_it_by_name():
    asked = recipe(credit={"name": "after_right"}, loss={"importance_cap": 2.0})
    with pytest.raises(ConfigError, match=r"verl cannot do \[credit\]: it tells its estimator"):
        check_supported(asked, gpus=1)
