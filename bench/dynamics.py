"""Stages and alarms on made runs: how far the change point is off, and how often nothing is wrong.

Lengths decay to a plateau with relative noise of 5% (autocorrelated in half of the runs); one in
four drifts afterwards, one in four repeats steps after a restart, one in four lacks a tenth of its
steps. Healthy runs also have accuracy, entropy and rewarded share that settle; runs that are lost
turn at a step and are to be named, with the steps between alarm and the worst.

    python bench/dynamics.py [--runs 1000]
"""

import argparse
import sys

import numpy as np

from tersely.dynamics.alarms import RECENT, START, standing_alarms
from tersely.dynamics.log import StepLog, make_log
from tersely.dynamics.stages import estimate_stages

STEPS = 300


def noise(rng: np.random.Generator, size: float, rho: float) -> np.ndarray:
    white = rng.normal(0, size * np.sqrt(1 - rho**2), STEPS)
    made = np.empty(STEPS)
    made[0] = rng.normal(0, size)
    for step in range(1, STEPS):
        made[step] = rho * made[step - 1] + white[step]
    return made


def healthy(rng: np.random.Generator, kind: int) -> tuple[StepLog, float]:
    """A log, and the step at which 5% of the fall remain."""
    tau = rng.uniform(12, 45)
    t_N = np.arange(STEPS)
    fall_N = np.exp(-t_N / tau)
    plateau, drop = rng.uniform(20, 60), rng.uniform(40, 120)
    rho = rng.choice([0.0, 0.4])
    drift_N = 0.05 * plateau * t_N / STEPS * (kind == 1)
    columns = {
        "tokens_mean": (plateau + drop * fall_N - drift_N) * (1 + noise(rng, 0.05, rho)),
        "entropy_mean": (0.6 + 0.2 * fall_N) * (1 + noise(rng, 0.05, rho)),
        "accuracy": np.clip(0.75 - 0.15 * fall_N + noise(rng, 0.04, 0.0), 0, 1),
        "positive_share": np.clip(0.6 - 0.4 * fall_N + noise(rng, 0.04, 0.0), 0, 1),
        "target_tokens": np.full(STEPS, plateau + drop / 2),
    }
    steps = t_N
    if kind == 2:
        keep = np.r_[0:180, 160:STEPS]
        steps, columns = t_N[keep], {name: values[keep] for name, values in columns.items()}
    if kind == 3:
        keep = np.sort(rng.permutation(STEPS)[: 9 * STEPS // 10])
        steps, columns = t_N[keep], {name: values[keep] for name, values in columns.items()}
    return make_log(steps, columns), tau * np.log(20)


def lost(rng: np.random.Generator) -> tuple[StepLog, float]:
    """A run whose accuracy goes with its length, and the step at which half of it is gone."""
    tau = rng.uniform(30, 90)
    fall_N = np.exp(-np.arange(STEPS) / tau)
    columns = {
        "tokens_mean": (10 + 80 * fall_N) * (1 + noise(rng, 0.05, 0.3)),
        "entropy_mean": (0.8 - 0.5 * (1 - fall_N)) * (1 + noise(rng, 0.05, 0.3)),
        "accuracy": np.clip(0.15 + 0.5 * fall_N + noise(rng, 0.04, 0.0), 0, 1),
        "positive_share": np.clip(0.3 - 0.15 * (1 - fall_N) + noise(rng, 0.03, 0.0), 0, 1),
    }
    return make_log(range(STEPS), columns), tau * np.log(20)


def first_alarm(log: StepLog) -> int | None:
    for count in range(START + RECENT, log.step_N.size + 1, 5):
        if alarms := standing_alarms(log.until(count)):
            return alarms[0].step
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    runs = parser.parse_args().runs
    rng = np.random.default_rng(0)
    off, covered, false_alarms = [], 0, 0
    for number in range(runs):
        log, end = healthy(rng, number % 4)
        found = estimate_stages(log.step_N, log.columns["tokens_mean"])
        off.append(abs(found.stage_end_step - end) / end)
        covered += bool(found.end_low <= end <= found.end_high)
        false_alarms += first_alarm(log) is not None
        if number % 100 == 99:
            print(f"{number + 1} of {runs}", file=sys.stderr, flush=True)
    leads = []
    for _ in range(runs // 5):
        log, worst = lost(rng)
        step = first_alarm(log)
        leads.append(np.nan if step is None else worst - step)
    near = float(np.mean(np.nan_to_num(np.array(off), nan=np.inf) <= 0.1))
    print(
        f"change point within 10%: {near:.1%} of {runs} (bar 90%); 95% interval holds it in "
        f"{covered / runs:.1%}"
    )
    print(f"false alarms: {false_alarms / runs:.2%} of {runs} healthy runs (bar 2%)")
    named = np.isfinite(leads)
    print(
        f"lost runs named: {named.mean():.1%} of {len(leads)}, a median of "
        f"{np.nanmedian(leads):.0f} steps before 95% of the loss"
    )
    return 0 if near >= 0.9 and false_alarms <= 0.02 * runs else 1


if __name__ == "__main__":
    sys.exit(main())
