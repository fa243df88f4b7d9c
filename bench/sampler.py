"""Tokens a second of our sampler against Hugging Face ``generate``, alternated in one run.

Same weights, prompts, temperature and stop token; both are credited only with tokens up to and
including the stop token. Hugging Face runs static left-padded batches of ``--rows``. Random
weights get a constant stop logit so that lengths are geometric with mean ``--mean-tokens``, cut
at ``--cap-tokens``; ``--model DIR`` measures any saved model on ``--prompts-file`` lines instead.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from transformers.utils import logging as hf_logging

from tersely.core.types import Problem, Rollout, SamplingSpec
from tersely.engines.fallback import make_sampler
from tersely.lab.problems import Split, draw_problems

STOP = 1
SIZES = {"0.3M": (96, 3), "0.8M": (128, 4), "4.7M": (256, 6)}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="0.3M,0.8M,4.7M", help=f"of {', '.join(SIZES)}")
    parser.add_argument("--model", type=Path, help="saved model folder, instead of --sizes")
    parser.add_argument(
        "--prompts-file", type=Path, help="one prompt a line, for --model; none: the lab's"
    )
    parser.add_argument("--problems", type=int, default=128)
    parser.add_argument("--samples", type=int, default=8, help="rollouts a problem")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--cap-tokens", type=int, default=300)
    parser.add_argument("--mean-tokens", type=float, default=80.0, help="before the cap")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


def tiny_tokenizer(vocab: int = 64) -> PreTrainedTokenizerFast:
    words = {"<unk>": 0, "<end>": STOP, "<user>": 2, "<go>": 3}
    words |= {f"w{i}": i for i in range(4, vocab)}
    inner = Tokenizer(WordLevel(words, unk_token="<unk>"))
    inner.pre_tokenizer = WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="<end>", pad_token="<unk>", unk_token="<unk>"
    )
    tokenizer.chat_template = "<user> {{ messages[0]['content'] }} <go>"
    return tokenizer


def tiny_model(hidden: int, layers: int, mean_tokens: float) -> Qwen3ForCausalLM:
    """Random Qwen3 whose last norm sends a constant along one axis, read by the stop logit alone.

    The embedding's first column is large and nothing else writes there, so the normed state's
    first entry is about ``sqrt(hidden)`` everywhere.
    """
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=64,
        hidden_size=hidden,
        intermediate_size=hidden * 8 // 3,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=hidden // 4,
        max_position_embeddings=1024,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        tie_word_embeddings=False,
        eos_token_id=STOP,
        pad_token_id=0,
    )
    model = Qwen3ForCausalLM(config).eval()
    with torch.no_grad():
        model.model.embed_tokens.weight[:, 0] = 30.0
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight[0] = 0.0
            layer.mlp.down_proj.weight[0] = 0.0
        # the other 63 logits are near 0, so p = e^b / (63 + e^b) with b = ln(63 p / (1 - p))
        p = 1.0 / mean_tokens
        bias = torch.tensor(63 * p / (1 - p)).log()
        head = model.lm_head.weight
        head[:, 0] = 0.0
        head[STOP] = 0.0
        head[STOP, 0] = bias / hidden**0.5
    return model


def random_problems(count: int) -> list[Problem]:
    generator = torch.Generator().manual_seed(1)
    sizes = torch.randint(12, 40, (count,), generator=generator).tolist()
    return [
        Problem(
            id=str(i),
            prompt=" ".join(f"w{t}" for t in torch.randint(4, 64, (n,), generator=generator)),
            answer="",
            source="bench",
        )
        for i, n in enumerate(sizes)
    ]


def useful_tokens_of_generate(
    model: Any, tokenizer: Any, problems: list[Problem], spec: SamplingSpec, *, rows: int
) -> int:
    """Runs ``generate`` over all prompts, ``samples`` each; counts tokens up to the stop token."""
    chats = [[{"role": "user", "content": p.prompt}] for p in problems for _ in range(spec.samples)]
    texts = tokenizer.apply_chat_template(chats, add_generation_prompt=True, tokenize=False)
    tokenizer.padding_side = "left"
    listed = model.generation_config.eos_token_id or tokenizer.eos_token_id
    stops = torch.tensor(listed, device=model.device)
    useful = 0
    for first in range(0, len(texts), rows):
        batch = tokenizer(
            texts[first : first + rows],
            return_tensors="pt",
            padding=True,
            add_special_tokens=False,
            return_token_type_ids=False,
        ).to(model.device)
        with torch.inference_mode():
            out = model.generate(
                **batch, do_sample=True, temperature=1.0, top_k=0, max_new_tokens=spec.cap_tokens
            )
        stopped = torch.isin(out[:, batch["input_ids"].shape[1] :], stops)
        before = stopped.cumsum(dim=1) - stopped.long()
        useful += int((before == 0).sum())
    return useful


def gflops(rows: int = 512, *, clock: Callable[[], float] = time.perf_counter) -> float:
    """Measured fp32 matrix product ceiling, GFLOP/s: the best of a few."""
    a, b = torch.randn(rows, 1024), torch.randn(1024, 1024)
    best = 0.0
    for _ in range(8):
        seconds, _ = timed(lambda: a @ b, clock=clock)
        best = max(best, 2 * a.shape[0] * 1024 * 1024 / seconds / 1e9)
    return best


def timed(
    run: Callable[[], Any], *, clock: Callable[[], float] = time.perf_counter
) -> tuple[float, Any]:
    start = clock()
    result = run()
    return clock() - start, result


def flops_per_token(model: Any, rollouts: list[Rollout]) -> float:
    """2 x non-embedding parameters (output matrix included) + 4 x layers x heads x D x context."""
    config = model.config
    embedding = model.get_input_embeddings().weight.numel()
    tied = config.tie_word_embeddings
    weights = sum(p.numel() for p in model.parameters()) - (0 if tied else embedding)
    tokens = sum(r.tokens for r in rollouts)
    context = sum(r.tokens * (len(r.prompt_ids) + r.tokens / 2) for r in rollouts) / tokens
    heads = config.num_attention_heads * config.head_dim
    return 2 * weights + 4 * config.num_hidden_layers * heads * context


def measure(name: str, model: Any, tokenizer: Any, problems: list[Problem], args: Any) -> None:
    spec = SamplingSpec(samples=args.samples, cap_tokens=args.cap_tokens, seed=0)
    sampler = make_sampler(model, tokenizer, rows=args.rows)
    sampler.sample(problems[:2], spec)
    ours, theirs, ceilings, share, lengths = [], [], [], [], []
    for _ in range(args.repeats):
        ceilings.append(gflops())
        seconds, groups = timed(lambda: sampler.sample(problems, spec))
        rollouts = [r for g in groups for r in g]
        lengths = sorted(r.tokens for r in rollouts)
        ours.append(sum(lengths) / seconds)
        share.append(ours[-1] * flops_per_token(model, rollouts) / 1e9 / max(ceilings))
        seconds, useful = timed(
            lambda: useful_tokens_of_generate(model, tokenizer, problems, spec, rows=args.rows)
        )
        theirs.append(useful / seconds)
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    print(
        f"{name:>8} {spread(ours)} {spread(theirs)} "
        f"{statistics.median(ours) / statistics.median(theirs):6.2f} "
        f"({min(ratios):.2f}-{max(ratios):.2f}) {100 * statistics.median(share):6.1f}% of "
        f"{max(ceilings):5.0f} {statistics.mean(lengths):6.0f} {lengths[-1]:5d}",
        flush=True,
    )


def spread(rates: list[float]) -> str:
    return f"{statistics.median(rates):7.0f} ({min(rates):6.0f}-{max(rates):6.0f})"


def read_prompts(file: Path | None) -> list[Problem]:
    """One problem a line of the file; the lab's held-out problems without one."""
    if file is None:
        return draw_problems(per_family=500, seed=0, split=Split.TEST)
    lines = file.read_text(encoding="utf-8").splitlines()
    return [Problem(id=str(i), prompt=p, answer="", source="bench") for i, p in enumerate(lines)]


def main() -> None:
    args = parse()
    hf_logging.set_verbosity_error()
    torch.set_num_threads(args.threads)
    print(
        f"{args.problems} problems x {args.samples} samples, rows {args.rows}, cap "
        f"{args.cap_tokens} tokens, {args.repeats} repeats, {args.threads} threads, fp32\n"
        f"{'model':>8} {'ours tok/s (min-max)':>23} {'HF tok/s (min-max)':>23} "
        f"{'ratio (min-max)':>18} {'of GFLOP/s':>14} {'mean':>6} {'max':>5}"
    )
    if args.model is not None:
        tokenizer = AutoTokenizer.from_pretrained(args.model)
        model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
        problems = read_prompts(args.prompts_file)[: args.problems]
        measure(args.model.name[:8], model, tokenizer, problems, args)
        return
    for name in args.sizes.split(","):
        model = tiny_model(*SIZES[name], args.mean_tokens)
        measure(name, model, tiny_tokenizer(), random_problems(args.problems), args)


if __name__ == "__main__":
    main()
