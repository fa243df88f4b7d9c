"""Advantages of one step, all groups at once against one group at a time, and the reward's share.

4,096 ragged groups of up to 24 rollouts with some masked. The bar is 50 ms a step for rewards and
advantages together: the reward here is ``truncation``, called once a group as its author wrote it.

    python bench/shaping.py [--groups 4096] [--samples 24] [--repeats 15]
"""

import argparse
import sys
from collections.abc import Callable
from time import perf_counter

import numpy as np
from rich.console import Console
from rich.table import Table

from tersely.algo import advantages
from tersely.algo.ragged import Ragged
from tersely.core.types import GroupView
from tersely.rewards import load

NAMES = (
    "group_centred",
    "group_normalised",
    "group_normalised_sample",
    "leave_one_out",
    "difficulty_reweighted",
)
DEFAULT, LIMIT_MS = "group_normalised", 50.0
TARGET_TOKENS = 4096.0


def median_ms(function: Callable[[], object], repeats: int) -> float:
    """Median wall-clock milliseconds of a call, after one that is not counted."""
    function()
    times = []
    for _ in range(repeats):
        start = perf_counter()
        function()
        times.append(perf_counter() - start)
    return 1000 * float(np.median(times))


def make_views(layout: Ragged, rng: np.random.Generator) -> list[GroupView]:
    """Groups of a step: some two thirds right, lengths around the target, a few cut off."""
    lengths_N = rng.lognormal(8.2, 0.6, layout.rollouts).astype(np.int64) + 1
    right_N = rng.random(layout.rollouts) < layout.spread(rng.beta(2, 1, len(layout.sizes_P)))
    finished_N = lengths_N < 16384
    formatted_N = np.ones(layout.rollouts, dtype=np.bool_)
    parts = (right_N, np.minimum(lengths_N, 16384), finished_N, formatted_N)
    return [
        GroupView(*arrays, target_tokens=TARGET_TOKENS)
        for arrays in zip(*map(layout.split, parts), strict=True)
    ]


def reward_of(views: list[GroupView]) -> np.ndarray:
    reward = load("truncation")
    return np.concatenate([reward(view) for view in views])


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
    reward_ms = median_ms(lambda: reward_of(views), 5)
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
        f"truncation, one group a call: {reward_ms:.1f} ms; with {DEFAULT} {total_ms:.1f} ms, "
        f"bar {LIMIT_MS:.0f} ms: {'met' if met else 'missed'}"
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
