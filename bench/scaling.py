"""Tokens a second by rollouts a problem, cap and size of the model, and memory by problems.

Models of random weights whose answers never end by themselves sample on one thread; a second is one
of processor time. A point that would take more than ``--seconds`` is left out, told by the floating
point operations of the one before. *Linear* is the rate at which every operation takes as long as
it does at the shortest cap. Memory is what a process of its own has touched at most, by how
many problems there are.

    python bench/scaling.py [--sizes 0.3M,0.8M,4.7M,25M,135M] [--seconds 20] [--draw FOLDER]
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from multiprocessing import get_context
from pathlib import Path
from time import process_time
from typing import NamedTuple

import altair as alt
import metric_table
import torch
import vl_convert
from sampler import flops_per_token, random_problems, tiny_model, tiny_tokenizer

from tersely.core.types import Completion, EvalRecord, Finish, Grade, Rollout, SamplingSpec
from tersely.engines.local.sampler import LocalSampler
from tersely.flows.evaluate.records import append_missing

SIZES = {"0.3M": (96, 3), "0.8M": (128, 4), "4.7M": (256, 6), "25M": (384, 15), "135M": (640, 30)}
ROLLOUTS, CAPS_TOKENS = (4, 8, 16, 32), (64, 128, 256, 512, 1024, 2048, 4096)
PROBLEMS, CAP_TOKENS, ROWS = 2, 64, 8
# Long enough that the time of a point does not depend on when it was taken.
LEAST_TOKENS = 1024
FEWEST, MOST = 256, 1024
KB_A_PROBLEM = {"sampling": 2.0, "evaluation": 16.0, "report": 16.0}
WORST = 0.8


class Point(NamedTuple):
    """One measurement; ``linear`` is tokens a second were every operation as fast as at first."""

    size: str
    rollouts: int
    cap_tokens: int
    tokens_per_s: float
    gflops_per_s: float
    linear: float


def endless(size: str) -> LocalSampler:
    """A sampler of random weights that never draws the stop token."""
    model = tiny_model(*SIZES[size], 1e12)
    model.config.max_position_embeddings = 2 * max(CAPS_TOKENS)
    return LocalSampler(model, tiny_tokenizer(), rows=PROBLEMS * max(ROLLOUTS))


def sample(sampler: LocalSampler, *, problems: int, rollouts: int, cap_tokens: int) -> Point:
    spec = SamplingSpec(samples=rollouts, cap_tokens=cap_tokens, seed=0)
    asked = random_problems(problems)
    tokens, seconds, flops = 0, 0.0, 0.0
    while tokens < LEAST_TOKENS or seconds < 0.2:
        began = process_time()
        groups = sampler.sample(asked, spec)
        seconds += process_time() - began
        made = [rollout for group in groups for rollout in group]
        flops = flops_per_token(sampler._model, made)
        tokens += sum(rollout.tokens for rollout in made)
    rate = tokens / seconds
    return Point("", rollouts, cap_tokens, rate, rate * flops / 1e9, flops)


def scan(size: str, settings: list[tuple[int, int, int]], *, seconds: float) -> Iterator[Point]:
    """The points of problems, rollouts and caps, each heavier than the one before."""
    sampler = endless(size)
    sample(sampler, problems=1, rollouts=4, cap_tokens=8)
    first: Point | None = None
    speed = 0.0
    for problems, rollouts, cap_tokens in settings:
        work = max(problems * rollouts * cap_tokens, LEAST_TOKENS)
        # Attention is at most as slow as it was, by its operations.
        if speed and work / speed > seconds:
            print(f"{size}: {rollouts} rollouts to {cap_tokens:,} tokens left out", flush=True)
            continue
        found = sample(sampler, problems=problems, rollouts=rollouts, cap_tokens=cap_tokens)
        first = first or found
        linear = first.tokens_per_s * first.linear / found.linear
        speed = found.tokens_per_s
        yield found._replace(size=size, linear=linear)


def show(points: list[Point], *, by: str) -> bool:
    """Prints a table; whether no point falls below its line."""
    met = True
    print(f"| model | {by} | tokens/s | GFLOP/s | of linear |\n|---|---|---|---|---|")
    for point in points:
        share = point.tokens_per_s / point.linear
        met &= share >= WORST
        value = point.rollouts if by == "rollouts" else point.cap_tokens
        print(
            f"| {point.size} | {value:,} | {point.tokens_per_s:,.0f} | {point.gflops_per_s:.1f} | "
            f"{share:.2f} |",
            flush=True,
        )
    return met


def peak_kb() -> int:
    """Of this program alone: a process's own account begins with what its parent had touched."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])


def sampled_kb(problems: int) -> int:
    """Sampling in which every rollout is passed on as it ends."""
    torch.set_num_threads(1)
    sampler = endless("0.3M")
    spec = SamplingSpec(samples=4, cap_tokens=CAP_TOKENS, seed=0)
    jobs = sampler.codec.jobs(random_problems(problems), spec)
    sampler.run(jobs, spec, on_rollout=lambda rollout: None)
    return peak_kb()


def evaluated_kb(problems: int) -> int:
    """The same with a record of each written, as ``tersely eval`` does."""
    torch.set_num_threads(1)
    sampler = endless("0.3M")
    spec = SamplingSpec(samples=4, cap_tokens=CAP_TOKENS, seed=0)

    def source(skip: object, keep: Callable[[Completion], None]) -> None:
        def on_rollout(made: Rollout) -> None:
            keep(
                Completion(
                    problem_id=made.problem_id,
                    sample=made.sample,
                    text=made.text,
                    tokens=made.tokens,
                    finish=made.finish,
                )
            )

        sampler.run(
            sampler.codec.jobs(random_problems(problems), spec), spec, on_rollout=on_rollout
        )

    def record(made: Completion) -> EvalRecord:
        return EvalRecord(
            run="r",
            benchmark="b",
            problem=made.problem_id,
            sample=made.sample,
            grade=Grade.WRONG,
            tokens=made.tokens,
            finish=Finish(made.finish),
            cap_tokens=spec.cap_tokens,
            seed=spec.seed,
            text=made.text,
        )

    with tempfile.TemporaryDirectory() as folder:
        append_missing(Path(folder, "records.jsonl"), source, make_record=record)
    return peak_kb()


def reported_kb(problems: int) -> int:
    """``tersely report`` of 8 records a problem."""
    from tersely.cli import main as tersely

    metric_table.PROBLEMS = problems
    with tempfile.TemporaryDirectory() as folder, Path(folder, "out").open("w") as out:
        file = metric_table.write_run(Path(folder), 0)
        sys.argv, code = ["tersely", "report", str(file)], None
        with redirect_stdout(out):
            try:
                tersely()
            except SystemExit as end:
                code = end.code
    if code:
        sys.exit(f"tersely report ended with {code}")
    return peak_kb()


def show_memory() -> bool:
    """Prints what a problem more adds to a process; whether that is within its bound."""
    met = True
    print(
        f"| what | MB at {FEWEST:,} problems | at {MOST:,} | KB a problem | bound |\n{'|---' * 5}|"
    )
    for name, run in (
        ("sampling", sampled_kb),
        ("evaluation", evaluated_kb),
        ("report", reported_kb),
    ):
        few, many = (alone(run, problems) for problems in (FEWEST, MOST))
        more = (many - few) / (MOST - FEWEST)
        met &= more <= KB_A_PROBLEM[name]
        print(
            f"| {name} | {few / 1e3:.0f} | {many / 1e3:.0f} | {more:.1f} | "
            f"{KB_A_PROBLEM[name]:g} |",
            flush=True,
        )
    return met


def alone(run: Callable[[int], int], problems: int) -> int:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(run, problems).result()


def draw(points: list[Point], file: Path, *, by: str, title: str) -> None:
    """Measured rates as lines, what linear would be as dashes."""
    ticks = sorted({getattr(point, by) for point in points})
    x = alt.X(by, type="quantitative", title=title).scale(type="log", base=2).axis(values=ticks)
    rate = {"type": "quantitative", "title": "tokens per second of one core"}
    y = alt.Y("tokens_per_s", **rate).scale(type="log").axis(format=",")
    colour = alt.Color("size", type="nominal", title="parameters", sort=list(SIZES))
    base = alt.Chart(alt.Data(values=[point._asdict() for point in points]))
    chart = alt.layer(
        base.mark_line(strokeDash=[4, 4], opacity=0.7).encode(x, alt.Y("linear", **rate), colour),
        base.mark_line(point=True).encode(x, y, colour),
    ).properties(width=440, height=300)
    file.write_bytes(vl_convert.vegalite_to_png(chart.to_dict(), scale=1.5))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default=",".join(SIZES))
    parser.add_argument("--seconds", type=float, default=20.0, help="the most that a point takes")
    parser.add_argument("--draw", type=Path, help="folder for the two charts")
    given = parser.parse_args()
    torch.set_num_threads(1)
    by_rollouts = [(PROBLEMS, n, CAP_TOKENS) for n in ROLLOUTS]
    by_cap = [(1, ROWS, cap) for cap in CAPS_TOKENS]
    met = True
    for by, field, settings, title in (
        ("rollouts", "rollouts", by_rollouts, "rollouts a problem"),
        ("cap", "cap_tokens", by_cap, "tokens of an answer"),
    ):
        points = [
            point
            for size in given.sizes.split(",")
            for point in scan(size, settings, seconds=given.seconds)
        ]
        met &= show(points, by=by)
        if given.draw:
            given.draw.mkdir(parents=True, exist_ok=True)
            draw(points, given.draw / f"{by}.png", by=field, title=title)
    return 0 if show_memory() and met else 1


if __name__ == "__main__":
    sys.exit(main())
