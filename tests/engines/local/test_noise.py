import math
from hashlib import blake2b

import numpy as np
import torch

from tersely.engines.local.noise import row_keys, uniforms

MASK = 2**64 - 1


def naive_uniform(seed: int, problem: str, sample: int, position: int) -> float:
    """splitmix64 as published, on unsigned Python integers."""
    key = int.from_bytes(
        blake2b(f"{seed}|{problem}|{sample}".encode(), digest_size=8).digest(), "little"
    )
    x = (key + (position + 1) * 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    x ^= x >> 31
    return ((x >> 16) + 0.5) / 2**48


def test_uniforms_equal_a_plain_python_splitmix64():
    problems = [f"p{i}" for i in range(20)]
    keys = row_keys(7, problems, list(range(20)))
    positions = torch.arange(0, 20 * 5000, 5000)
    expected = [naive_uniform(7, p, i, i * 5000) for i, p in enumerate(problems)]
    assert uniforms(keys, positions).tolist() == expected


def test_uniforms_broadcast_positions_over_rows():
    keys = row_keys(1, ["a", "b"], [0, 3])
    block = uniforms(keys, torch.arange(4).unsqueeze(1))
    assert block.shape == (4, 2)
    assert block[3, 1].item() == naive_uniform(1, "b", 3, 3)


def test_uniforms_are_uniform_and_uncorrelated_along_and_across_rows():
    keys = row_keys(0, [str(i // 4) for i in range(400)], [i % 4 for i in range(400)])
    u = uniforms(keys, torch.arange(500).unsqueeze(1)).numpy()
    assert u.min() > 0
    assert u.max() < 1
    counts = np.histogram(u, bins=64, range=(0, 1))[0]
    expected = u.size / 64
    chi2 = ((counts - expected) ** 2 / expected).sum()
    # 63 degrees of freedom: mean 63, standard deviation 11.2; five of them either side
    assert 63 - 56 < chi2 < 63 + 56
    limit = 5 / math.sqrt(u.size)
    for a, b in ((u[1:], u[:-1]), (u[:, 1:], u[:, :-1])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < limit


def test_seed_problem_and_sample_each_change_the_key():
    base = row_keys(0, ["a"], [0]).item()
    others = [row_keys(1, ["a"], [0]), row_keys(0, ["b"], [0]), row_keys(0, ["a"], [1])]
    assert base not in [k.item() for k in others]
    assert row_keys(0, ["a"], [0]).item() == base


def test_the_largest_uniform_times_a_total_stays_below_the_total():
    largest = (2**48 - 0.5) / 2**48
    totals = torch.rand(10_000, dtype=torch.float64) + 0.5
    assert bool((totals * largest < totals).all())
