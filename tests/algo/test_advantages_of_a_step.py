"""All groups of a step at once against one group at a time, and what looks across groups."""

import math
from inspect import signature

import numpy as np
import pytest

from tersely.algo import advantages
from tersely.algo.advantages import MaskScope
from tersely.algo.advantages.batch_normalised import batch_normalised
from tersely.algo.advantages.difficulty_reweighted import difficulty_reweighted
from tersely.algo.advantages.group_normalised import group_normalised
from tersely.algo.centring import batch_scaled
from tersely.algo.ragged import Ragged
from tersely.core.errors import ConfigError

# What looks across groups is not its groups one by one.
ACROSS = ["batch_normalised"]
every_advantage = pytest.mark.parametrize("name", advantages.available())


def random_batch(seed: int, *, groups: int = 40) -> tuple[np.ndarray, np.ndarray, Ragged]:
    """Groups of 0 to 8, of which many are silent, single, wholly masked or partly ungraded."""
    rng = np.random.default_rng(seed)
    layout = Ragged(rng.integers(0, 9, groups))
    kind_N = layout.spread(rng.integers(0, 4, groups))
    rewards_N = rng.integers(-1, 3, layout.rollouts) / 2
    rewards_N = np.where(kind_N == 0, 0.3, rewards_N - 1e-4 * rng.random(layout.rollouts))
    keep_N = (rng.random(layout.rollouts) < 0.8) & (kind_N != 1)
    rewards_N[~keep_N & (rng.random(layout.rollouts) < 0.3)] = np.nan
    return rewards_N, keep_N, layout


def given(name: str, layout: Ragged) -> dict[str, np.ndarray]:
    """What the flow hands to the advantage: which rollouts are right."""
    if "right_N" not in signature(advantages.load(name)).parameters:
        return {}
    return {"right_N": np.random.default_rng(7).random(layout.rollouts) < 0.5}


def one_by_one(function, rewards_N, keep_N, layout, right_N=None, **settings) -> np.ndarray:
    parts = []
    for place, (rewards_G, keep_G) in enumerate(
        zip(layout.split(rewards_N), layout.split(keep_N), strict=True)
    ):
        own = {} if right_N is None else {"right_N": layout.split(right_N)[place]}
        parts.append(
            function(rewards_G, keep_G, Ragged(np.array([len(rewards_G)])), **own, **settings)
        )
    return np.concatenate(parts)


@pytest.mark.parametrize("scope", MaskScope)
@pytest.mark.parametrize("name", sorted({*advantages.available()} - {*ACROSS}))
@pytest.mark.parametrize("seed", range(5))
def test_a_step_is_its_groups_one_by_one(name: str, scope: MaskScope, seed: int) -> None:
    rewards_N, keep_N, layout = random_batch(seed)
    function, own = advantages.load(name), given(name, layout)
    adv_N = function(rewards_N, keep_N, layout, **own, mask_scope=scope)
    expected_N = one_by_one(function, rewards_N, keep_N, layout, **own, mask_scope=scope)
    np.testing.assert_allclose(adv_N, expected_N, rtol=1e-9, atol=1e-12)
    assert not adv_N[~keep_N].any()


def test_difficulty_of_positive_advantages_only_is_that_of_its_groups() -> None:
    batch, layout = random_batch(7), random_batch(7)[2]
    settings = {**given("difficulty_reweighted", layout), "positive_only": True}
    np.testing.assert_allclose(
        difficulty_reweighted(*batch, **settings),
        one_by_one(difficulty_reweighted, *batch, **settings),
        rtol=1e-9,
        atol=1e-12,
    )


def test_an_advantage_is_found_by_its_name_and_its_settings_are_checked() -> None:
    listed = ", ".join(advantages.available())
    with pytest.raises(ConfigError, match=f"no advantage 'nope'; choose one of {listed}"):
        advantages.check("nope", {})
    with pytest.raises(
        ConfigError, match=r"there is no parameter 'x' of the advantage group_centred"
    ):
        advantages.check("group_centred", {"x": 1})
    for name in advantages.available():
        advantages.check(name, {})


def naive_batch_normalised(
    groups: list[list[float]], keeps: list[list[bool]], scope: MaskScope
) -> list[float]:
    """Rollout by rollout, in plain Python."""
    gaps, counts, kept_flat = [], [], []
    for rewards, keep in zip(groups, keeps, strict=True):
        counted = [
            kept if scope is MaskScope.EVERYWHERE else math.isfinite(r)
            for r, kept in zip(rewards, keep, strict=True)
        ]
        seen = [r for r, c in zip(rewards, counted, strict=True) if c]
        for r, c, kept in zip(rewards, counted, keep, strict=True):
            gaps.append(r - sum(seen) / len(seen) if c and max(seen) > min(seen) else 0.0)
            counts.append(c)
            kept_flat.append(kept)
    std = math.sqrt(sum(g * g for g in gaps) / sum(counts))
    return [g / std if kept else 0.0 for g, kept in zip(gaps, kept_flat, strict=True)]


@pytest.mark.parametrize("scope", MaskScope)
@pytest.mark.parametrize("seed", range(5))
def test_batch_normalised_agrees_with_the_naive_implementation(seed: int, scope) -> None:
    rewards_N, keep_N, layout = random_batch(seed)
    expected = naive_batch_normalised(
        [r.tolist() for r in layout.split(rewards_N)],
        [k.tolist() for k in layout.split(keep_N)],
        scope,
    )
    adv_N = batch_normalised(rewards_N, keep_N, layout, mask_scope=scope)
    np.testing.assert_allclose(adv_N, expected, rtol=1e-9, atol=1e-12)


def test_batch_normalised_by_hand() -> None:
    # {1, 0} and {0, 0}: gaps 1/2, -1/2, 0, 0; mean square (1/4 + 1/4) / 4 = 1/8, std 1/(2 sqrt 2).
    adv_N = batch_normalised(
        np.array([1.0, 0, 0, 0]), np.ones(4, dtype=np.bool_), Ragged(np.array([2, 2]))
    )
    np.testing.assert_allclose(adv_N, [2**0.5, -(2**0.5), 0, 0], rtol=1e-14)


def test_an_all_wrong_group_and_a_silent_batch_are_zero_when_normalised_by_batch() -> None:
    layout, keep_N = Ragged(np.array([3, 1, 2])), np.ones(6, dtype=np.bool_)
    mixed_N = batch_normalised(np.array([0.1] * 3 + [5.0] + [1.0, 0]), keep_N, layout)
    assert mixed_N[:4].tolist() == [0, 0, 0, 0]
    assert mixed_N[4] > 0 > mixed_N[5]
    assert not batch_normalised(np.array([0.1] * 3 + [5.0, 2, 2]), keep_N, layout).any()
    nothing_N = np.zeros(6, dtype=np.bool_)
    assert not batch_normalised(np.arange(6.0), nothing_N, layout).any()


@pytest.mark.parametrize("seed", range(3))
def test_batch_normalised_has_unit_size_and_ignores_scale_and_each_groups_shift(seed: int) -> None:
    rewards_N, keep_N, layout = random_batch(seed)
    adv_N = batch_normalised(rewards_N, keep_N, layout)
    assert np.mean(adv_N[keep_N] ** 2) == pytest.approx(1)
    shift_N = layout.spread(np.random.default_rng(seed).normal(size=len(layout.sizes_P)))
    moved_N = batch_normalised(3 * rewards_N + shift_N, keep_N, layout)
    np.testing.assert_allclose(moved_N, adv_N, atol=1e-9)


def test_batch_scaled_keeps_zeros_and_signs_and_makes_unit_size() -> None:
    adv_N = np.array([3.0, -4, 0, 0, 100])
    keep_N = np.array([True, True, True, True, False])
    # (9 + 16) / 4 = 2.5^2.
    assert batch_scaled(adv_N, keep_N).tolist() == [1.2, -1.6, 0, 0, 0]
    assert not batch_scaled(np.zeros(5), keep_N).any()


@every_advantage
def test_the_order_of_groups_changes_nothing(name: str) -> None:
    rewards_N, keep_N, layout = random_batch(3)
    order = np.random.default_rng(3).permutation(len(layout.sizes_P))
    function, own = advantages.load(name), given(name, layout)

    def move(values_N: np.ndarray) -> np.ndarray:
        return np.concatenate([layout.split(values_N)[i] for i in order])

    adv = layout.split(function(rewards_N, keep_N, layout, **own))
    moved = {key: move(values_N) for key, values_N in own.items()}
    np.testing.assert_allclose(
        function(move(rewards_N), move(keep_N), Ragged(layout.sizes_P[order]), **moved),
        np.concatenate([adv[i] for i in order]),
        atol=1e-12,
    )


def test_a_kept_reward_that_is_not_finite_is_refused_in_a_batch_too() -> None:
    with pytest.raises(ValueError, match=r"must be finite, got \[nan\]"):
        group_normalised(np.array([1.0, np.nan]), np.ones(2, dtype=np.bool_), Ragged(np.array([2])))


def test_sums_and_extremes_of_groups_with_empty_ones_anywhere() -> None:
    layout = Ragged(np.array([0, 2, 0, 0, 1, 3, 0]))
    values_N = np.array([1.0, 2, -6, 3, 4, 5])
    assert layout.sums(values_N).tolist() == [0, 3, 0, 0, -6, 12, 0]
    inf = math.inf
    assert layout.minima(values_N).tolist() == [inf, 1, inf, inf, -6, 3, inf]
    assert layout.maxima(values_N).tolist() == [-inf, 2, -inf, -inf, -6, 5, -inf]
    assert layout.spread(np.arange(7)).tolist() == [1, 1, 4, 5, 5, 5]
    assert [g.tolist() for g in layout.split(values_N)] == [[], [1, 2], [], [], [-6], [3, 4, 5], []]


def test_no_groups_is_no_advantages() -> None:
    layout = Ragged(np.zeros(0, dtype=np.int64))
    nothing_N, keep_N = np.zeros(0), np.zeros(0, dtype=np.bool_)
    for name in advantages.available():
        function, own = advantages.load(name), given(name, layout)
        assert function(nothing_N, keep_N, layout, **own).shape == (0,)
    assert layout.split(nothing_N) == []


def test_a_layout_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="3 values for groups of 4 rollouts"):
        Ragged(np.array([2, 2])).sums(np.zeros(3))
    with pytest.raises(ValueError, match="must be >= 0, got -1"):
        Ragged(np.array([2, -1]))
