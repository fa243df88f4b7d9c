"""The lab's first model under each treatment of the paper, easy and hard prompts, N and staleness.

One run folder an arm; what is finished is skipped and what was stopped goes on. ``lint`` is held
against what becomes of them (docs/diagnosing.md).

The step logs of all arms in the folder go into ``lab-runs.csv`` there.

    python bench/lab_runs.py runs/lab [--steps 160] [--seed 0] [--jobs 2] [--only vanilla,no-wrong]
"""

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl

RECIPE = Path(__file__).parent / "lab-v1.toml"
TREATMENTS = (
    "no-wrong",
    "no-long-correct",
    "no-long-correct-no-short-wrong",
    "no-long-correct-no-long-wrong",
)
SAME = ("sampling.cap_tokens=30", "treatment.unfinished=graded")
ARMS: dict[str, tuple[str, ...]] = {
    "vanilla": (),
    **{name: (f"treatment.cells={name}",) for name in TREATMENTS},
    "no-wrong-loss-only": ("treatment.cells=no-wrong", "treatment.mask_scope=loss-only"),
    "cap-is-target": SAME,
    "easy": ("problems.band=[1, 4]",),
    "hard": ("problems.band=[6, 8]",),
    "full": ("problems.band=[1, 8]",),
    "hard-target-60": ("problems.band=[6, 8]", "target.tokens=60"),
    "rollouts-4": ("sampling.samples_per_prompt=4",),
    "rollouts-24": ("sampling.samples_per_prompt=24",),
    "stale-4": ("learner.staleness=4",),
    "stale-16": ("learner.staleness=16",),
}
COLUMNS = (
    "step",
    "target_tokens",
    "cap_tokens",
    "accuracy",
    "positive_share",
    "zero_signal_share",
    "truncated_share",
    "tokens_mean",
    "correct_tokens_mean",
    "wrong_tokens_mean",
    "entropy_mean",
)


def train(name: str, folder: Path, *, steps: int, seed: int) -> str:
    """Runs or continues one arm; returns its last line."""
    run = folder / name
    settings = [
        f"learner.steps={steps}",
        f"seed={seed}",
        "problems.test_limit=200",
        "evaluation.every_steps=20",
        *ARMS[name],
    ]
    command = [sys.executable, "-m", "tersely", "train", str(RECIPE), "--out", str(run)]
    command += ["--resume"] if (run / "manifest.json").exists() else []
    command += [word for setting in settings for word in ("--set", setting)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).strip().splitlines()
    return f"{name}: {'done' if done.returncode == 0 else lines[-1] if lines else 'failed'}"


def describe(run: Path) -> str:
    """An arm's first alarm, and held-out accuracy and mean length at its ends."""
    alarms = (
        (run / "alarms.jsonl").read_text().splitlines() if (run / "alarms.jsonl").exists() else []
    )
    first = json.loads(alarms[0]) if alarms else None
    ends = []
    for file in (lambda files: (files[0], files[-1]))(sorted((run / "eval").glob("step-*.jsonl"))):
        records = pl.read_ndjson(file).select(pl.col("grade") == "correct", "tokens")
        ends.append(records.mean().row(0))
    (right, tokens), (right_after, tokens_after) = ends
    alarm = f"{first['name']} ({first['step']})" if first else "none"
    return f"{alarm}; {right:.3f} -> {right_after:.3f}; {tokens:.1f} -> {tokens_after:.1f} tokens"


def write_csv(folder: Path) -> None:
    """The step logs of all arms, one table."""
    tables = [
        pl.read_ndjson(folder / name / "steps.jsonl")
        .select(pl.lit(name).alias("arm"), *COLUMNS)
        .with_columns(pl.col(pl.Float64).round(4))
        for name in sorted(ARMS)
        if (folder / name / "steps.jsonl").exists()
    ]
    pl.concat(tables).write_csv(folder / "lab-runs.csv")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default=",".join(ARMS))
    chosen = parser.parse_args()
    with ThreadPoolExecutor(chosen.jobs) as pool:
        for line in pool.map(
            lambda name: train(name, chosen.folder, steps=chosen.steps, seed=chosen.seed),
            chosen.only.split(","),
        ):
            print(line, flush=True)
    for name in chosen.only.split(","):
        print(f"{name}: {describe(chosen.folder / name)}")
    write_csv(chosen.folder)


if __name__ == "__main__":
    main()
