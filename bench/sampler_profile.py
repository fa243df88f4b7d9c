"""Where sampling with the lab's model spends its processor time, against the matrix ceiling.

Times are cProfile's, in processor seconds of one thread, which it lengthens by a tenth or so; the
share of the ceiling is taken from a call of its own. Where there is no C compiler (or CC=none is
set), attention, norms and gates are torch's and stand under "rest of a decode step".
"""

import argparse
import cProfile
import pstats
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from sampler import flops_per_token, gflops, timed
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as hf_logging

from tersely.core.types import SamplingSpec
from tersely.engines.fallback import make_sampler
from tersely.engines.local.kernel import load_kernel
from tersely.lab.problems import Split, draw_problems

LAB = Path(__file__).parents[1] / "src" / "tersely" / "lab" / "checkpoint"
# Functions (as cProfile names them) whose whole time makes up a part. The parts do not overlap, but
# for "decode step", which holds the first four, and a prompt's first pass, whose matrix products
# count twice.
PARTS = {
    "matrix products": ("torch.mm", "addmm_", "_nn.linear"),
    "attention, rotation, cache": ("kernel.py:attend",),
    "norms": ("kernel.py:rms",),
    "gates": ("kernel.py:swiglu",),
    "decode step": ("decoder.py:kernel_step", "decoder.py:decode_step"),
    "drawing": ("draw.py:draw",),
    "rows in, out and moved": ("sampler.py:_repack", "sampler.py:_retire"),
    "prompts to tokens": ("jobs.py:jobs",),
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=LAB, help="saved model folder")
    parser.add_argument("--problems", type=int, default=32)
    parser.add_argument("--samples", type=int, default=8, help="rollouts a problem")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--cap-tokens", type=int, default=320)
    parser.add_argument("--repeats", type=int, default=5, help="calls; the fastest counts")
    return parser.parse_args()


def parts_of(profile: cProfile.Profile) -> dict[str, float]:
    """Processor seconds of each part, with what is left of a decode step and of the whole."""
    seconds = dict.fromkeys(PARTS, 0.0)
    for (file, _, function), (_, _, _, cumulative, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        name = f"{Path(file).name}:{function}"
        for part, ends in PARTS.items():
            if any(end in name for end in ends):
                seconds[part] += cumulative
    step = seconds.pop("decode step")
    inside = sum(list(seconds.values())[:4])
    seconds["rest of a decode step"] = step - inside
    seconds["rest"] = pstats.Stats(profile).total_tt - sum(seconds.values())  # type: ignore[attr-defined]
    return seconds


def show(seconds: Mapping[str, float]) -> None:
    whole = sum(seconds.values())
    for part, spent in seconds.items():
        print(f"{part:>28} {1e3 * spent:7.0f} ms {spent / whole:6.1%}")


def main() -> None:
    args = parse()
    hf_logging.set_verbosity_error()
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    problems = draw_problems(per_family=500, seed=0, split=Split.TEST)[: args.problems]
    spec = SamplingSpec(samples=args.samples, cap_tokens=args.cap_tokens, seed=0)
    sampler = make_sampler(model, tokenizer, rows=args.rows)
    sampler.sample(problems[:2], spec)
    ceiling, plain, profiled = 0.0, float("inf"), float("inf")
    for _ in range(args.repeats):
        ceiling = max(ceiling, gflops(clock=time.process_time))
        spent, groups = timed(lambda: sampler.sample(problems, spec), clock=time.process_time)
        plain = min(plain, spent)
        profile = cProfile.Profile(time.process_time)
        profile.runcall(sampler.sample, problems, spec)
        if pstats.Stats(profile).total_tt < profiled:  # type: ignore[attr-defined]
            profiled, seconds = pstats.Stats(profile).total_tt, parts_of(profile)  # type: ignore[attr-defined]
    rollouts = [rollout for group in groups for rollout in group]
    tokens = sum(rollout.tokens for rollout in rollouts)
    reached = tokens * flops_per_token(model, rollouts) / plain / 1e9
    print(
        f"{'kernel' if load_kernel() else 'torch'}: {tokens / plain:.0f} tokens/s, "
        f"{reached:.1f} of {ceiling:.0f} GFLOP/s ({reached / ceiling:.1%}); as profiled:"
    )
    show(seconds)


if __name__ == "__main__":
    main()
