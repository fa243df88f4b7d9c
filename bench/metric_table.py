"""One million records from disk to the full metric table: seconds, peak memory, where they go.

72 evaluations of 1,734 problems (the paper's six benchmarks) x 8 samples, each a records file as
``tersely eval`` writes it but for its texts, measured at five budgets with 1,000 resamples. With
``--runs 720`` they are ten million, in 2.4 GB of files, whose writing takes longer.

    python bench/metric_table.py [--runs 72] [--processes 2]
"""

import argparse
import json
import os
import resource
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

PROBLEMS, SAMPLES, CAP_TOKENS = 1734, 8, 32768
BUDGETS, KS, RESAMPLES = (2048, 4096, 8192, 16384, 32768), (1, 2, 4, 8), 1000
# Seconds up to a million records and up to ten, and GB.
LIMITS_S, LIMIT_GB = {1e6: 6.0, 1e7: 75.0}, 3.0


def write_run(folder: Path, number: int) -> Path:
    """One evaluation's records, in the order in which samples end (shortest first)."""
    rng = np.random.default_rng(number)
    chance_P = np.random.default_rng(1).beta(0.6, 0.6, PROBLEMS)
    tokens = np.minimum(rng.lognormal(8.6, 0.9, (PROBLEMS, SAMPLES)), CAP_TOKENS).astype(int) + 1
    tokens = np.minimum(tokens, CAP_TOKENS)
    right = (rng.random(tokens.shape) < chance_P[:, None]) & (tokens < CAP_TOKENS)
    path = folder / f"run-{number:03d}.jsonl"
    lines = []
    for place in np.argsort(tokens, axis=None):
        p, s = divmod(int(place), SAMPLES)
        cut = tokens[p, s] >= CAP_TOKENS
        grade = "correct" if right[p, s] else "unparsed" if cut else "wrong"
        record = {
            "schema": 1,
            "run": f"run-{number}",
            "benchmark": f"b{p % 6}",
            "problem": f"b{p % 6}/{p}",
            "sample": s,
            "grade": grade,
            "tokens": int(tokens[p, s]),
            "finish": "length" if cut else "stop",
            "cap_tokens": CAP_TOKENS,
            "seed": 0,
            "difficulty": None,
            "answer_tokens": int(tokens[p, s]) // 2 if right[p, s] else None,
            "model": "m",
            "extracted": None if cut else str(int(rng.integers(5))),
            "answered_budgets": None,
        }
        lines.append(json.dumps(record, separators=(",", ":")))
    path.write_text("\n".join(lines) + "\n")
    return path


def measure_run(path: Path) -> tuple[int, float, float, float]:
    """Measures one file: quantities, CPU seconds to read and to measure, peak GB of the process."""
    from tersely.metrics.measures import measure
    from tersely.metrics.records import arrange
    from tersely.readers.evaluations import as_samples, read_frame

    began = process_time()
    table = arrange(as_samples(read_frame(path)[0]))
    read = process_time()
    evaluation = measure(
        table,
        title=path.stem,
        budgets=BUDGETS,
        ks=KS,
        rng=np.random.default_rng(0),
        resamples=RESAMPLES,
    )
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return len(evaluation.measured), read - began, process_time() - read, peak_gb


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=72)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    # One thread a process: what runs side by side must not fight over the cores.
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "POLARS_MAX_THREADS"):
        os.environ[name] = "1"
    with tempfile.TemporaryDirectory() as folder:
        with ProcessPoolExecutor(arguments.processes, mp_context=get_context("spawn")) as pool:
            paths = list(pool.map(partial(write_run, Path(folder)), range(arguments.runs)))
        records = arguments.runs * PROBLEMS * SAMPLES
        limit_s = next((s for most, s in LIMITS_S.items() if records <= most), np.inf)
        size_mb = sum(path.stat().st_size for path in paths) / 1e6
        print(f"{records:,} records, {size_mb:,.0f} MB in {len(paths)} files", flush=True)
        began = perf_counter()
        with ProcessPoolExecutor(arguments.processes, mp_context=get_context("spawn")) as pool:
            done = list(pool.map(measure_run, paths))
        seconds = perf_counter() - began
    peaks = sorted({round(row[3], 3) for row in done})[-arguments.processes :]
    peak_gb = max(row[3] for row in done) * arguments.processes
    print(
        f"{seconds:.1f} s by the clock with {arguments.processes} processes (bar {limit_s:g}), "
        f"at most {peak_gb:.2f} GB together (bar {LIMIT_GB:g}; largest: {peaks})"
    )
    reading, measuring = (sum(row[at] for row in done) for at in (1, 2))
    print(
        f"{done[0][0]} quantities a run; reading {reading / (reading + measuring):.0%}, "
        f"measuring {measuring / (reading + measuring):.0%} of {reading + measuring:.1f} s of CPU"
    )
    sys.exit(0 if seconds <= limit_s and peak_gb <= LIMIT_GB else 1)


if __name__ == "__main__":
    main()
