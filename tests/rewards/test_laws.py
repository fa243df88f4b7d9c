"""Laws that every reward obeys; a new file is found and tested without a word here."""

import pickle
from functools import cache
from typing import get_args

import numpy as np
import pytest

from tersely.algo.masks import VANILLA, treat
from tersely.core.errors import ConfigError
from tersely.core.lookup import parameters
from tersely.core.stacks import stacks, whole
from tersely.core.types import GroupView
from tersely.rewards import Trait, available, check, exceptions, load, needs, takes, traits

SEEDS = range(40)
OPTIONAL = (
    "target_tokens",
    "cap_tokens",
    "weight",
    "reference_tokens",
    "reference_accuracy",
    "thought_G",
    "thinking_G",
)
VALUES = (-1.0, -0.5, 0.0, 0.001, 0.05, 0.4, 0.5, 1.0, 2.0, 5.0)
every_reward = pytest.mark.parametrize("name", available())


@cache
def random_group(seed: int) -> GroupView:
    """Any group: of one, all wrong, all right, few distinct lengths, cut rollouts read as right."""
    rng = np.random.default_rng(seed)
    samples = int(rng.choice([1, 2, 3, 5, 8, 16, 24]))
    lengths = rng.integers(1, rng.choice([4, 60, 200, 20_000]), size=rng.choice([1, 3, 6, 24]))
    tokens_G = rng.choice(lengths, samples)
    finished_G = rng.random(samples) < 0.8
    formatted_G = rng.random(samples) < 0.9
    g = GroupView(
        correct_G=formatted_G & (rng.random(samples) < rng.choice([0.0, 0.3, 0.7, 1.0])),
        tokens_G=tokens_G,
        finished_G=finished_G,
        formatted_G=formatted_G,
        target_tokens=float(rng.uniform(0.3, 1.3) * tokens_G.max()),
        cap_tokens=float(tokens_G.max() + rng.choice([0, 1, 500])),
        weight=float(rng.random()),
        reference_tokens=float(rng.uniform(1.0, 2.0) * tokens_G.mean()),
        reference_accuracy=float(rng.random()),
        thought_G=rng.random(samples) < 0.5,
        pay_unfinished=bool(rng.random() < 0.2),
        thinking_G=rng.integers(0, tokens_G + 1),
    )
    for array in arrays(g).values():
        array.flags.writeable = False
    return g


def varied_group() -> GroupView:
    """The first random group with right answers of several lengths and a wrong one."""
    groups = (random_group(seed) for seed in SEEDS)
    return next(g for g in groups if len(set(g.tokens_G[g.right_G])) > 2 and not g.right_G.all())


def solved_group() -> GroupView:
    """Right answers of one length but for one that is far longer, as no random group has them."""
    g = take(varied_group(), np.zeros(24, dtype=np.int64))
    everyone_G = np.ones(24, dtype=np.bool_)
    return g._replace(
        correct_G=everyone_G,
        finished_G=everyone_G,
        tokens_G=np.array([100] * 23 + [5000]),
        cap_tokens=6000.0,
        target_tokens=6000.0,
    )


@cache
def random_settings(name: str, seed: int) -> dict[str, float | int]:
    """Settings that the reward's own bounds let pass; the laws must hold under all of them."""
    rng = np.random.default_rng(seed)
    for _ in range(50):
        settings: dict[str, float | int] = {
            key: int(rng.integers(-5, 5000)) if kind is int else float(rng.choice(VALUES))
            for key, kind in numbers(name).items()
            if rng.random() < 0.6
        }
        try:
            check(name, settings)
        except ConfigError:
            continue
        return settings
    return {}


@cache
def numbers(name: str) -> dict[str, type]:
    """The settings of a reward that are numbers, with their types."""
    kinds = {
        key: (get_args(parameter.annotation) or [parameter.annotation])[0]
        for key, parameter in parameters(load(name)).items()
    }
    return {key: kind for key, kind in kinds.items() if kind in (int, float)}


def take(g: GroupView, order: np.ndarray) -> GroupView:
    rollouts = {key: array[order] for key, array in arrays(g).items()}
    return g._replace(**rollouts)


def arrays(g: GroupView) -> dict[str, np.ndarray]:
    return {key: value for key, value in g._asdict().items() if isinstance(value, np.ndarray)}


def underpaid_right(g: GroupView, reward_G: np.ndarray) -> bool:
    """Whether a right rollout gets less than a wrong one of its length."""
    return any(
        reward_G[g.right_G & same_G].min() < reward_G[~g.right_G & same_G].max() - slack(reward_G)
        for same_G in (g.tokens_G == tokens for tokens in np.unique(g.tokens_G))
        if (g.right_G & same_G).any() and (~g.right_G & same_G).any()
    )


def overpaid_long(g: GroupView, reward_G: np.ndarray) -> bool:
    """Whether, of two right rollouts, the longer gets more."""
    tokens_R, reward_R = g.tokens_G[g.right_G], reward_G[g.right_G]
    longer_RR = tokens_R[:, None] > tokens_R
    return bool((longer_RR & (reward_R[:, None] > reward_R + slack(reward_G))).any())


def slack(reward_G: np.ndarray) -> float:
    return 1e-9 * float(1.0 + np.abs(reward_G).max())


LAWS = {"correct_pays_no_less": underpaid_right, "shorter_pays_no_less": overpaid_long}
every_law = pytest.mark.parametrize("law", LAWS)


@every_reward
def test_a_step_paid_at_once_is_its_groups_paid_one_by_one(name: str) -> None:
    # Groups of one to 24 rollouts, all right, all wrong and mixed; numbers differ between groups.
    views = [random_group(seed) for seed in range(120)]
    sizes_P = np.array([len(view.tokens_G) for view in views])
    for settings in ({}, random_settings(name, 1)):
        one_by_one_N = np.concatenate([load(name)(view, **settings) for view in views])
        at_once_N = np.full(sizes_P.sum(), np.nan)
        for rows, g in stacks(sizes_P, whole(views)):
            at_once_N[rows] = load(name)(g, **settings)
        np.testing.assert_allclose(at_once_N, one_by_one_N, rtol=1e-12, atol=1e-12)


@every_reward
def test_one_finite_float_for_each_rollout(name: str) -> None:
    for seed in SEEDS:
        g = random_group(seed)
        reward_G = load(name)(g, **random_settings(name, seed))
        assert reward_G.shape == g.correct_G.shape
        assert reward_G.dtype == np.float64
        assert np.isfinite(reward_G).all()


@every_reward
def test_reordering_the_group_reorders_the_reward(name: str) -> None:
    for seed in SEEDS:
        g = random_group(seed)
        order = np.random.default_rng(seed + 1000).permutation(len(g.tokens_G))
        expected_G = load(name)(g)[order]
        np.testing.assert_allclose(load(name)(take(g, order)), expected_G, rtol=1e-9, atol=1e-12)


@every_reward
def test_depends_only_on_the_group(name: str) -> None:
    reward, g = load(name), varied_group()
    before_G = reward(g)
    # Lengths that no other group here has, so that a memory of lengths shows.
    longest = g._replace(tokens_G=g.tokens_G + 10**7, cap_tokens=1e8, target_tokens=1e8)
    for seen in (longest, longest._replace(correct_G=~g.correct_G), random_group(4)):
        reward(seen)
    np.testing.assert_array_equal(reward(g), before_G)


@every_reward
@pytest.mark.parametrize("field", OPTIONAL)
def test_what_a_reward_does_not_declare_it_does_not_see(name: str, field: str) -> None:
    if field in needs(name) | takes(name):
        return
    for seed in SEEDS:
        g, other = random_group(seed), random_group(seed + 1000)
        # as long as the group
        other = other._replace(thought_G=~g.thought_G, thinking_G=g.tokens_G - g.thinking_G)
        changed = g._replace(**{field: getattr(other, field)})
        np.testing.assert_array_equal(load(name)(changed), load(name)(g))


@every_reward
def test_leaves_its_input_alone_and_returns_its_own_array(name: str) -> None:
    for seed in SEEDS:
        g = random_group(seed)
        writable = g._replace(**{key: array.copy() for key, array in arrays(g).items()})
        reward_G = load(name)(writable, **random_settings(name, seed))
        assert reward_G.flags.writeable
        for key, array in arrays(writable).items():
            np.testing.assert_array_equal(array, arrays(g)[key])
            assert not np.shares_memory(reward_G, array)


@every_reward
def test_survives_pickling(name: str) -> None:
    g = varied_group()
    again = pickle.loads(pickle.dumps(load(name)))
    np.testing.assert_array_equal(again(g), load(name)(g))


@every_law
@every_reward
def test_keeps_the_law_under_all_settings_that_it_accepts(name: str, law: str) -> None:
    if law in exceptions(name):
        return
    for seed in SEEDS:
        g, settings = random_group(seed), random_settings(name, seed)
        assert not LAWS[law](g, load(name)(g, **settings)), (g, settings)


@every_reward
def test_a_declared_exception_is_a_law_that_some_group_sees_broken(name: str) -> None:
    for law, source in exceptions(name).items():
        groups = [random_group(seed) for seed in SEEDS]
        assert any(LAWS[law](g, load(name)(g)) for g in groups), f"{law} is never broken"
        assert "arXiv:" in source


@every_reward
def test_one_that_pays_few_kinds_pays_each_rollout_by_itself(name: str) -> None:
    if Trait.FEW_KINDS not in traits(name):
        return
    paid: set[float] = set()
    for seed in SEEDS:
        g = random_group(seed)
        alone_G = [float(load(name)(take(g, np.array([i])))[0]) for i in range(len(g.tokens_G))]
        np.testing.assert_array_equal(load(name)(g), alone_G)
        paid |= set(alone_G)
    assert len(paid) <= 5


@every_reward
def test_nothing_is_paid_beyond_the_target_where_it_says_so_and_only_there(name: str) -> None:
    groups = [random_group(seed) for seed in SEEDS]
    nothing = all(not load(name)(g)[g.tokens_G > g.target_tokens].any() for g in groups)
    assert nothing == (Trait.NOTHING_BEYOND_TARGET in traits(name))


@every_reward
def test_right_ones_are_paid_alike_and_wrong_ones_too_where_it_says_so_and_only_there(
    name: str,
) -> None:
    alike = True
    for g in (*map(random_group, SEEDS), solved_group()):
        reward_G = load(name)(g)
        alike &= all(len(set(reward_G[each_G])) <= 1 for each_G in (g.right_G, ~g.right_G))
    assert alike == (Trait.VERDICT_ONLY in traits(name))


@every_reward
def test_the_cells_that_a_recipe_may_pay_otherwise_are_the_ones_it_pays(name: str) -> None:
    for g in map(random_group, SEEDS if Trait.CELLS in traits(name) else ()):
        np.testing.assert_array_equal(treat(g, VANILLA).reward_G, load(name)(g))


@every_reward
def test_a_default_is_within_its_bounds(name: str) -> None:
    check(name, {key: parameter.default for key, parameter in parameters(load(name)).items()})


@every_reward
def test_a_cut_rollout_is_wrong_whatever_was_read_off_it(name: str) -> None:
    for seed in SEEDS:
        g = random_group(seed)._replace(pay_unfinished=False)
        flipped = g._replace(correct_G=g.correct_G ^ ~g.finished_G)
        np.testing.assert_array_equal(load(name)(flipped), load(name)(g))


@every_reward
def test_a_cut_rollout_read_as_right_is_right_where_the_recipe_pays_it(name: str) -> None:
    reward = load(name)
    for seed in SEEDS:
        g = random_group(seed)
        # Short of the cap, so that no rule about reaching it applies.
        g = g._replace(pay_unfinished=True, cap_tokens=g.tokens_G.max() + 100.0)
        ended = g._replace(finished_G=g.finished_G | g.correct_G)
        np.testing.assert_array_equal(reward(g), reward(ended))


@every_reward
def test_refuses_a_group_that_lacks_what_it_needs_and_misses_nothing_else(name: str) -> None:
    g = varied_group()
    assert needs(name) <= set(OPTIONAL)
    missing = {key: None if key.endswith("_G") else np.nan for key in OPTIONAL}
    for field in needs(name):
        with pytest.raises(ValueError, match=f"needs {field}"):
            load(name)(g._replace(**{field: missing[field]}))
    bare = g._replace(**{key: missing[key] for key in set(OPTIONAL) - needs(name)})
    assert np.isfinite(load(name)(bare)).all()


@every_reward
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("target_tokens", 0.0),
        ("cap_tokens", -1.0),
        ("reference_tokens", 0.0),
        ("weight", -0.1),
        ("reference_accuracy", 1.5),
    ],
)
def test_refuses_impossible_values_of_what_it_needs(name: str, field: str, value: float) -> None:
    if field in needs(name):
        with pytest.raises(ValueError, match=field):
            load(name)(varied_group()._replace(**{field: value}))


@every_reward
@pytest.mark.parametrize("field", ["target_tokens", "cap_tokens"])
def test_an_infinite_limit_gives_finite_pay_or_is_refused(name: str, field: str) -> None:
    for seed in SEEDS:
        g = random_group(seed)._replace(**{field: np.inf})
        try:
            assert np.isfinite(load(name)(g, **random_settings(name, seed))).all()
        except ValueError as error:
            if f"needs a finite {field}" not in str(error):
                raise


@every_reward
def test_every_number_has_a_bound_that_is_checked_before_the_run(name: str) -> None:
    for key, kind in numbers(name).items():
        far: list[float | int] = [-(10**9), 10**9] if kind is int else [-1e9, 1e9]
        refused = 0
        for value in far:
            try:
                check(name, {key: value})
            except ConfigError as error:
                refused += "; set " in str(error)
        assert refused, f"{name}.{key} has no bound"
        if kind is float:
            with pytest.raises(ConfigError, match=rf"^reward\.{key} = nan "):
                check(name, {key: float("nan")})


@every_reward
def test_a_recipe_needs_no_more_than_the_name(name: str) -> None:
    check(name, {})


def test_an_unknown_reward_lists_the_known_ones() -> None:
    for question in (load, needs, exceptions):
        with pytest.raises(ConfigError, match=r"no reward 'nope'; choose one of .*correctness, "):
            question("nope")


def test_a_setting_that_the_reward_does_not_have_is_refused_before_the_run() -> None:
    check("truncation", {})
    with pytest.raises(
        ConfigError, match="no parameter 'alpha' of the reward truncation; there are none"
    ):
        check("truncation", {"alpha": 1})


def test_an_out_of_bounds_setting_names_value_bound_and_fix() -> None:
    check("kimi", {"alpha": 1})
    with pytest.raises(ConfigError, match=r"^reward.alpha = -1 is below 0; set reward.alpha >= 0$"):
        check("kimi", {"alpha": -1})
    with pytest.raises(ConfigError, match=r"^reward.alpha = 3 is above 2; set reward.alpha <= 2$"):
        check("kimi", {"alpha": 3.0})
    with pytest.raises(ConfigError, match=r"^reward.alpha = inf is not finite; set a number$"):
        check("laser", {"alpha": float("inf")})
