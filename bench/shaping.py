"""Advantages of one step, all groups at once against one group at a time, and the reward's share.

4,096 ragged groups of up to 24 rollouts with some masked. The bar is 15 ms of CPU a step for
rewards and advantages together, from the views: the reward is ``truncation``; the slowest of
the others is named too. ``shape_step`` has the masks, the target and the filter besides.

    python bench/shaping.py [--groups 4096] [--samples 24] [--repeats 15]
"""

import argparse
import sys
from collections.abc import Callable
from time import process_time

import numpy as np
from rich.console import Console
from rich.table import Table

from tersely.algo import advantages
from tersely.algo.ragged import Ragged
from tersely.core.stacks import stacks, whole
from tersely.core.types import GroupView
from tersely.flows.recipe.shaping import GradedView, Shaping, shape_step
from tersely.rewards import available, load

NAMES = (
    "group_centred",
    "group_normalised",
    "group_normalised_sample",
    "leave_one_out",
    "difficulty_reweighted",
)
DEFAULT, LIMIT_MS = "group_normalised", 15.0
TARGET_TOKENS = 4096.0


def median_ms(function: Callable[[], object], repeats: int) -> float:
    """Median milliseconds of CPU of a call, after one that is not counted."""
    function()
    times = []
    for _ in range(repeats):
        start = process_time()
        function()
        times.append(process_time() - start)
    return 1000 * float(np.median(times))


def make_views(layout: Ragged, rng: np.random.Generator) -> list[GroupView]:
    """Groups of a step: some two thirds right, lengths around the target, a few cut off."""
    lengths_N = rng.lognormal(8.2, 0.6, layout.rollouts).astype(np.int64) + 1
    right_N = rng.random(layout.rollouts) < layout.spread(rng.beta(2, 1, len(layout.sizes_P)))
    finished_N = lengths_N < 16384
    formatted_N = np.ones(layout.rollouts, dtype=np.bool_)
    parts = (right_N, np.minimum(lengths_N, 16384), finished_N, formatted_N)
    return [
        GroupView(
            *arrays,
            target_tokens=TARGET_TOKENS,
            cap_tokens=16384.0,
            weight=1e-3,
            reference_tokens=4000.0,
            reference_accuracy=0.5,
            thought_G=arrays[2],
            thinking_G=arrays[1] // 2,
        )
        for arrays in zip(*map(layout.split, parts), strict=True)
    ]


def reward_of(views: list[GroupView], name: str = "truncation") -> np.ndarray:
    """What the reward pays all groups, those of one size in one call."""
    reward, sizes_P = load(name), np.array([len(view.tokens_G) for view in views])
    paid_N = np.empty(sizes_P.sum())
    for rows, g in stacks(sizes_P, whole(views)):
        paid_N[rows] = reward(g)
    return paid_N


def one_by_one(views: list[GroupView], name: str = "truncation") -> np.ndarray:
    """The same, one call a group."""
    reward = load(name)
    return np.concatenate([reward(view) for view in views])


def step_ms(views: list[GroupView], repeats: int) -> float:
    """A step's target, rewards, masks and advantages, as a training computes them."""
    graded = [GradedView(np.ones(len(view.tokens_G), dtype=bool), view) for view in views]
    shaping = Shaping(
        reward="truncation",
        parameters={},
        cap_tokens=16384.0,
        target="fixed",
        target_parameters={"tokens": int(TARGET_TOKENS)},
    )
    return median_ms(lambda: shape_step(shaping, graded, {}), repeats)


def compare(rewards_N: np.ndarray, keep_N: np.ndarray, layout: Ragged, repeats: int) -> list[tuple]:
    """Name, milliseconds at once, milliseconds one by one, largest difference."""
    alone = [Ragged(np.array([size])) for size in layout.sizes_P]
    groups = list(zip(layout.split(rewards_N), layout.split(keep_N), alone, strict=True))
    rows = []
    for name in NAMES:
        advantage = advantages.load(name)
        loop = [advantage(*group) for group in groups]
        gap = np.abs(advantage(rewards_N, keep_N, layout) - np.concatenate(loop)).max()
        fast = median_ms(lambda f=advantage: f(rewards_N, keep_N, layout), repeats)
        slow = median_ms(lambda f=advantage: [f(*group) for group in groups], 3)
        rows.append((name, fast, slow, gap))
    whole = advantages.load("batch_normalised")
    fast = median_ms(lambda: whole(rewards_N, keep_N, layout), repeats)
    return [*rows, ("batch_normalised", fast, None, None)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--groups", type=int, default=4096)
    parser.add_argument("--samples", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=15)
    chosen = parser.parse_args()
    rng = np.random.default_rng(0)
    sizes_P = rng.integers(3 * chosen.samples // 4, chosen.samples + 1, chosen.groups)
    layout = Ragged(sizes_P)
    views = make_views(layout, rng)
    rewards_N, keep_N = reward_of(views), rng.random(layout.rollouts) < 0.97
    reward_ms = median_ms(lambda: reward_of(views), chosen.repeats)
    slowest_ms, slowest = max(
        (median_ms(lambda n=n: reward_of(views, n), 3), n) for n in available()
    )
    apart_ms = median_ms(lambda: one_by_one(views), 3)
    np.testing.assert_array_equal(rewards_N, one_by_one(views))
    rows = compare(rewards_N, keep_N, layout, chosen.repeats)
    table = Table("advantage", "at once, ms", "one by one, ms", "ratio", "largest difference")
    for name, fast, slow, gap in rows:
        known = slow is not None
        table.add_row(
            name,
            f"{fast:.2f}",
            f"{slow:.1f}" if known else "–",
            f"{slow / fast:.0f}x" if known else "–",
            f"{gap:.1e}" if known else "–",
        )
    console = Console(width=100)
    console.print(f"{chosen.groups} groups, {layout.rollouts} rollouts")
    console.print(table)
    total_ms = reward_ms + next(fast for name, fast, _, _ in rows if name == DEFAULT)
    met = total_ms <= LIMIT_MS
    console.print(
        f"truncation: {reward_ms:.1f} ms, one group a call {apart_ms:.1f} ms; slowest, {slowest}: "
        f"{slowest_ms:.1f} ms; shape_step: {step_ms(views, chosen.repeats):.1f} ms"
    )
    console.print(
        f"truncation with {DEFAULT} {total_ms:.1f} ms, bar {LIMIT_MS:.0f} ms: "
        f"{'met' if met else 'missed'}"
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
