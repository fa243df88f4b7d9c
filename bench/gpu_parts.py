"""What bench/gpu.py measures: a function a part, which returns the part's figures by name.

A figure that this machine does not have (memory and shares on a CPU, shares on a card whose peaks
are not listed) is None.
"""

import json
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from gpu_models import (
    Size,
    architecture_of,
    free_bytes,
    model_of,
    peak_gb,
    prompt_of,
    share,
    stopping_model,
    timed,
)
from sampler import tiny_tokenizer, useful_tokens_of_generate

from tersely.core import jsonl
from tersely.core.types import (
    EvalRecord,
    Finish,
    Grade,
    Problem,
    SamplingSpec,
    StepRecord,
    StepTiming,
)
from tersely.engines.learning.learner import LocalLearner
from tersely.engines.learning.rows import TrainRow
from tersely.engines.local.jobs import Job
from tersely.engines.local.sampler import LocalSampler
from tersely.engines.models import device, load_policy, sampling_copy, sampling_dtype
from tersely.flows.observer import QUIET, Quiet
from tersely.flows.price.roofline import forward_flops
from tersely.flows.recipe.recipe import Recipe, read_recipe, shipped
from tersely.flows.train.loop import train
from tersely.lab.problems import Split, draw_problems
from tersely.metrics.intervals import bootstrap_mean

Figures = dict[str, Any]

# What bfloat16 may change: its rounding is 2^-9, 0.2%, an operation. Autocast on a CPU moved
# log-probs by 0.001 to 0.004 nats and gradients by 0.008 to 0.02; a wrong position, mask or scale
# moves a log-prob by 0.1 to 10.
LOGP_NATS = 0.02  # mean |difference| a token
GRADIENT_APART = 0.05  # |difference| / |gradient|
# Recomputing runs the same kernels again; only the order of atomic additions may differ.
RECOMPUTED_APART = 0.01

GROUP = 8
PROMPT_TOKENS = 64
# A sampler's cache is widened by half when it is full, and both stand beside each other then.
CACHES = 2.5
MEMORY_SHARE = 0.8
# A run's files that hold clocks and the machine.
CLOCKS = {"timings.jsonl", "manifest.json"}


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


# --- bfloat16 and gradient checkpointing against float32 on the CPU ---


def precision(size: Size, folder: Path, *, model: str) -> Figures:
    """Log-probs and one update's gradient on this device, against float32 on the CPU."""
    del folder
    cpu = torch.device("cpu")
    if model == "lab":
        policy = load_policy("lab")
        here, tokenizer = policy.model, policy.tokenizer
        problems = draw_problems(per_family=size.check_rows, seed=0, split=Split.TEST)
    else:
        here, tokenizer = stopping_model(model, positions=1024, where=cpu)
        problems = random_problems(size.check_rows, vocabulary=here.config.vocab_size)
    reference = deepcopy(here).to(cpu)
    rows = sampled_rows(reference, tokenizer, problems[: size.check_rows], size)
    return compared(reference, here.to(device()), rows)


def random_problems(problems: int, *, vocabulary: int) -> list[Problem]:
    """Questions of random words."""
    return [
        Problem(
            id=f"q{i}", prompt=prompt_of(i, words=24, vocabulary=vocabulary), answer="7", source="x"
        )
        for i in range(problems)
    ]


def sampled_rows(
    model: Any, tokenizer: Any, problems: Sequence[Problem], size: Size
) -> list[TrainRow]:
    """One rollout a problem, every other one rewarded."""
    sampler = LocalSampler(model, tokenizer, rows=size.check_rows)
    spec = SamplingSpec(samples=1, cap_tokens=size.check_tokens, seed=0)
    return [
        TrainRow(
            group=number,
            prompt_ids=rollout.prompt_ids,
            completion_ids=rollout.completion_ids,
            logprobs=rollout.logprobs,
            advantage=1.0 if number % 2 else -1.0,
        )
        for number, (rollout,) in enumerate(sampler.sample(problems, spec))
    ]


def compared(reference: Any, here: Any, rows: Sequence[TrainRow]) -> Figures:
    """How far ``here`` is from ``reference``, plainly and with gradient checkpointing."""
    ours, theirs = learner_of(here), learner_of(reference)
    apart = [
        np.abs(
            ours.score(row.prompt_ids, row.completion_ids)
            - theirs.score(row.prompt_ids, row.completion_ids)
        )
        for row in rows
    ]
    wanted, plain = gradient(theirs, rows), gradient(ours, rows)
    recomputed = gradient(learner_of(here, checkpointing=True), rows)
    found = {
        "logp_apart_nats": float(np.concatenate(apart).mean(dtype=np.float64)),
        "gradient_apart": relative(plain, wanted),
        "recomputed_apart": relative(recomputed, plain),
    }
    bounds = (LOGP_NATS, GRADIENT_APART, RECOMPUTED_APART)
    within = all(value <= bound for value, bound in zip(found.values(), bounds, strict=True))
    return {**found, "passed": within}


def learner_of(
    model: Any, *, checkpointing: bool = False, micro_batch_tokens: int = 8192
) -> LocalLearner:
    """A learner that never scales a gradient and hardly moves a weight."""
    return LocalLearner(
        model,
        learning_rate=1e-12,
        warmup_steps=0,
        tokens_per_micro_batch=micro_batch_tokens,
        max_grad_norm=1e12,
        gradient_checkpointing=checkpointing,
    )


def gradient(learner: LocalLearner, rows: Sequence[TrainRow]) -> torch.Tensor:
    """The gradient of one update, as one vector on the CPU."""
    found: list[torch.Tensor] = []

    def keep(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        weights = optimizer.param_groups[0]["params"]
        found.append(torch.cat([w.grad.detach().flatten().cpu() for w in weights]))

    handle = learner.optimizer.register_step_pre_hook(keep)
    learner.step(rows, updates=1)
    handle.remove()
    return found[0]


def relative(vector: torch.Tensor, wanted: torch.Tensor) -> float:
    """``|vector - wanted| / |wanted|``"""
    return float((vector - wanted).double().norm() / wanted.double().norm())


# --- a run that was stopped, and one that was not ---


def resume(size: Size, folder: Path, *, deterministic: bool) -> Figures:
    """Files that differ between two equal runs, and between one of them and a resumed one."""
    settings = (
        "learner.steps=4", "checkpoint.every_steps=2", "evaluation.every_steps=2",
        "evaluation.samples=2", "evaluation.budgets=[20, 40]", "problems.train_limit=60",
        "sampling.cap_tokens=40",
    )  # fmt: skip
    recipe = read_recipe(shipped("demo"), overrides=(*settings, *size.resume))
    half = recipe.learner.steps // 2
    first, again, resumed = (unused(folder / name) for name in ("first", "again", "resumed"))
    with repeatable(deterministic):
        train(recipe, first, observer=QUIET)
        train(recipe, again, observer=QUIET)
        train(recipe, resumed, observer=Quiet(wants_stop=lambda: steps_of(resumed) >= half))
        train(recipe, resumed, resume=True, observer=QUIET)
    apart = differing(first, resumed)
    return {"again": len(differing(first, again)), "resumed": len(apart), "passed": not apart}


@contextmanager
def repeatable(deterministic: bool) -> Iterator[None]:
    """Kernels that give the same bits every time, where torch has them; without, as it comes.

    Some have no such form (the sampler's cumulative sum is one): torch only warns of them.
    """
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*deterministic", category=UserWarning)
            yield
    finally:
        torch.use_deterministic_algorithms(False)


def unused(folder: Path) -> Path:
    """``folder/run``, or the next name that is free: a part may be tried again.

    The folder of a run is called alike every time, since records hold its name.
    """
    return next(
        run for n in count() if not (run := folder.with_name(f"{folder.name}-{n}") / "run").exists()
    )


def steps_of(run: Path) -> int:
    """Steps that a run has recorded."""
    file = run / "steps.jsonl"
    return len(file.read_bytes().splitlines()) if file.is_file() else 0


def differing(one: Path, other: Path) -> list[str]:
    """Files that are not the same bytes in both folders, but for those that hold clocks."""
    names = {
        str(file.relative_to(run))
        for run in (one, other)
        for file in run.rglob("*")
        if file.is_file() and file.name not in CLOCKS
    }
    return sorted(name for name in names if _bytes(one / name) != _bytes(other / name))


def _bytes(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None


# --- speed ---


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
    work = 3 * len(rows) * forward_flops(shape, context)
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


# --- whole runs ---


def rl_steps(size: Size, folder: Path) -> Figures:
    """Whole steps of a run: sampling, grading, one update with gradient checkpointing."""
    model, tokenizer = stopping_model(size.middle, positions=1024, where=torch.device("cpu"))
    home = unused(folder / "rl").parent
    model.save_pretrained(home / "model")
    tokenizer.save_pretrained(home / "model")
    vocabulary = model.config.vocab_size
    problems = random_problems(72, vocabulary=vocabulary)
    for name, some in (("train", problems[:64]), ("test", problems[64:])):
        text = "".join(json.dumps({"prompt": p.prompt, "answer": p.answer}) + "\n" for p in some)
        (home / f"{name}.jsonl").write_text(text, encoding="utf-8")
    run = home / "run"
    train(rl_recipe(home, size), run, observer=QUIET)
    steps = list(jsonl.read(run / "steps.jsonl", StepRecord))
    seconds = [seconds_of(timing) for timing in jsonl.read(run / "timings.jsonl", StepTiming)]
    shutil.rmtree(home)  # weights and optimizer take 2 GB
    return {
        "model": size.middle,
        "steps": len(steps),
        "step_s": median(seconds[1:]),
        "tokens_per_s": sum(s.sampled_tokens for s in steps[1:]) / sum(seconds[1:]),
        "tokens_first": steps[0].tokens_mean,
        "tokens_last": steps[-1].tokens_mean,
        "rollouts": steps[0].rollouts,
        "sampler_mismatch_nats": max(step.sampler_mismatch for step in steps),
        "peak_gb": peak_gb(),
    }


def rl_recipe(home: Path, size: Size) -> Recipe:
    """No answer is right, so that the reward is the distance from the target length alone."""
    file = home / "recipe.toml"
    file.write_text(
        f"""
model = {{ path = "{home / "model"}", gradient_checkpointing = true }}
problems = {{ train = "{home / "train.jsonl"}", test = "{home / "test.jsonl"}" }}
sampling = {{ prompts_per_step = 16, samples_per_prompt = {GROUP}, cap_tokens = 256 }}
reward.name = "l1_exact"
target = {{ name = "fixed", tokens = 16 }}
learner = {{ steps = 20, learning_rate = 1e-4 }}
evaluation = {{ every_steps = 100, samples = 2, budgets = [16, 32] }}
checkpoint = {{ every_steps = 100 }}
""",
        encoding="utf-8",
    )
    return read_recipe(file, overrides=size.rl)


def seconds_of(timing: StepTiming) -> float:
    """A step's whole time."""
    return timing.sample_s + timing.grade_s + timing.learn_s + timing.other_s


def demo(size: Size, folder: Path) -> Figures:
    """`tersely train` without a recipe, evaluated before, in the middle and after.

    A demo that was stopped at its limit goes on.
    """
    run = folder / "demo"
    recipe = read_recipe(shipped("demo"), overrides=size.demo)
    goes_on = (run / "manifest.json").is_file()
    seconds = timed(lambda: train(recipe, run, resume=goes_on, observer=QUIET))
    before, after = (
        list(jsonl.read(run / "eval" / f"step-{step:06d}.jsonl", EvalRecord))
        for step in (0, recipe.learner.steps)
    )
    steps_s = [seconds_of(timing) for timing in jsonl.read(run / "timings.jsonl", StepTiming)]
    return {
        "run_s": None if goes_on else seconds,
        "steps": len(steps_s),
        "steps_s": sum(steps_s),
        **{f"tokens_{when}": interval(r, tokens) for when, r in _both(before, after)},
        **{f"right_in_40_{when}": interval(r, right_in_40) for when, r in _both(before, after)},
    }


def _both(
    before: list[EvalRecord], after: list[EvalRecord]
) -> tuple[tuple[str, list[EvalRecord]], ...]:
    return ("before", before), ("after", after)


def tokens(record: EvalRecord) -> float:
    """Tokens of a sample."""
    return float(record.tokens)


def right_in_40(record: EvalRecord) -> float:
    """1 if a sample is right within 40 tokens, NaN if it was not graded."""
    if record.grade is Grade.UNGRADED:
        return float("nan")
    right = record.grade is Grade.CORRECT and record.finish is Finish.STOP
    return float(right and record.tokens <= 40)


def interval(records: Sequence[EvalRecord], value: Any) -> list[float]:
    """Estimate, low and high of a mean over problems, and its number of samples."""
    problems: dict[str, list[float]] = {}
    for record in records:
        problems.setdefault(record.problem, []).append(value(record))
    means_P = np.array([np.nanmean(values) for values in problems.values()])
    found = bootstrap_mean(means_P, n_samples=len(records), rng=np.random.default_rng(0))
    return [found.estimate, found.low, found.high, len(records)]
