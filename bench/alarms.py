"""How often the alarms are right, on made runs: healthy ones, and ones that fail in known ways.

Every run has columns as trainers write them. Shares are counts of rollouts of prompts that differ
in difficulty, so that a step of few prompts is noisy; lengths have heavy tails, gradient norms and
KL are lognormal, and in half of the runs the policy itself wanders (an autoregression). A fifth of
the runs each lacks a tenth of its steps, repeats steps after a restart, or is logged every few
steps, and the columns are those of our own records, of TRL's or of verl's with an accuracy.

    python bench/alarms.py [--runs 200] [--seed 1000] [--part healthy] [--only trap]

Thresholds were set on seeds below 1000. Failures that come on are complete after 30 to 300 steps
(log-uniform). "early 9, 8 of 10" reads: in 9 runs an error stood before half of what is lost was
lost, in 8 of the 10 in which the best possible test would have seen it by then.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tersely.dynamics.alarms import Severity, first_alarms
from tersely.dynamics.log import StepLog, make_log

BATCHES = (8, 16, 32, 64, 128)
OURS = [
    "accuracy",
    "reward_mean",
    "positive_share",
    "zero_signal_share",
    "truncated_share",
    "unparsed_share",
    "tokens_mean",
    "entropy_mean",
    "kl_mean",
    "sampler_mismatch",
    "clip_share",
    "grad_norm",
    "loss",
    "learning_rate",
    "solved_share",
    "looping_share",
    "prompts",
    "rollouts",
    "target_tokens",
    "eval_accuracy",
]
TRL = [
    "reward_mean",
    "zero_signal_share",
    "truncated_share",
    "tokens_mean",
    "entropy_mean",
    "kl_mean",
    "sampler_mismatch",
    "clip_share",
    "grad_norm",
    "loss",
    "learning_rate",
    "accuracy",
]
VERL = [
    "reward_mean",
    "truncated_share",
    "tokens_mean",
    "entropy_mean",
    "kl_mean",
    "clip_share",
    "grad_norm",
    "loss",
    "learning_rate",
    "accuracy",
    "eval_accuracy",
]


class Course(NamedTuple):
    """What a made run does, a value a step: the means about which its columns scatter."""

    steps: int
    prompts: int
    group: int
    means: dict[str, np.ndarray]


def ramp(steps: int, start: float, length: float, *, sharp: bool) -> np.ndarray:
    """From 0 to 1, beginning at a step: along a line, or fast first."""
    t_N = np.maximum(np.arange(steps) - start, 0) / length
    return 1 - np.exp(-3 * t_N) if sharp else np.minimum(t_N, 1.0)


def base(rng: np.random.Generator, prompts: int, *, steps: int | None = None) -> Course:
    """A healthy run: length decays, accuracy rises or stays, entropy falls or drifts."""
    if steps is None:
        steps = int(
            rng.choice(
                [rng.integers(30, 61), rng.integers(100, 320), rng.integers(500, 700)],
                p=[0.25, 0.6, 0.15],
            )
        )
    t_N = np.arange(steps)
    fall_N = 1 - np.exp(-t_N / rng.uniform(10, 80))
    tokens, left = rng.choice([100, 1000, 6000]) * rng.uniform(0.6, 1.5), rng.uniform(0.25, 0.95)
    accuracy, gain = rng.uniform(0.3, 0.7), rng.uniform(0.0, 0.25)
    share = rng.uniform(0.12, 0.6)
    means = {
        "tokens_mean": tokens * (1 - (1 - left) * fall_N),
        "accuracy": accuracy + gain * fall_N,
        "positive_share": share + rng.uniform(0, 0.3) * fall_N,
        "entropy_mean": rng.uniform(0.15, 0.9) * (1 - (1 - rng.uniform(0.3, 1.3)) * fall_N),
        "truncated_share": np.full(steps, rng.choice([0.0, 0.02, 0.1])) * (1 - 0.5 * fall_N),
        "unparsed_share": np.full(steps, rng.choice([0.0, 0.02, 0.08])) * (1 - 0.5 * fall_N),
        "looping_share": np.full(steps, rng.choice([0.0, 0.01, 0.06])) * (1 - 0.5 * fall_N),
        "kl_mean": 1e-3 + rng.uniform(0.005, 0.15) * t_N / 200,
        "sampler_mismatch": np.full(steps, rng.uniform(0.001, 0.02)),
        "clip_share": np.full(steps, rng.uniform(0.0005, 0.03)),
        "grad_norm": rng.uniform(0.1, 2) * (1 - 0.6 * fall_N),
        "target_tokens": np.full(steps, tokens * rng.uniform(0.9, 1.4)),
        "learning_rate": np.full(steps, 1e-6),
        "eval_accuracy": accuracy - 0.03 + gain * fall_N,
    }
    return Course(steps, prompts, int(rng.choice([4, 8, 16])), means)


def wander(rng: np.random.Generator, steps: int, size: float, rho: float) -> np.ndarray:
    white_N = rng.normal(0, size * np.sqrt(1 - rho**2), steps)
    made_N = np.empty(steps)
    made_N[0] = rng.normal(0, size)
    for step in range(1, steps):
        made_N[step] = rho * made_N[step - 1] + white_N[step]
    return made_N


def share(
    rng: np.random.Generator, mean_N: np.ndarray, course: Course
) -> tuple[np.ndarray, np.ndarray]:
    """A share of rollouts, and of prompts that have one, of prompts whose chances differ (beta)."""
    mean_NP = np.clip(mean_N, 1e-6, 1 - 1e-6)[:, None]
    shape = rng.uniform(0.8, 3)
    chance_NP = rng.beta(shape * mean_NP, shape * (1 - mean_NP), (course.steps, course.prompts))
    right_NP = rng.binomial(course.group, chance_NP)
    return right_NP.mean(1) / course.group, right_NP


def written(
    rng: np.random.Generator, course: Course, *, columns: list[str] | None = None
) -> StepLog:
    """The log of a course: its noise, and what a trainer leaves out."""
    steps, means = course.steps, dict(course.means)
    rho = rng.choice([0.0, 0.5])
    own = wander(rng, steps, 0.02, 0.7) if rho else np.zeros(steps)
    rollouts = course.prompts * course.group
    made: dict[str, np.ndarray] = {}
    for name, mean_N in means.items():
        if name == "eval_accuracy":
            every = int(rng.choice([12, 18]))
            value_N = rng.binomial(800, np.clip(np.nan_to_num(mean_N), 0, 1)) / 800
            made[name] = np.where(np.arange(steps) % every == 0, value_N, np.nan)
        elif (name.endswith("_share") and name != "clip_share") or name == "accuracy":
            mean_N = np.nan_to_num(mean_N)
            if name == "zero_signal_share":
                made[name] = rng.binomial(course.prompts, np.clip(mean_N, 0, 1)) / course.prompts
                continue
            value_N, right_NP = share(rng, mean_N * np.exp(own), course)
            made[name] = value_N
            if name == "accuracy":
                made["solved_share"] = (right_NP > 0).mean(1)
            if name == "positive_share":
                equal_N = ((right_NP == 0) | (right_NP == course.group)).mean(1)
                made.setdefault("zero_signal_share", equal_N)
        elif name in ("target_tokens", "learning_rate", "difficulty"):
            made[name] = mean_N
        else:
            tail = {"grad_norm": 0.3, "kl_mean": 0.15, "clip_share": 0.3, "sampler_mismatch": 0.2}
            size = tail.get(name, 0.6 / np.sqrt(course.prompts * 2))
            noise_N = wander(rng, steps, size, rho)
            if name == "tokens_mean":
                noise_N = noise_N * np.sqrt(3 / rng.chisquare(5, steps) * 5 / 3 * 0.6)
            made[name] = mean_N * np.exp(noise_N)
    made.setdefault("reward_mean", made["positive_share"])
    made["loss"] = rng.normal(0, 0.01, steps)
    made["prompts"], made["rollouts"] = np.full(steps, course.prompts), np.full(steps, rollouts)
    for name, value_N in means.items():
        made[name] = np.where(np.isnan(value_N), np.nan, made[name])
    kept = np.arange(steps)
    match int(rng.integers(5)):
        case 0:
            kept = np.sort(rng.permutation(steps)[: steps - steps // 10])
        case 1:
            at = int(rng.integers(steps // 3, steps))
            kept = np.r_[0:at, max(0, at - 8) : steps]
        case 2 if steps >= 150:
            kept = np.arange(0, steps, int(rng.integers(2, 4)))
    return make_log(
        kept,
        {n: v[kept] for n, v in made.items() if n in (*columns, "difficulty")},
    )


Kind = Callable[[np.random.Generator, int], Course]


def put(course: Course, **means: np.ndarray) -> Course:
    return course._replace(means={**course.means, **means})


# Healthy kinds ---------------------------------------------------------------------------------


def plain(rng: np.random.Generator, prompts: int) -> Course:
    return base(rng, prompts)


def third(rng: np.random.Generator, prompts: int) -> Course:
    """Length and entropy fall to a third, and more is rewarded."""
    course = base(rng, prompts)
    fall_N = 1 - np.exp(-np.arange(course.steps) / rng.uniform(10, 40))
    first = course.means
    return put(
        course,
        tokens_mean=first["tokens_mean"][0] * (1 - 0.67 * fall_N),
        entropy_mean=first["entropy_mean"][0] * (1 - rng.uniform(0.5, 0.75) * fall_N),
        positive_share=rng.uniform(0.1, 0.3) + rng.uniform(0.2, 0.5) * fall_N,
        accuracy=rng.uniform(0.4, 0.7) + rng.uniform(0, 0.2) * fall_N,
    )


def flat(rng: np.random.Generator, prompts: int) -> Course:
    course = base(rng, prompts)
    return put(course, **{n: np.full(course.steps, v[0]) for n, v in course.means.items()})


def longer(rng: np.random.Generator, prompts: int) -> Course:
    """Length and accuracy rise; nothing aims at a length."""
    course = base(rng, prompts)
    t_N = np.arange(course.steps) / course.steps
    tokens = course.means["tokens_mean"][0]
    return put(
        course,
        tokens_mean=tokens * (1 + rng.uniform(0.3, 3) * t_N),
        accuracy=rng.uniform(0.2, 0.4) + 0.3 * t_N,
        target_tokens=np.full(course.steps, np.nan),
        truncated_share=0.01 + 0.04 * t_N,
    )


def tighter(rng: np.random.Generator, prompts: int) -> Course:
    """The target falls, and length and the rewarded share with it; the log has the target."""
    course = base(rng, prompts)
    t_N = ramp(course.steps, course.steps * 0.1, course.steps * 0.8, sharp=False)
    tokens = course.means["tokens_mean"][0]
    target_N = tokens * (1.1 - 0.7 * t_N)
    if rng.random() < 0.5:
        target_N = tokens * (1.1 - 0.7 * np.floor(t_N * 4) / 4)
    start = rng.uniform(0.4, 0.7)
    return put(
        course,
        tokens_mean=target_N * 0.9,
        target_tokens=target_N,
        positive_share=start - rng.uniform(0.05, 0.25) * t_N,
        entropy_mean=0.6 * (1 - 0.5 * t_N),
    )


def looser(rng: np.random.Generator, prompts: int) -> Course:
    """After a fall, the target rises on purpose and length follows."""
    course = base(rng, prompts, steps=int(rng.integers(150, 350)))
    t_N = np.arange(course.steps)
    half = course.steps // 2
    factor_N = np.where(
        t_N < half, 0.4 + 0.6 * np.exp(-t_N / 20), 0.4 + 0.4 * (1 - np.exp(-(t_N - half) / 20))
    )
    tokens = course.means["tokens_mean"][0]
    return put(
        course,
        tokens_mean=tokens * factor_N,
        target_tokens=tokens * np.where(t_N < half, 0.45, 0.9),
    )


def curriculum(rng: np.random.Generator, prompts: int) -> Course:
    """Prompts become harder, along a line or in stages, and the log says so."""
    course = base(rng, prompts)
    t_N = np.arange(course.steps) / course.steps
    hard_N = np.floor(t_N * 4) / 3 if rng.random() < 0.5 else t_N
    start = rng.uniform(0.55, 0.85)
    fall = rng.uniform(0.3, 0.6)
    return put(
        course,
        accuracy=start * (1 - fall * hard_N),
        positive_share=0.8 * start * (1 - fall * hard_N),
        difficulty=1 + 7 * hard_N,
        eval_accuracy=np.full(course.steps, np.nan)
        if rng.random() < 0.5
        else course.means["eval_accuracy"],
    )


def curriculum_with_held_out(rng: np.random.Generator, prompts: int) -> Course:
    """Prompts become harder, which the log does not say, but held-out accuracy is in it."""
    course = curriculum(rng, prompts)
    means = {n: v for n, v in course.means.items() if n != "difficulty"}
    rise_N = 0.4 + 0.1 * np.arange(course.steps) / course.steps
    return course._replace(means={**means, "eval_accuracy": rise_N})


def dip(rng: np.random.Generator, prompts: int) -> Course:
    """Accuracy gives some points to a shorter length, and settles."""
    course = base(rng, prompts)
    fall_N = 1 - np.exp(-np.arange(course.steps) / 25)
    start = rng.uniform(0.55, 0.8)
    return put(
        course, accuracy=start * (1 - 0.06 * fall_N), eval_accuracy=start * (1 - 0.05 * fall_N)
    )


HEALTHY: dict[str, Kind] = {
    "plain": plain,
    "third": third,
    "flat": flat,
    "longer": longer,
    "tighter target": tighter,
    "looser target": looser,
    "curriculum": curriculum,
    "curriculum, held-out": curriculum_with_held_out,
    "dip": dip,
}

# Columns without which a kind cannot be told.
NEEDED = {
    "tighter target": ("target_tokens",),
    "looser target": ("target_tokens",),
    "curriculum, held-out": ("eval_accuracy",),
}

# Failing kinds ---------------------------------------------------------------------------------


def onset(rng: np.random.Generator, course: Course) -> tuple[float, np.ndarray]:
    """When a failure begins, and how far it is: complete 30 to 300 steps later."""
    at = rng.uniform(0.1, 0.4) * course.steps
    length = float(np.exp(rng.uniform(np.log(30), np.log(300))))
    return at, ramp(course.steps, at, length, sharp=bool(rng.integers(2)))


def long_base(rng: np.random.Generator, prompts: int) -> Course:
    return base(rng, prompts, steps=int(rng.integers(160, 600)))


def trap(rng: np.random.Generator, prompts: int) -> Course:
    course = long_base(rng, prompts)
    _, lost_N = onset(rng, course)
    first = {n: v[0] for n, v in course.means.items()}
    start, left_N = rng.uniform(0.3, 0.65), 1 - rng.uniform(0.3, 0.8) * lost_N
    return put(
        course,
        tokens_mean=first["tokens_mean"] * (1 - rng.uniform(0.65, 0.9) * lost_N),
        entropy_mean=first["entropy_mean"] * (1 - rng.uniform(0.45, 0.8) * lost_N),
        positive_share=start * (1 - rng.uniform(0.3, 0.7) * lost_N),
        accuracy=course.means["accuracy"] * left_N,
        eval_accuracy=course.means["eval_accuracy"] * left_N,
    )


def same_length_loss(rng: np.random.Generator, prompts: int) -> Course:
    course = long_base(rng, prompts)
    _, lost_N = onset(rng, course)
    flat_N = np.full(course.steps, course.means["tokens_mean"][0])
    left_N = 1 - rng.uniform(0.45, 0.8) * lost_N
    return put(
        course,
        tokens_mean=flat_N,
        accuracy=course.means["accuracy"] * left_N,
        positive_share=course.means["positive_share"] * left_N,
        eval_accuracy=course.means["eval_accuracy"] * left_N,
    )


def hacked(rng: np.random.Generator, prompts: int) -> Course:
    course = long_base(rng, prompts)
    _, lost_N = onset(rng, course)
    flat_N = np.full(course.steps, course.means["tokens_mean"][0])
    left_N = 1 - rng.uniform(0.3, 0.8) * lost_N
    return put(
        course,
        tokens_mean=flat_N,
        accuracy=course.means["accuracy"] * left_N,
        positive_share=rng.uniform(0.3, 0.5) + 0.4 * lost_N,
        eval_accuracy=course.means["eval_accuracy"] * left_N,
    )


def not_held_out(rng: np.random.Generator, prompts: int) -> Course:
    course = long_base(rng, prompts)
    _, lost_N = onset(rng, course)
    return put(
        course,
        accuracy=course.means["accuracy"] + 0.2 * lost_N,
        eval_accuracy=course.means["eval_accuracy"] * (1 - rng.uniform(0.25, 0.7) * lost_N),
    )


def nan(rng: np.random.Generator, prompts: int) -> Course:
    course = long_base(rng, prompts)
    at = int(rng.integers(12, course.steps // 2))
    late_N = np.arange(course.steps) >= at
    names = [n for n in course.means if n in TRL]
    if rng.random() < 0.5:
        names = [str(rng.choice([n for n in names if n in VERL and n != "learning_rate"]))]
    return put(course, **{n: np.where(late_N, np.nan, course.means[n]) for n in names})


def kl_series(rng: np.random.Generator, prompts: int) -> Course:
    course = long_base(rng, prompts)
    at = rng.choice(np.arange(10, course.steps - 5), size=int(rng.integers(9, 14)), replace=False)
    kl_N = course.means["kl_mean"].copy()
    kl_N[at] *= rng.uniform(2.2, 4, at.size)
    return put(course, kl_mean=kl_N)


def all_cut(rng: np.random.Generator, prompts: int) -> Course:
    course = long_base(rng, prompts)
    return put(course, truncated_share=np.full(course.steps, rng.uniform(0.85, 0.999)))


def no_signal(rng: np.random.Generator, prompts: int) -> Course:
    course = long_base(rng, prompts)
    if rng.random() < 0.5:
        zero_N = np.full(course.steps, rng.uniform(0.85, 0.99))
        return put(course, zero_signal_share=zero_N, accuracy=np.full(course.steps, 0.5))
    zero_N = np.where(rng.random(course.steps) < rng.uniform(0.7, 1), 0.0, 0.3)
    return put(course, grad_norm=zero_N)


def other_policy(rng: np.random.Generator, prompts: int) -> Course:
    course = long_base(rng, prompts)
    return put(course, sampler_mismatch=np.full(course.steps, rng.uniform(0.2, 2)))


def loops(rng: np.random.Generator, prompts: int) -> Course:
    course = long_base(rng, prompts)
    _, lost_N = onset(rng, course)
    return put(course, looping_share=rng.uniform(0, 0.05) + rng.uniform(0.25, 0.7) * lost_N)


def entropy_up(rng: np.random.Generator, prompts: int) -> Course:
    course = long_base(rng, prompts)
    _, lost_N = onset(rng, course)
    first = course.means["entropy_mean"][0]
    return put(course, entropy_mean=first * (1 + rng.uniform(2.2, 8) * lost_N))


def entropy_down(rng: np.random.Generator, prompts: int) -> Course:
    course = long_base(rng, prompts)
    _, lost_N = onset(rng, course)
    first = course.means["entropy_mean"][0]
    return put(
        course,
        entropy_mean=first * (1 - rng.uniform(0.9, 0.98) * lost_N),
        accuracy=np.minimum(course.means["accuracy"], 0.75),
    )


def rebound(rng: np.random.Generator, prompts: int) -> Course:
    course = long_base(rng, prompts)
    t_N = np.arange(course.steps)
    tokens, half = course.means["tokens_mean"][0], int(course.steps * rng.uniform(0.4, 0.6))
    back_N = np.clip((t_N - half) / (0.4 * course.steps), 0, 1)
    return put(
        course,
        tokens_mean=tokens * (0.35 + 0.65 * np.exp(-t_N / 15) + rng.uniform(0.25, 0.6) * back_N),
        entropy_mean=np.full(course.steps, course.means["entropy_mean"][0]),
        target_tokens=np.full(course.steps, np.nan),
        accuracy=np.full(course.steps, course.means["accuracy"][0]),
    )


def starved(rng: np.random.Generator, prompts: int) -> Course:
    course = long_base(rng, prompts)
    share_N = np.full(course.steps, rng.uniform(0.005, 0.055))
    return put(course, positive_share=share_N, accuracy=np.full(course.steps, 0.06))


def ungraded(rng: np.random.Generator, prompts: int) -> Course:
    course = long_base(rng, prompts)
    _, lost_N = onset(rng, course)
    return put(course, unparsed_share=0.02 + rng.uniform(0.12, 0.6) * lost_N)


def uncovered(rng: np.random.Generator, prompts: int) -> Course:
    course = long_base(rng, prompts)
    flat_N = np.full(course.steps, 0.5)
    _, lost_N = onset(rng, course)
    return put(course, accuracy=flat_N, solved_share=0.85 - rng.uniform(0.15, 0.3) * lost_N)


def overlong(rng: np.random.Generator, prompts: int) -> Course:
    course = long_base(rng, prompts)
    _, lost_N = onset(rng, course)
    tokens = course.means["tokens_mean"][0]
    return put(
        course,
        tokens_mean=tokens * (1 + rng.uniform(0.3, 1.5) * lost_N),
        target_tokens=np.full(course.steps, 0.9 * tokens),
    )


def more_cut(rng: np.random.Generator, prompts: int) -> Course:
    course = long_base(rng, prompts)
    _, lost_N = onset(rng, course)
    return put(course, truncated_share=0.02 + rng.uniform(0.2, 0.7) * lost_N)


def gradient(rng: np.random.Generator, prompts: int) -> Course:
    course = long_base(rng, prompts)
    norm_N = course.means["grad_norm"].copy()
    at = int(rng.integers(40, course.steps - 10))
    if rng.random() < 0.5:
        norm_N[at:] *= rng.uniform(15, 100)
    else:
        norm_N[rng.choice(np.arange(100, course.steps), 9, replace=False)] *= rng.uniform(40, 160)
    return put(course, grad_norm=norm_N)


def clipped(rng: np.random.Generator, prompts: int) -> Course:
    course = long_base(rng, prompts)
    return put(course, clip_share=np.full(course.steps, rng.uniform(0.6, 1.0)))


def rate_zero(rng: np.random.Generator, prompts: int) -> Course:
    course = long_base(rng, prompts)
    return put(course, learning_rate=np.zeros(course.steps))


class Failure(NamedTuple):
    """How a kind of failure is made, what may name it, the columns it is in, and what it loses."""

    make: Kind
    names: tuple[str, ...]
    needs: tuple[str, ...] = ()
    loses: str = ""


LOSS = (
    "reasoning collapse",
    "accuracy falling",
    "short is correct trap",
    "reward hacking",
    "held out falling",
)
FAILING = {
    "trap": Failure(trap, LOSS, ("positive_share",), "accuracy"),
    "accuracy, same length": Failure(same_length_loss, LOSS, ("accuracy",), "accuracy"),
    "reward hacking": Failure(hacked, LOSS, ("accuracy",), "accuracy"),
    "held-out falls": Failure(
        not_held_out, ("held out falling",), ("eval_accuracy",), "eval_accuracy"
    ),
    "NaN": Failure(nan, ("curve ended",)),
    "KL spikes": Failure(kl_series, ("kl spike",)),
    "all cut": Failure(all_cut, ("truncation stuck",)),
    "no signal": Failure(no_signal, ("nothing learned",), ("zero_signal_share",)),
    "sampler mismatch": Failure(other_policy, ("sampler mismatch",), ("sampler_mismatch",)),
    "loops": Failure(loops, ("looping",), ("looping_share",)),
    "entropy up": Failure(entropy_up, ("entropy explosion",)),
    "entropy down": Failure(entropy_down, ("entropy collapse",)),
    "rebound": Failure(rebound, ("length rebound", "overlong hacking")),
    "starvation": Failure(starved, ("positive share starvation",), ("positive_share",)),
    "grader": Failure(ungraded, ("grader failures",), ("unparsed_share",)),
    "coverage": Failure(uncovered, ("coverage falling",), ("solved_share",)),
    "overlong": Failure(overlong, ("overlong hacking",), ("target_tokens",)),
    "more cut": Failure(more_cut, ("truncation rising",)),
    "gradient": Failure(gradient, ("gradient explosion",)),
    "clipping": Failure(clipped, ("clipping",)),
    "rate zero": Failure(rate_zero, ("nothing learned",)),
}


def chosen(rng: np.random.Generator, needs: tuple[str, ...]) -> list[str]:
    """The columns of one tool that has those."""
    tools = [tool for tool in (OURS, TRL, VERL) if set(needs) <= set(tool)]
    return list(tools[rng.integers(len(tools))])


def healthy_line(kind: str, prompts: int, runs: int, seed: int) -> tuple[int, int, Counter[str]]:
    """How many runs raised an error and any alarm, and which."""
    errors = any_ = 0
    which: Counter[str] = Counter()
    for number in range(runs):
        rng = np.random.default_rng([seed, number, prompts, *map(ord, kind)])
        course = HEALTHY[kind](rng, prompts)
        alarms = first_alarms(written(rng, course, columns=chosen(rng, NEEDED.get(kind, ()))))
        errors += any(alarm.severity is Severity.ERROR for alarm in alarms)
        any_ += bool(alarms)
        which.update(alarm.name for alarm in alarms)
    return errors, any_, which


SEEN_AT = 6.0


def half_lost(mean_N: np.ndarray) -> int:
    """The step at which half of what is lost from the best on is lost."""
    best = int(np.argmax(mean_N))
    return best + int(np.flatnonzero(mean_N[best:] <= (mean_N[best] + mean_N[-1]) / 2)[0])


def could_be_seen(course: Course, log: StepLog, names: tuple[str, ...], until: float) -> bool:
    """Whether a test that knows the loss's course, but not its size nor the level before, has six
    standard deviations at that step, in the column and in the evaluations together: with a bound
    of 4.5 it then says so in 93 of 100 runs."""
    square = 0.0
    for name in (name for name in names if name in log.columns):
        value_N = log.columns[name]
        known_N = np.isfinite(value_N)
        mean_K = course.means[name][log.step_N[known_N].astype(int)]
        noise_K = value_N[known_N] - mean_K
        rho = max(0.0, float(np.corrcoef(noise_K[1:], noise_K[:-1])[0, 1]))
        rho = rho if name == "accuracy" else 0.0
        mean_K = mean_K[log.step_N[known_N] <= until]
        if mean_K.size >= 3:
            lost_K = np.maximum.accumulate(mean_K) - mean_K
            lost = float(np.sum((lost_K - lost_K.mean()) ** 2)) * (1 - rho) / (1 + rho)
            square += lost / float(noise_K.var())
    return square**0.5 >= SEEN_AT


def failing_line(kind: str, prompts: int, runs: int, seed: int) -> tuple[int, int, int, int]:
    """How many were found; how many by an error before half of what they lose was lost; how many
    could have been, and of these how many were."""
    found = early = could = both = 0
    failure = FAILING[kind]
    for number in range(runs):
        rng = np.random.default_rng([seed, number, prompts, *map(ord, kind)])
        course = failure.make(rng, prompts)
        log = written(rng, course, columns=chosen(rng, failure.needs))
        alarms = first_alarms(log)
        found += any(alarm.name in failure.names for alarm in alarms)
        if failure.loses:
            at = half_lost(course.means[failure.loses])
            said = any(a.severity is Severity.ERROR and a.step <= at for a in alarms)
            names = tuple({failure.loses, "eval_accuracy"})
            seen = could_be_seen(course, log, names, at)
            early, could, both = early + said, could + seen, both + (said and seen)
    return found, early, could, both


SPEEDS = {"< 15 steps": 15, "15 to 40": 40, "> 40": 10_000}


def losses(runs: int, seed: int) -> None:
    """Losses of accuracy by batch size and by the steps from the best to half of the loss: how many
    had an error by then, and how many could have; the two counts of those without evaluations."""
    counts: dict[tuple[str, int], np.ndarray] = {}
    for kind, number in (
        (k, n) for k in FAILING if FAILING[k].loses == "accuracy" for n in range(runs)
    ):
        for prompts in BATCHES:
            rng = np.random.default_rng([seed, number, prompts, *map(ord, kind)])
            course = FAILING[kind].make(rng, prompts)
            log = written(rng, course, columns=chosen(rng, FAILING[kind].needs))
            at = half_lost(course.means["accuracy"])
            alarms = first_alarms(log.until(int((log.step_N <= at).sum())))
            said = any(alarm.severity is Severity.ERROR for alarm in alarms)
            could = could_be_seen(course, log, ("accuracy", "eval_accuracy"), at)
            steps = at - int(np.argmax(course.means["accuracy"]))
            speed = next(name for name, most in SPEEDS.items() if steps < most)
            found = np.array([1, said, could, said and could])
            for name in (speed, "all", *(() if "eval_accuracy" in log.columns else ("without",))):
                counts[name, prompts] = counts.get((name, prompts), np.zeros(4, int)) + found
    for name in (*SPEEDS, "all", "without"):
        cells = [counts.get((name, b), np.zeros(4, int)) for b in BATCHES]
        words = [f"{said}/{n}, {both} of {could}" for n, said, could, both in cells]
        print(f"| {name} | " + " | ".join(words) + " |", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--only", default="")
    parser.add_argument("--part", default="")
    given = parser.parse_args()
    bad = 0
    print("| kind | " + " | ".join(f"{b} prompts" for b in BATCHES) + " |")
    print("|---|" + "---|" * len(BATCHES))
    if given.part == "losses":
        losses(given.runs, given.seed)
        return 0
    for kind in HEALTHY if given.part != "failing" else ():
        if given.only in kind:
            lines = [healthy_line(kind, b, given.runs, given.seed) for b in BATCHES]
            cells = [f"{e / given.runs:.1%}, {a / given.runs:.1%}" for e, a, _ in lines]
            which = sum((w for *_, w in lines), Counter())
            print(f"| {kind} | " + " | ".join(cells) + f" | {dict(which)}", flush=True)
            bad += sum(e > 0.01 * given.runs or a > 0.03 * given.runs for e, a, _ in lines)
    for kind, failure in FAILING.items() if given.part != "healthy" else ():
        if given.only in kind:
            lines = [failing_line(kind, b, given.runs, given.seed) for b in BATCHES]
            early = [f", early {e}, {b} of {c}" if failure.loses else "" for _, e, c, b in lines]
            cells = [f"{f}/{given.runs}{e}" for (f, *_), e in zip(lines, early, strict=True)]
            print(f"| {kind} | " + " | ".join(cells) + " |", flush=True)
            bad += sum(f < 0.95 * given.runs for f, *_ in lines)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
