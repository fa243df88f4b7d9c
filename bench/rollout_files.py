"""The size of packed rollouts and the CPU time of writing them, on texts that a model wrote.

Every file is JSON lines, plain or packed, a problem a line; the texts of a problem from all files
stand together, as a group's rollouts do. The last line of the table has one text a problem only,
and none that ends in a loop: what has least in common.

    python bench/rollout_files.py TRACES/*.jsonl.xz [--text code] [--rollouts 3072] [--run RUN]

With the folder of a run its own rollouts are written again, and the time is held against its steps.
"""

import argparse
import random
import tempfile
from pathlib import Path
from time import process_time

from tersely.core import jsonl
from tersely.core.types import Finish, Grade, RolloutRecord, StepTiming
from tersely.metrics.loops import loops
from tersely.readers.rows import read_jsonl

REPEATS = 3


def groups_of(files: list[Path], column: str) -> list[list[str]]:
    """The texts of each line's problem, over all files."""
    groups: list[list[str]] = []
    for file in files:
        for place, row in enumerate(read_jsonl(file, expected="texts of a model")):
            texts = row.values[column]
            if place == len(groups):
                groups.append([])
            groups[place] += texts if isinstance(texts, list) else [texts]
    return groups


def records_of(groups: list[list[str]], rng: random.Random) -> list[RolloutRecord]:
    return [
        RolloutRecord(
            step=0,
            problem=f"problem-{place}",
            sample=sample,
            grade=Grade.CORRECT,
            extracted="42",
            tokens=len(text) // 3,
            finish=Finish.STOP,
            reward=rng.random(),
            advantage=rng.gauss(),
            kept=True,
            text=text,
            loops=loops(text),
        )
        for place, texts in enumerate(groups)
        for sample, text in enumerate(texts)
    ]


def written(records: list[RolloutRecord], ending: str) -> tuple[int, float]:
    """Bytes on the disk, and the least CPU seconds of some writes."""
    with tempfile.TemporaryDirectory() as folder:
        path, seconds = Path(folder, f"step-000000.jsonl{ending}"), []
        for _ in range(REPEATS):
            began = process_time()
            jsonl.write(path, records)
            seconds.append(process_time() - began)
        began = process_time()
        assert jsonl.read(path, RolloutRecord) == records
        return path.stat().st_size, min(seconds)


def show(name: str, records: list[RolloutRecord], *, rollouts: int) -> None:
    plain, plain_s = written(records, "")
    packed, packed_s = written(records, ".zst")
    step_s = packed_s / len(records) * rollouts
    print(
        f"| {name} | {len(records):,} | {sum(len(r.text) for r in records) / 1e6:.1f} | "
        f"{plain / 1e6:.1f} | {packed / 1e6:.2f} | {packed / plain:.1%} | {plain_s:.2f} | "
        f"{packed_s:.2f} | {step_s:.1f} s, 2% of {step_s / 0.02:.0f} s |",
        flush=True,
    )


def show_run(run: Path) -> None:
    """The share of each step's time that writing its rollouts takes."""
    took = {t.step: t for t in jsonl.read(run / "timings.jsonl", StepTiming)}
    shares, plain, packed = [], 0, 0
    for file in sorted((run / "rollouts").iterdir()):
        records = jsonl.read(file, RolloutRecord)
        t = took[records[0].step]
        plain += written(records, "")[0]
        size, seconds = written(records, ".zst")
        packed += size
        shares.append(seconds / (t.sample_s + t.grade_s + t.learn_s + t.other_s))
    shares.sort()
    print(
        f"{run}: {len(shares)} steps, {packed / plain:.1%} of {plain / 1e6:.2f} MB; of a step's "
        f"time {shares[len(shares) // 2]:.2%} in the middle, {shares[-1]:.2%} at most"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--text", default="text", help="the column of a text or a list of them")
    parser.add_argument("--rollouts", type=int, default=3072, help="of a step (default 3072)")
    parser.add_argument("--run", type=Path)
    given = parser.parse_args()
    rng = random.Random(0)
    if given.files:
        groups = groups_of(given.files, given.text)
        print(
            "| texts | rollouts | M characters | plain, MB | packed, MB | share | plain, CPU s | "
            f"packed, CPU s | {given.rollouts:,} such rollouts |\n"
            f"{'|---' * 9}|"
        )
        show("all, in groups", records_of(groups, rng), rollouts=given.rollouts)
        ended = [[text for text in texts if not loops(text)] for texts in groups]
        show("no loops, in groups", records_of(ended, rng), rollouts=given.rollouts)
        alone = [[rng.choice(texts)] for texts in ended if texts]
        show("no loops, one a problem", records_of(alone, rng), rollouts=given.rollouts)
    if given.run:
        show_run(given.run)


if __name__ == "__main__":
    main()
