"""What bench/gpu.py checks: bfloat16, gradient checkpointing and resumed runs.

A check returns its figures by name, and in ``passed`` whether they are within bounds.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_models import (
    Size,
    learner_of,
    random_problems,
    stopping_model,
)

from tersely.core.types import (
    Problem,
    SamplingSpec,
)
from tersely.engines.learning.learner import LocalLearner
from tersely.engines.learning.rows import TrainRow
from tersely.engines.local.sampler import LocalSampler
from tersely.engines.models import device, load_policy
from tersely.flows.observer import QUIET, Quiet
from tersely.flows.recipe.recipe import read_recipe, shipped
from tersely.flows.train.loop import train
from tersely.lab.problems import Split, draw_problems

Figures = dict[str, Any]

# What bfloat16 may change: its rounding is 2^-9, 0.2%, an operation. Autocast on a CPU moved
# log-probs by 0.001 to 0.004 nats and gradients by 0.008 to 0.02; a wrong position, mask or scale
# moves a log-prob by 0.1 to 10.
LOGP_NATS = 0.02  # mean |difference| a token
GRADIENT_APART = 0.05  # |difference| / |gradient|
# Recomputing runs the same kernels again; only the order of atomic additions may differ.
RECOMPUTED_APART = 0.01

# A run's files that hold clocks and the machine.
CLOCKS = {"timings.jsonl", "manifest.json"}


def precision(size: Size, folder: Path, *, model: str) -> Figures:
    """Log-probs and one update's gradient on this device, against float32 on the CPU."""
    del folder
    cpu = torch.device("cpu")
    if model == "lab":
        policy = load_policy("lab-v1")
        here, tokenizer = policy.model, policy.tokenizer
        problems = draw_problems(per_family=size.check_rows, seed=0, split=Split.TEST)
    else:
        here, tokenizer = stopping_model(model, positions=1024, where=cpu)
        problems = random_problems(size.check_rows, vocabulary=here.config.vocab_size)
    reference = deepcopy(here).to(cpu)
    rows = sampled_rows(reference, tokenizer, problems[: size.check_rows], size)
    return compared(reference, here.to(device()), rows)


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


def resume(size: Size, folder: Path, *, deterministic: bool) -> Figures:
    """Files that differ between two equal runs, and between one of them and a resumed one."""
    settings = (
        "learner.steps=4", "checkpoint.every_steps=2", "evaluation.every_steps=2",
        "evaluation.samples=2", "evaluation.budgets=[20, 40]", "problems.train_limit=60",
        "sampling.cap_tokens=40", "target.tokens=30",
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
