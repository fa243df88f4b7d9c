"""A 135M Llama on a CPU: our sampler, ``generate`` and vLLM on the same prompts, in turn.

Weights are random and of SmolLM2-135M's shape, with a constant stop logit, so that lengths are
geometric; ``--model DIR`` takes a saved model on ``--prompts-file`` lines. Every side gets the same
prompts, cap, stop token and float32; each is credited with tokens up to the stop token. One thread
is timed in processor time, more by the clock. The ceiling is torch's own product of 512 x 1024 and
1024 x 1024, measured before every round. ``--vllm`` needs an environment with vLLM in it
(``make test-vllm`` makes one), and on a CPU ``VLLM_CPU_OMP_THREADS_BIND=0 OMP_NUM_THREADS=1``.
"""

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from sampler import flops_per_token, random_problems, read_prompts, tiny_tokenizer
from sampler import useful_tokens_of_generate as tokens_of_generate
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
from transformers.utils import logging as hf_logging

from tersely.core.types import Problem, Rollout, SamplingSpec
from tersely.engines.fallback import make_sampler
from tersely.engines.local import decoder as decoding
from tersely.engines.local import sampler as sampling

STOP, VOCABULARY = 1, 49_152


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="saved model folder, instead of random weights")
    parser.add_argument("--prompts-file", type=Path, help="one prompt a line, for --model")
    parser.add_argument("--problems", type=int, default=32)
    parser.add_argument("--samples", type=int, default=8, help="rollouts a problem")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--cap-tokens", type=int, default=160)
    parser.add_argument("--mean-tokens", type=float, default=40.0, help="before the cap")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--vllm", action="store_true", help="measure vLLM too")
    parser.add_argument("--profile", default="256,64,8", help="rows whose time is told by part")
    return parser.parse_args()


def random_model(mean_tokens: float) -> LlamaForCausalLM:
    """SmolLM2-135M's shape; as in bench/sampler.py, only the stop logit reads the constant axis."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        head_dim=64,
        max_position_embeddings=8192,
        rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=STOP,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        model.model.embed_tokens.weight[:, 0] = 300.0
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight[0] = 0.0
            layer.mlp.down_proj.weight[0] = 0.0
        p = 1.0 / mean_tokens
        head = model.lm_head.weight.mul_(0.1)
        head[:, 0] = 0.0
        head[STOP] = 0.0
        head[STOP, 0] = torch.tensor(VOCABULARY * p / (1 - p)).log() / config.hidden_size**0.5
    return model


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of the processor with one thread, by the clock with more."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    result = run()
    return clock() - start, result


def ceiling_gflops() -> float:
    a, b = torch.randn(512, 1024), torch.randn(1024, 1024)
    return max(2 * 512 * 1024 * 1024 / timed(lambda: a @ b)[0] / 1e9 for _ in range(20))


@contextmanager
def parts_timed() -> Iterator[dict[str, float]]:
    """Seconds by part while it is open; a part inside another belongs to the outer one."""
    spent: dict[str, float] = defaultdict(float)
    within: list[str] = []

    def told(part: str, run: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if within:
                return run(*args, **kwargs)
            within.append(part)
            seconds, result = timed(lambda: run(*args, **kwargs))
            spent[within.pop()] += seconds
            return result

        return wrapper

    with ExitStack() as stack:
        for part, owner, name in (
            ("layers' products", decoding, "product"),
            ("layers' products", decoding, "add_product"),
            ("output product", decoding.Decoder, "logits"),
            ("prompts", decoding.Decoder, "prefill"),
            ("draw", sampling, "draw"),
        ):
            stack.enter_context(patch.object(owner, name, told(part, getattr(owner, name))))
        yield spent


def profile(model: Any, tokenizer: Any, rows: int, spec: SamplingSpec) -> None:
    """Rollouts that all end at 24 tokens, so that so many rows stay in flight."""
    whole = replace(spec, samples=min(8, rows), cap_tokens=24)
    sampler = make_sampler(model, tokenizer, rows=rows)
    problems = random_problems(rows // whole.samples)
    sampler.codec = sampler.codec._replace(stop_ids=frozenset())
    sampler.sample(problems, whole)
    with parts_timed() as spent:
        seconds, groups = timed(lambda: sampler.sample(problems, whole))
    spent["attention and the rest"] = seconds - sum(spent.values())
    rollouts = [r for g in groups for r in g]
    tokens = sum(r.tokens for r in rollouts)
    rate = tokens * flops_per_token(model, rollouts) / seconds / 1e9
    told = ", ".join(f"{part} {100 * s / seconds:.0f}%" for part, s in sorted(spent.items()))
    print(
        f"{rows} rows: {1000 * seconds * rows / tokens:.0f} ms a step, {tokens / seconds:.0f} "
        f"tokens/s, {100 * rate / ceiling_gflops():.0f}% of the ceiling: {told}",
        flush=True,
    )


def sides_of(
    model: Any, tokenizer: Any, problems: list[Problem], spec: SamplingSpec, args: Any, room: str
) -> dict[str, Callable[[], int]]:
    """What each side runs; it returns the useful tokens."""
    sampler = make_sampler(model, tokenizer, rows=args.rows)
    sides = {
        "tersely": lambda: useful(sampler.sample(problems, spec)),
        "generate": lambda: tokens_of_generate(model, tokenizer, problems, spec, rows=args.rows),
    }
    if args.vllm:
        from tersely.engines.vllm import VLLMSampler

        folder = args.model or Path(room)
        if args.model is None:
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        threads = torch.get_num_threads()
        theirs = VLLMSampler(folder, tokenizer, rows=args.rows, room_tokens=1024, memory_share=0.2)
        torch.set_num_threads(threads)
        sides["vLLM"] = lambda: useful(theirs.sample(problems, spec))
    return sides


def useful(groups: list[list[Rollout]]) -> int:
    return sum(r.tokens for group in groups for r in group)


def compare(sides: dict[str, Callable[[], int]], flops: float, rounds: int) -> None:
    """Rates of every side, in turn, and our ratio to each in the same round."""
    rates: dict[str, list[float]] = {name: [] for name in sides}
    ceilings = []
    for _ in range(rounds):
        ceilings.append(ceiling_gflops())
        for name, run in sides.items():
            seconds, tokens = timed(run)
            rates[name].append(tokens / seconds)
            print(f"  {name}: {tokens} tokens, {rates[name][-1]:.1f} a second", flush=True)
    ceiling = max(ceilings)
    for name, rate in rates.items():
        ratios = [ours / its for ours, its in zip(rates["tersely"], rate, strict=True)]
        print(
            f"{name:>9} {statistics.median(rate):6.1f} tokens/s ({min(rate):.1f}-{max(rate):.1f}), "
            f"{100 * statistics.median(rate) * flops / 1e9 / ceiling:3.0f}% of {ceiling:.0f} "
            f"GFLOP/s; tersely {statistics.median(ratios):.2f} times as fast "
            f"({min(ratios):.2f}-{max(ratios):.2f})",
            flush=True,
        )


def main() -> None:
    args = parse()
    hf_logging.set_verbosity_error()
    torch.set_num_threads(args.threads)
    if args.model is None:
        tokenizer, model = tiny_tokenizer(VOCABULARY), random_model(args.mean_tokens)
        problems = random_problems(args.problems)
    else:
        tokenizer = AutoTokenizer.from_pretrained(args.model)
        model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
        problems = read_prompts(args.prompts_file)[: args.problems]
    spec = SamplingSpec(samples=args.samples, cap_tokens=args.cap_tokens, seed=0)
    rollouts = [r for g in make_sampler(model, tokenizer).sample(problems, spec) for r in g]
    lengths = [r.tokens for r in rollouts]
    print(
        f"{args.problems} problems x {args.samples}, rows {args.rows}, mean "
        f"{statistics.mean(lengths):.0f} and at most {max(lengths)} tokens, {args.threads} threads"
    )
    with tempfile.TemporaryDirectory() as room:
        sides = sides_of(model, tokenizer, problems, spec, args, room)
        compare(sides, flops_per_token(model, rollouts), args.rounds)
    for rows in filter(None, args.profile.split(",")):
        profile(model, tokenizer, int(rows), spec)


if __name__ == "__main__":
    main()
