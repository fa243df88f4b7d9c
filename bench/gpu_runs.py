"""The whole runs of bench/gpu.py: RL steps of one model, and the demo."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from gpu_checks import unused
from gpu_models import (
    GROUP,
    Size,
    peak_gb,
    random_problems,
    stopping_model,
    timed,
)

from tersely.core import jsonl
from tersely.core.types import (
    EvalRecord,
    Finish,
    Grade,
    StepRecord,
    StepTiming,
)
from tersely.flows.observer import QUIET
from tersely.flows.recipe.recipe import Recipe, read_recipe, shipped
from tersely.flows.train.loop import train
from tersely.metrics.intervals import bootstrap_mean

Figures = dict[str, Any]


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
        **{
            f"right_in_target_{when}": interval(r, right_in_target)
            for when, r in _both(before, after)
        },
    }


def _both(
    before: list[EvalRecord], after: list[EvalRecord]
) -> tuple[tuple[str, list[EvalRecord]], ...]:
    return ("before", before), ("after", after)


def tokens(record: EvalRecord) -> float:
    """Tokens of a sample."""
    return float(record.tokens)


def right_in_target(record: EvalRecord) -> float:
    """1 if a sample is right within the demo's L_T of 96 tokens, NaN if it was not graded."""
    if record.grade is Grade.UNGRADED:
        return float("nan")
    right = record.grade is Grade.CORRECT and record.finish is Finish.STOP
    return float(right and record.tokens <= 96)


def interval(records: Sequence[EvalRecord], value: Any) -> list[float]:
    """Estimate, low and high of a mean over problems, and its number of samples."""
    problems: dict[str, list[float]] = {}
    for record in records:
        problems.setdefault(record.problem, []).append(value(record))
    means_P = np.array([np.nanmean(values) for values in problems.values()])
    found = bootstrap_mean(means_P, n_samples=len(records), rng=np.random.default_rng(0))
    return [found.estimate, found.low, found.high, len(records)]
