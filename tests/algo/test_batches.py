"""All groups at once against one group at a time, and what looks across groups."""

import math

import numpy as np
import pytest

from tersely.algo import advantages, batches
from tersely.algo.advantages import MaskScope
from tersely.algo.ragged import Ragged

SAME_NAMES = [
    "unbaselined",
    "group_centred",
    "group_normalised",
    "group_normalised_sample",
    "leave_one_out",
    "difficulty_reweighted",
]


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


@pytest.mark.parametrize("scope", MaskScope)
@pytest.mark.parametrize("name", SAME_NAMES)
@pytest.mark.parametrize("seed", range(5))
def test_a_batch_is_its_groups_one_by_one(name: str, scope: MaskScope, seed: int) -> None:
    rewards_N, keep_N, layout = random_batch(seed)
    one_by_one = [
        getattr(advantages, name)(rewards_G, keep_G, mask_scope=scope)
        for rewards_G, keep_G in zip(layout.split(rewards_N), layout.split(keep_N), strict=True)
    ]
    adv_N = getattr(batches, name)(rewards_N, keep_N, layout, mask_scope=scope)
    np.testing.assert_allclose(adv_N, np.concatenate(one_by_one), rtol=1e-9, atol=1e-12)
    assert not adv_N[~keep_N].any()


@pytest.mark.parametrize("scope", MaskScope)
@pytest.mark.parametrize("positive_only", [False, True])
def test_difficulty_by_verdict_is_that_of_its_groups(scope: MaskScope, positive_only: bool) -> None:
    rewards_N, keep_N, layout = random_batch(7)
    right_N = np.random.default_rng(7).random(layout.rollouts) < 0.5
    settings = {"mask_scope": scope, "positive_only": positive_only}
    one_by_one = [
        advantages.difficulty_reweighted(rewards_G, keep_G, right_G=right_G, **settings)
        for rewards_G, keep_G, right_G in zip(
            *map(layout.split, (rewards_N, keep_N, right_N)), strict=True
        )
    ]
    adv_N = batches.difficulty_reweighted(rewards_N, keep_N, layout, right_N=right_N, **settings)
    np.testing.assert_allclose(adv_N, np.concatenate(one_by_one), rtol=1e-9, atol=1e-12)


def test_decoupled_terms_are_those_of_their_groups() -> None:
    rewards_N, keep_N, layout = random_batch(8)
    terms = {"a": rewards_N, "b": np.random.default_rng(8).random(layout.rollouts)}
    weights = {"a": 1.0, "b": 0.25}
    one_by_one = [
        advantages.decoupled_normalised({"a": a_G, "b": b_G}, keep_G, weights=weights)
        for a_G, b_G, keep_G in zip(
            *map(layout.split, (terms["a"], terms["b"], keep_N)), strict=True
        )
    ]
    adv_N = batches.decoupled_normalised(terms, keep_N, layout, weights=weights)
    np.testing.assert_allclose(adv_N, np.concatenate(one_by_one), rtol=1e-9, atol=1e-12)


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
    adv_N = batches.batch_normalised(rewards_N, keep_N, layout, mask_scope=scope)
    np.testing.assert_allclose(adv_N, expected, rtol=1e-9, atol=1e-12)


def test_batch_normalised_by_hand() -> None:
    # {1, 0} and {0, 0}: gaps 1/2, -1/2, 0, 0; mean square (1/4 + 1/4) / 4 = 1/8, std 1/(2 sqrt 2).
    adv_N = batches.batch_normalised(
        np.array([1.0, 0, 0, 0]), np.ones(4, dtype=np.bool_), Ragged(np.array([2, 2]))
    )
    np.testing.assert_allclose(adv_N, [2**0.5, -(2**0.5), 0, 0], rtol=1e-14)


def test_an_all_wrong_group_and_a_silent_batch_are_zero_when_normalised_by_batch() -> None:
    layout, keep_N = Ragged(np.array([3, 1, 2])), np.ones(6, dtype=np.bool_)
    mixed_N = batches.batch_normalised(np.array([0.1] * 3 + [5.0] + [1.0, 0]), keep_N, layout)
    assert mixed_N[:4].tolist() == [0, 0, 0, 0]
    assert mixed_N[4] > 0 > mixed_N[5]
    assert not batches.batch_normalised(np.array([0.1] * 3 + [5.0, 2, 2]), keep_N, layout).any()
    nothing_N = np.zeros(6, dtype=np.bool_)
    assert not batches.batch_normalised(np.arange(6.0), nothing_N, layout).any()


@pytest.mark.parametrize("seed", range(3))
def test_batch_normalised_has_unit_size_and_ignores_scale_and_each_groups_shift(seed: int) -> None:
    rewards_N, keep_N, layout = random_batch(seed)
    adv_N = batches.batch_normalised(rewards_N, keep_N, layout)
    assert np.mean(adv_N[keep_N] ** 2) == pytest.approx(1)
    shift_N = layout.spread(np.random.default_rng(seed).normal(size=len(layout.sizes_P)))
    moved_N = batches.batch_normalised(3 * rewards_N + shift_N, keep_N, layout)
    np.testing.assert_allclose(moved_N, adv_N, atol=1e-9)


def test_batch_scaled_keeps_zeros_and_signs_and_makes_unit_size() -> None:
    adv_N = np.array([3.0, -4, 0, 0, 100])
    keep_N = np.array([True, True, True, True, False])
    # (9 + 16) / 4 = 2.5^2.
    assert batches.batch_scaled(adv_N, keep_N).tolist() == [1.2, -1.6, 0, 0, 0]
    assert not batches.batch_scaled(np.zeros(5), keep_N).any()


@pytest.mark.parametrize("name", [*SAME_NAMES, "batch_normalised"])
def test_the_order_of_groups_changes_nothing(name: str) -> None:
    rewards_N, keep_N, layout = random_batch(3)
    order = np.random.default_rng(3).permutation(len(layout.sizes_P))
    groups = [layout.split(values_N) for values_N in (rewards_N, keep_N)]
    moved = [np.concatenate([parts[i] for i in order]) for parts in groups]
    function = getattr(batches, name)
    adv = layout.split(function(rewards_N, keep_N, layout))
    np.testing.assert_allclose(
        function(*moved, Ragged(layout.sizes_P[order])),
        np.concatenate([adv[i] for i in order]),
        atol=1e-12,
    )


def test_a_kept_reward_that_is_not_finite_is_refused_in_a_batch_too() -> None:
    with pytest.raises(ValueError, match=r"must be finite, got \[nan\]"):
        batches.group_normalised(
            np.array([1.0, np.nan]), np.ones(2, dtype=np.bool_), Ragged(np.array([2]))
        )


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
    for name in [*SAME_NAMES, "batch_normalised"]:
        assert getattr(batches, name)(nothing_N, keep_N, layout).shape == (0,)
    assert layout.split(nothing_N) == []


def test_a_layout_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="3 values for groups of 4 rollouts"):
        Ragged(np.array([2, 2])).sums(np.zeros(3))
    with pytest.raises(ValueError, match="must be >= 0, got -1"):
        Ragged(np.array([2, -1]))
