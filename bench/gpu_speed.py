"""What bench/gpu.py times: sampling and learning.

A figure that this machine does not have (memory and shares on a CPU, shares on a card whose peaks
are not listed) is None.
"""

from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from gpu_models import (
    GROUP,
    Size,
    architecture_of,
    free_bytes,
    learner_of,
    model_of,
    peak_gb,
    random_problems,
    share,
    stopping_model,
    timed,
)
from sampler import tiny_tokenizer, useful_tokens_of_generate

from tersely.core.types import (
    SamplingSpec,
)
from tersely.engines.learning.rows import TrainRow
from tersely.engines.local.jobs import Job
from tersely.engines.local.sampler import LocalSampler
from tersely.engines.models import device, sampling_copy, sampling_dtype
from tersely.flows.price.roofline import forward_flops

Figures = dict[str, Any]

PROMPT_TOKENS = 64
# A sampler's cache is widened by half when it is full, and both stand beside each other then.
CACHES = 2.5
MEMORY_SHARE = 0.8


def measured_peaks(size: Size, folder: Path) -> Figures:
    """What the card reaches in a bfloat16 matrix product and in a copy."""
    del folder
    side = 8192 if size.rows >= 64 else 256
    a = torch.randn(side, side, device=device(), dtype=sampling_dtype(device()))
    out, big = torch.empty_like(a), torch.empty(side * side * 8, device=device())
    target = torch.empty_like(big)
    product_s = [timed(lambda: torch.mm(a, a, out=out)) for _ in range(8)]
    copy_s = [timed(lambda: target.copy_(big)) for _ in range(8)]
    return {
        "tflops": 2 * side**3 / median(product_s) / 1e12,
        "tbytes_per_s": 2 * big.nbytes / median(copy_s) / 1e12,
    }


def sample_speed(size: Size, folder: Path, *, model: str, context: int) -> Figures:
    """Decoding at the end of a full context, prompts and first tokens taken off."""
    del folder
    policy = model_of(model, positions=2 * context, where=device())
    shape = architecture_of(policy)
    fit = int(MEMORY_SHARE * free_bytes() / (CACHES * shape.cache_bytes * context)) // GROUP
    rows = min(size.rows, max(fit, 1) * GROUP)
    sampler = LocalSampler(policy, tiny_tokenizer(shape.vocab), rows=rows)
    # No token stops: every row decodes as many tokens as are asked for.
    sampler.codec = sampler.codec._replace(stop_ids=frozenset())
    start = 8
    rng = np.random.default_rng(0)
    prompt_tokens = context - size.decode_tokens - start
    prompts = rng.integers(2, shape.vocab, (rows // GROUP, prompt_tokens)).tolist()
    jobs = [
        Job(number, f"q{number}", sample, tuple(prompt))
        for number, prompt in enumerate(prompts)
        for sample in range(GROUP)
    ]

    def run(tokens: int) -> float:
        spec = SamplingSpec(samples=GROUP, cap_tokens=tokens, seed=0)
        return timed(lambda: sampler.run(jobs, spec, on_rollout=lambda _: None))

    run(start)
    prompt_s, whole_s = (
        min(run(tokens) for _ in range(2)) for tokens in (start, start + size.decode_tokens)
    )
    # Beside other work the prompts alone may have taken longer than all: then nothing is known.
    step_s = (whole_s - prompt_s) / size.decode_tokens if whole_s > prompt_s else float("nan")
    seen = context - size.decode_tokens / 2
    traffic = 2 * shape.multiplied_parameters + rows * shape.cache_bytes * seen
    work = rows * (2 * shape.multiplied_parameters + shape.attention_flops * seen)
    return {
        "rows": rows,
        "tokens_per_s": rows / step_s,
        "step_ms": step_s * 1e3,
        "bandwidth_share": share(traffic / step_s, of="bandwidth"),
        "flops_share": share(work / step_s, of="flops"),
        "prompt_tokens_per_s": len(prompts) * prompt_tokens / prompt_s,
        "peak_gb": peak_gb(),
    }


def learn_speed(
    size: Size, folder: Path, *, model: str, context: int, checkpointing: bool
) -> Figures:
    """One update over rows of the whole context, after a first one that is not timed."""
    del folder
    policy = model_of(model, positions=2 * context, where=device())
    shape = architecture_of(policy)
    micro_batch_tokens = max(context, size.micro_batch_tokens)
    learner = learner_of(policy, checkpointing=checkpointing, micro_batch_tokens=micro_batch_tokens)
    rows = learn_rows(max(1, size.learn_tokens // context), context, vocabulary=shape.vocab)
    learner.step(rows[: micro_batch_tokens // context], updates=1)
    seconds = timed(lambda: learner.step(rows, updates=1))
    # Backward is twice the work of forward; what checkpointing recomputes is no useful work.
    work = 3 * len(rows) * forward_flops(shape, tokens=context, squares=float(context**2))
    return {
        "micro_batch_tokens": micro_batch_tokens,
        "tokens_per_s": len(rows) * context / seconds,
        "flops_share": share(work / seconds, of="flops"),
        "peak_gb": peak_gb(),
    }


def learn_rows(rows: int, context: int, *, vocabulary: int) -> list[TrainRow]:
    """Rows of random tokens, with log-probs near those of random weights."""
    rng = np.random.default_rng(0)
    prompt_tokens = min(PROMPT_TOKENS, context // 2)
    logp_T = np.full(context - prompt_tokens, -np.log(vocabulary), dtype=np.float32)
    ids_BT = rng.integers(2, vocabulary, (rows, context)).tolist()
    return [
        TrainRow(
            group=number,
            prompt_ids=tuple(ids[:prompt_tokens]),
            completion_ids=tuple(ids[prompt_tokens:]),
            logprobs=logp_T,
            advantage=1.0 if number % 2 else -1.0,
        )
        for number, ids in enumerate(ids_BT)
    ]


def beside_generate(size: Size, folder: Path) -> Figures:
    """Our sampler and transformers' ``generate`` in turn, from the same weights and prompts."""
    del folder
    policy, tokenizer = stopping_model(size.middle, positions=2048, where=device())
    problems = random_problems(size.generate_problems, vocabulary=policy.config.vocab_size)
    spec = SamplingSpec(samples=GROUP, cap_tokens=8 * size.rows, seed=0)
    sampler_rows = 2 * size.rows
    sampler = LocalSampler(policy, tokenizer, rows=sampler_rows)
    plain = sampling_copy(policy, dtype=sampling_dtype(policy.device))
    sampler.sample(problems[:2], spec)
    plain.generation_config = policy.generation_config

    def our_rate() -> float:
        tokens: list[int] = []
        seconds = timed(
            lambda: tokens.extend(r.tokens for g in sampler.sample(problems, spec) for r in g)
        )
        return sum(tokens) / seconds

    def their_rate() -> float:
        tokens: list[int] = []
        seconds = timed(
            lambda: tokens.append(
                useful_tokens_of_generate(plain, tokenizer, problems, spec, rows=sampler_rows)
            )
        )
        return sum(tokens) / seconds

    ours, theirs = zip(*[(our_rate(), their_rate()) for _ in range(size.repeats)], strict=True)
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {
        "tokens_per_s": median(ours),
        "generate_tokens_per_s": median(theirs),
        "ratio": median(ratios),
        "ratio_low": min(ratios),
        "ratio_high": max(ratios),
        "repeats": len(ratios),
    }
