"""One sampling pass for all budgets against one each, on the lab's first model: tokens generated.

The five budgets lie as 2k, 4k, 8k, 16k and 32k do: the cap and its halves. Random numbers belong
to (problem, sample, position), so the separate passes also show that the curve is the same.

    python bench/one_pass.py [--problems 200]
"""

import argparse

import numpy as np
import torch

from tersely.core.types import Finish, Grade, Problem, SamplingSpec
from tersely.engines.fallback import make_sampler
from tersely.engines.models import load_policy
from tersely.lab.problems import Split, draw_problems
from tersely.tasks import grading

BUDGETS, SAMPLES = (20, 40, 80, 160, 320), 8


def sample(sampler, problems: list[Problem], cap_tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of each sample, and whether it is right and ended by itself."""
    spec = SamplingSpec(samples=SAMPLES, cap_tokens=cap_tokens, seed=0)
    groups = sampler.sample(problems, spec)
    right = [
        r.finish is Finish.STOP and grading.grade(problem, r.text).grade is Grade.CORRECT
        for problem, group in zip(problems, groups, strict=True)
        for r in group
    ]
    return np.array([r.tokens for group in groups for r in group]), np.array(right)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=200)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    policy = load_policy("lab-v1")
    sampler = make_sampler(policy.model, policy.tokenizer)
    problems = draw_problems(per_family=arguments.problems // 2, seed=0, split=Split.TEST)
    tokens, right = sample(sampler, problems, max(BUDGETS))
    print(f"{len(problems)} problems x {SAMPLES} samples; one pass: {tokens.sum():,} tokens")
    apart = 0
    for budget in BUDGETS:
        own_tokens, own_right = sample(sampler, problems, budget)
        apart += int(own_tokens.sum())
        read_off = float((right & (tokens <= budget)).mean())
        print(
            f"budget {budget:4d}: {own_tokens.sum():9,} tokens alone; accuracy "
            f"{own_right.mean():.4f} alone, {read_off:.4f} read off the one pass"
        )
    print(f"all five alone: {apart:,} tokens, {apart / tokens.sum():.2f} times the one pass")


if __name__ == "__main__":
    main()
