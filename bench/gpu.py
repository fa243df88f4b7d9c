"""What tersely does on one CUDA GPU, in one command of under nine minutes and without a network.

    python bench/gpu.py --out runs/gpu               # on the machine with the GPU
    python bench/gpu.py --out runs/gpu --reduced     # the same parts, tiny; a CPU will do

Each part has a limit of its own and is kept in OUT/parts.jsonl as soon as it is done, so that one
that fails costs only itself; the same command again runs what is missing. OUT/gpu.md has the
tables. Python 3.12, torch >= 2.11 and transformers >= 5.23 are needed; where there is no network,
bench/gpu-wheels.sh gathers the rest.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from functools import partial
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "src")]

from gpu_table import DONE, page  # noqa: E402

PARTS_FILE, MACHINE_FILE, PAGE_FILE = "parts.jsonl", "machine.json", "gpu.md"
BEGUN_FILE = "begun"  # the name of the part that is under way
# cuBLAS is repeatable only with a workspace of fixed size, which it reads when it starts.
ENVIRONMENT = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "PYTHONUNBUFFERED": "1"}
TRIED = "TERSELY_GPU_TRIED"
FAILED, REFUSED = 1, 2
REASON_CHARS = 200


class Part(NamedTuple):
    """A part's function of (size, folder), and the seconds that it may take."""

    run: Callable[..., dict[str, Any]]
    limit_s: int


def parts_of(size: Any) -> dict[str, Part]:
    """All parts, the most important first: what there is no time for is at the end."""
    import gpu_checks as checks
    import gpu_runs as runs
    import gpu_speed as speed

    parts = {
        "peaks": Part(speed.measured_peaks, 60),
        "precision lab": Part(partial(checks.precision, model="lab"), 60),
        f"precision {size.middle}": Part(partial(checks.precision, model=size.middle), 90),
        "resume": Part(partial(checks.resume, deterministic=False), 60),
        "resume deterministic": Part(partial(checks.resume, deterministic=True), 60),
        "rl": Part(runs.rl_steps, 100),
    }
    for model in size.models:
        for context in size.contexts:
            name, figures = f"{model} {context}", {"model": model, "context": context}
            parts[f"sample {name}"] = Part(partial(speed.sample_speed, **figures), 45)
            for again in (False, True):
                learn = partial(speed.learn_speed, **figures, checkpointing=again)
                parts[f"learn {name}{' checkpointed' * again}"] = Part(learn, 45)
    parts["generate"] = Part(speed.beside_generate, 90)
    parts["demo"] = Part(runs.demo, 200)
    return parts


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the figures")
    parser.add_argument("--reduced", action="store_true", help="tiny, for a test on a CPU")
    parser.add_argument("--only", default="", help="parts whose names begin so")
    parser.add_argument(
        "--minutes", type=float, default=8.5, help="no part runs beyond these (default: 8.5)"
    )
    parser.add_argument("--commit", help="of this source tree, where git cannot say it")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    """Runs the parts that are missing and writes the page; 1 if a part failed, 2 if refused."""
    args = arguments()
    if not 0 < args.minutes < 1440:
        return refuse(f"--minutes {args.minutes:g} must be above 0 and below 1440; 8.5 does")
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        return refuse(f"--out {args.out} is a file; give a folder")
    if args.worker:
        return work(args)
    until, kept = monotonic() + 60 * args.minutes, len(lines_of(args.out))
    while (left_s := until - monotonic()) > 0:
        tried = {line["part"] for line in lines_of(args.out)[kept:]}
        code = run_worker(args, tried, left_s=left_s)
        if code == REFUSED:
            return REFUSED
        if code == 0:
            break
    return finish(args)


def finish(args: argparse.Namespace) -> int:
    """Writes the page and says what has no figures; 1 if a part that was run has none."""
    machine = json.loads((args.out / MACHINE_FILE).read_text(encoding="utf-8"))
    found = latest(args.out)
    file = args.out / PAGE_FILE
    file.write_text(page(machine, found), encoding="utf-8")
    for name in machine["parts"]:
        if not is_done(found.get(name)) and name.startswith(args.only):
            status = found[name]["status"] if name in found else "not begun"
            print(f"{name}: {status}; the same command runs it again", file=sys.stderr)
    print(file)
    return int(any(not is_done(found.get(n)) for n in machine["parts"] if n.startswith(args.only)))


def run_worker(args: argparse.Namespace, tried: set[str], *, left_s: float) -> int:
    """A process that runs parts until one fails; one that ended it is noted. 0: nothing is left."""
    begun = args.out / BEGUN_FILE
    begun.unlink(missing_ok=True)
    command = [sys.executable, __file__, *sys.argv[1:], "--worker"]
    environment = os.environ | ENVIRONMENT | {TRIED: json.dumps(sorted(tried))}
    try:
        code = subprocess.run(command, env=environment, timeout=left_s, check=False).returncode
        ended = "stopped at its limit" if code == -signal.SIGALRM else f"died (exit code {code})"
    except subprocess.TimeoutExpired:
        code, ended = 1, f"stopped: the {args.minutes:g} minutes were up"
    if code in (0, REFUSED):
        return code
    if begun.is_file():
        note(args.out, {"part": begun.read_text(encoding="utf-8"), "status": ended})
    elif code != FAILED:
        return refuse(f"nothing was measured: the worker {ended}; what it said is above")
    return FAILED


def work(args: argparse.Namespace) -> int:
    """Runs the parts that are neither done nor tried, each under its limit, until one fails."""
    import torch
    from gpu_models import FULL, REDUCED, fresh
    from transformers.utils import logging

    logging.disable_progress_bar()
    size = REDUCED if args.reduced else FULL
    if not args.reduced and not torch.cuda.is_available():
        return refuse("no CUDA GPU is seen here; use a machine with one, or add --reduced")
    if args.reduced:
        torch.set_num_threads(1)
    parts = parts_of(size)
    if not any(name.startswith(args.only) for name in parts):
        return refuse(f"--only {args.only!r} begins no part's name: {', '.join(parts)}")
    if wrong := machine_differs(args, [*parts]):
        return refuse(wrong)
    tried, found = json.loads(os.environ[TRIED]), latest(args.out)
    for name, part in parts.items():
        if not name.startswith(args.only) or name in tried or is_done(found.get(name)):
            continue
        fresh()
        if not run_part(args.out, name, part, size):
            return FAILED
    return 0


def run_part(out: Path, name: str, part: Part, size: Any) -> bool:
    """Whether the part came to its end; the alarm ends the process whatever it is doing."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    (out / BEGUN_FILE).write_text(name, encoding="utf-8")
    signal.alarm(part.limit_s)
    began = perf_counter()
    try:
        figures = part.run(size, out)
        status = DONE if figures.get("passed", True) else "out of bounds"
    except Exception as error:  # of any kind: the other parts go on without it
        reason = next(iter(str(error).splitlines()), "")[:REASON_CHARS]
        figures, status = {}, f"failed: {type(error).__name__}: {reason}"
    signal.alarm(0)
    seconds = perf_counter() - began
    note(out, {"part": name, "status": status, "seconds": seconds, **figures})
    (out / BEGUN_FILE).unlink()
    print(f"{name}: {status}, {seconds:.1f} s", file=sys.stderr, flush=True)
    return bool(figures)


def machine_differs(args: argparse.Namespace, parts: list[str]) -> str:
    """Writes down where this is measured; what is wrong if OUT holds figures from elsewhere."""
    import torch
    import transformers
    from gpu_models import card

    machine = {
        "card": card(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "commit": args.commit or commit(),
        "reduced": args.reduced,
    }
    file = args.out / MACHINE_FILE
    if not file.is_file():
        content = {**machine, "date": date.today().isoformat(), "parts": parts}
        file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        return ""
    before = json.loads(file.read_text(encoding="utf-8"))
    for key, value in machine.items():
        if before[key] != value:
            return (
                f"{args.out} holds figures of {key} = {before[key]}, and here it is {value}; "
                "give another --out"
            )
    return ""


def commit() -> str:
    """The commit of this source tree; "unknown" in a copy without its history."""
    command = ["git", "-C", str(HERE), "rev-parse", "--short=10", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "unknown"
    return found.stdout.strip() or "unknown"


def note(out: Path, line: dict[str, Any]) -> None:
    """Keeps what is known of a part."""
    plain = {key: None if value != value else value for key, value in line.items()}
    with (out / PARTS_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(plain) + "\n")


def lines_of(out: Path) -> list[dict[str, Any]]:
    """What was kept, oldest first, without a line that was torn when the machine stopped."""
    file, found = out / PARTS_FILE, []
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        with suppress(ValueError):
            found.append(json.loads(line))
    return found


def latest(out: Path) -> dict[str, dict[str, Any]]:
    """The last line of each part."""
    return {line["part"]: line for line in lines_of(out)}


def is_done(part: dict[str, Any] | None) -> bool:
    """Whether a part has its figures; one whose figures are out of bounds is run again."""
    return part is not None and part["status"] == DONE


def refuse(message: str) -> int:
    """Says in one line why nothing is run."""
    print(f"error: {message}", file=sys.stderr)
    return REFUSED


if __name__ == "__main__":
    sys.exit(main())
