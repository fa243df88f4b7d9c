"""Kills trainings at random moments, resumes them, and compares them with an undisturbed one.

Each training of a small lab recipe is killed (SIGKILL, no chance to clean up) at so many moments
drawn from the seed, then goes on to its end. Step log, rollouts, evaluations, alarms and
checkpoints must be byte for byte those of a run that nobody killed; only clocks may differ.

    python bench/kills.py runs/kills [--runs 25] [--kills 2] [--seed 0] [--steps 12]
"""

import argparse
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

SMALL = (
    "problems.train_limit=60",
    "problems.test_limit=8",
    "sampling.prompts_per_step=4",
    "sampling.samples_per_prompt=4",
    "sampling.rows=16",
    "evaluation.every_steps=3",
    "evaluation.samples=2",
    "checkpoint.every_steps=2",
    "model.cpu_threads=1",
)
# What says when, on which machine, and by which command.
CLOCKS = {"timings.jsonl", "manifest.json", "report.html"}


def start(run: Path, *, steps: int) -> "subprocess.Popen[bytes]":
    """Begins the run, or goes on with it, in a process of its own."""
    command = [sys.executable, "-m", "tersely", "train", "--run", str(run)]
    command += ["--resume"] if (run / "manifest.json").is_file() else []
    for setting in (*SMALL, f"learner.steps={steps}"):
        command += ["--set", setting]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(run: Path, *, steps: int) -> float:
    """Runs to the end; the seconds that it took."""
    began = time.monotonic()
    process = start(run, steps=steps)
    _, said = process.communicate()
    if process.returncode:
        raise SystemExit(f"{run} ended with {process.returncode}: {said.decode()[-400:]}")
    return time.monotonic() - began


def kill_after(run: Path, *, seconds: float, steps: int) -> bool:
    """Kills the run after so many seconds; False if it had ended by then."""
    process = start(run, steps=steps)
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return True
    return False


def contents(run: Path) -> dict[str, bytes]:
    """All that must not depend on kills."""
    return {
        str(file.relative_to(run)): file.read_bytes()
        for file in sorted(run.rglob("*"))
        if file.is_file() and file.name not in CLOCKS
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=25)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=12)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    whole_s = finish(given.folder / "whole" / "run", steps=given.steps)
    whole = contents(given.folder / "whole" / "run")
    print(f"undisturbed: {whole_s:.0f} s, {len(whole)} files", flush=True)
    same = hit = 0
    for number in range(given.runs):
        run = given.folder / f"{number:03d}" / "run"
        moments = [rng.uniform(0.1, 1.0) * whole_s for _ in range(given.kills)]
        killed = [kill_after(run, seconds=moment, steps=given.steps) for moment in moments]
        finish(run, steps=given.steps)
        found = contents(run)
        differ = [name for name in whole | found if whole.get(name) != found.get(name)]
        same, hit = same + (not differ), hit + sum(killed)
        at = ", ".join(f"{moment:.1f} s" for moment in moments)
        print(f"{number + 1}: killed at {at}: {', '.join(differ) or 'the same bytes'}", flush=True)
        if not differ:
            shutil.rmtree(run.parent)
    print(f"{same} of {given.runs} trainings, {hit} kills: byte for byte the same")
    raise SystemExit(same < given.runs)


if __name__ == "__main__":
    main()
