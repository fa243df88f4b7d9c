"""The learner's forward and backward pass against a plain padded Hugging Face one, alternated.

Both compute the same loss on the same rows: the log-probs of completion tokens, each times its
row's advantage. The plain side pads rows to the longest of a micro-batch, longest first, and makes
logits at completion positions only. ``lab`` is the lab's first model and rollouts of it, as many
rows as teach in a step of its demo; ``135M`` is a Llama of SmolLM2-135M's shape with random weights
and random rows of one length.

A rate is completion tokens a second of processor time. The share of the ceiling counts what the
gradient needs, whichever side computes it: for each token that is run (beginnings that rows share
once, no padding) 6 x the matrices of the layers, where a completion token follows 6 x the output
matrix, and for attention 12 x layers x heads x head size x the tokens it sees.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tersely.core.types import SamplingSpec
from tersely.engines.fallback import make_sampler
from tersely.engines.learning.forward import tree_logp
from tersely.engines.learning.rows import TrainRow, pack, split_by_tokens
from tersely.engines.learning.tree import split_by_shared_tokens, token_tree
from tersely.engines.models import load_policy
from tersely.lab.problems import Split, draw_problems

CPU = torch.device("cpu")
BIG = LlamaConfig(
    vocab_size=49152,
    hidden_size=576,
    intermediate_size=1536,
    num_hidden_layers=30,
    num_attention_heads=9,
    num_key_value_heads=3,
    max_position_embeddings=8192,
    tie_word_embeddings=True,
    rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
)


class Case(NamedTuple):
    """A model and the rows of one update."""

    model: Any
    rows: list[TrainRow]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="lab,135M", help="of lab, 135M")
    parser.add_argument("--micro-batch-tokens", type=int, default=2048)
    parser.add_argument("--rows", type=int, default=4, help="of 135M's update")
    parser.add_argument("--tokens", type=int, default=256, help="of each of its rows")
    parser.add_argument("--prompt-tokens", type=int, default=64, help="of those, its prompt's")
    parser.add_argument("--problems", type=int, default=2, help="prompts of its rows")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--profile", action="store_true", help="our time by operation, afterwards")
    return parser.parse_args()


def lab_case() -> Case:
    """The base model's rollouts of 13 problems of levels 1 to 7."""
    policy = load_policy("lab-v1")
    problems = draw_problems(per_family=4, seed=0, split=Split.TRAIN, levels=range(1, 8))[:13]
    sampler = make_sampler(policy.model, policy.tokenizer, rows=256)
    groups = sampler.sample(problems, SamplingSpec(samples=8, cap_tokens=320, seed=0))
    rows = [
        TrainRow(
            group=group,
            prompt_ids=rollout.prompt_ids,
            completion_ids=rollout.completion_ids,
            logprobs=rollout.logprobs,
            advantage=1.0 if sample % 2 else -1.0,
        )
        for group, rollouts in enumerate(groups)
        for sample, rollout in enumerate(rollouts)
    ]
    return Case(policy.model, rows)


def big_case(args: argparse.Namespace) -> Case:
    """Random weights and rows of one length, whose completions share nothing."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    count = args.tokens - args.prompt_tokens
    prompts = rng.integers(0, BIG.vocab_size, (args.problems, args.prompt_tokens)).tolist()
    rows = [
        TrainRow(
            group=row % args.problems,
            prompt_ids=tuple(prompts[row % args.problems]),
            completion_ids=tuple(rng.integers(0, BIG.vocab_size, count).tolist()),
            logprobs=np.zeros(count),
            advantage=1.0 if row % 2 else -1.0,
        )
        for row in range(args.rows)
    ]
    return Case(LlamaForCausalLM(BIG).eval(), rows)


def plain_pass(case: Case, tokens: int) -> None:
    """Gradients by the model's own forward pass on padded rows."""
    case.model.zero_grad(set_to_none=True)
    for part in split_by_tokens(case.rows, tokens=tokens):
        batch = pack(part, device=CPU)
        mask_BT = batch.loss_mask_BT
        positions_BT = torch.arange(mask_BT.shape[1]).expand_as(mask_BT)
        logits_NV = case.model(
            input_ids=batch.token_ids_BT,
            position_ids=positions_BT,
            logits_to_keep=mask_BT.roll(-1, dims=1),
            use_cache=False,
        ).logits
        chosen_N = logits_NV.gather(1, batch.token_ids_BT[mask_BT][:, None])[:, 0]
        advantage_N = batch.adv_B[:, None].expand_as(mask_BT)[mask_BT]
        ((chosen_N - logits_NV.logsumexp(dim=1)) * advantage_N).sum().backward()


def our_pass(case: Case, tokens: int, *, half: bool = False) -> None:
    """The same gradients by the learner's lean forward pass; ``half``: of bfloat16 products."""
    case.model.zero_grad(set_to_none=True)
    for part in split_by_shared_tokens(case.rows, tokens=tokens):
        tree = token_tree(part, device=CPU)
        advantage_L = torch.cat(
            [torch.full((len(row.completion_ids),), row.advantage) for row in part]
        )
        logp_C = tree_logp(case.model, tree, temperature=1.0, half=half).logp_C
        (logp_C.index_select(0, tree.prediction_L) * advantage_L).sum().backward()


def needed_flops(case: Case, tokens: int) -> float:
    """Of an update's forward and backward pass, as the top of this file counts them."""
    config = case.model.config
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    layers = sum(p.numel() for p in case.model.model.layers.parameters() if p.dim() == 2)
    head = case.model.get_output_embeddings().weight.numel()
    pairs = config.num_hidden_layers * config.num_attention_heads * size
    flops = 0.0
    for part in split_by_shared_tokens(case.rows, tokens=tokens):
        tree = token_tree(part, device=CPU)
        flops += 6 * layers * len(tree.ids_N) + 6 * head * len(tree.predicts_M)
        # Two products forward and four backward, of two operations each.
        flops += 12 * pairs * float((tree.position_N + 1).sum())
    return flops


def gradients(case: Case, run: Callable[[Case, int], None], tokens: int) -> torch.Tensor:
    run(case, tokens)
    return torch.cat([weight.grad.flatten() for weight in case.model.parameters()])


def ceiling_gflops() -> float:
    """Measured float32 matrix product ceiling, GFLOP/s of processor time: the best of a few."""
    a, b = torch.randn(512, 1024), torch.randn(1024, 1024)
    return max(2 * 512 * 1024 * 1024 / seconds(lambda: a @ b) / 1e9 for _ in range(8))


def seconds(run: Callable[[], Any]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


def measure(name: str, case: Case, args: argparse.Namespace) -> None:
    tokens = args.micro_batch_tokens
    half_pass = partial(our_pass, half=True)
    plain, *others = (gradients(case, run, tokens) for run in (plain_pass, our_pass, half_pass))
    apart, half_apart = (float((plain - other).norm() / plain.norm()) for other in others)
    completion = sum(len(row.completion_ids) for row in case.rows)
    flops = needed_flops(case, tokens)
    plain_s, ours_s, half_s, ceilings = [], [], [], []
    for _ in range(args.repeats):
        ceilings.append(ceiling_gflops())
        plain_s.append(seconds(lambda: plain_pass(case, tokens)))
        ours_s.append(seconds(lambda: our_pass(case, tokens)))
        half_s.append(seconds(lambda: half_pass(case, tokens)))
    ceiling = max(ceilings)
    ratios = [p / o for p, o in zip(plain_s, ours_s, strict=True)]
    half_ratios = [o / h for o, h in zip(ours_s, half_s, strict=True)]
    run = sum(len(token_tree(part, device=CPU).ids_N) for part in split_by_shared_tokens(
        case.rows, tokens=tokens))  # fmt: skip
    padded = sum(len(p) * p[0].tokens for p in split_by_tokens(case.rows, tokens=tokens))
    print(
        f"{name:>5}: {completion} completion tokens; {run} tokens run of {padded} padded ones; "
        f"gradients apart {apart:.1e}\n"
        f"       ours {spread([completion / s for s in ours_s])} tokens/s, plain "
        f"{spread([completion / s for s in plain_s])}, ratio {spread(ratios, digits=2)}\n"
        f"       of {ceiling:.0f} GFLOP/s ({flops / 1e9:.1f} GFLOP): ours "
        f"{spread([100 * flops / s / 1e9 / ceiling for s in ours_s])}%, plain "
        f"{spread([100 * flops / s / 1e9 / ceiling for s in plain_s])}%\n"
        f"       in bfloat16 {spread(half_ratios, digits=2)} times ours; gradients apart "
        f"{half_apart:.1e}",
        flush=True,
    )
    if args.profile:
        show_profile(case, tokens)


def show_profile(case: Case, tokens: int) -> None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        our_pass(case, tokens)
    table = profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=20)
    print(table)


def spread(values: Sequence[float], *, digits: int = 0) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    print(
        f"micro-batches of {args.micro_batch_tokens} tokens, {args.repeats} repeats, "
        f"{args.threads} threads, float32, processor time"
    )
    for name in args.models.split(","):
        measure(name, lab_case() if name == "lab" else big_case(args), args)


if __name__ == "__main__":
    main()
