"""CPU seconds until a command is done: the list of commands, and the report of 12,000 records.

The records are ``metric_table``'s, 1,500 problems x 8, without texts. The first report of a user
also puts the page's chart library together, once.

    python bench/commands.py [--repeats 5]
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import metric_table
import numpy as np

LIMITS_S = {"--help": 0.25, "report": 2.5}


def cpu_s(words: list[str], environment: dict[str, str]) -> float:
    """CPU seconds of one call, all of its threads together."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "tersely", *words],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    metric_table.PROBLEMS = 1500
    met = True
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": folder}
        records = str(metric_table.write_run(Path(folder), 0))
        print(f"first report: {cpu_s(['report', records], environment):.2f} s of CPU")
        for words in (["--help"], ["report", records]):
            taken = [cpu_s(words, environment) for _ in range(repeats)]
            median, bar = float(np.median(taken)), LIMITS_S[words[0]]
            met &= median <= bar
            print(f"{words[0]}: {median:.2f} s ({min(taken):.2f}-{max(taken):.2f}), bar {bar:g} s")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
