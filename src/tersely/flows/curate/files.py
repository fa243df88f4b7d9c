"""What ``tersely curate`` writes: the sets in three formats, the reasons, and a card."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from tersely.core import jsonl
from tersely.core.storage import replacing, write_atomically
from tersely.core.types import Problem
from tersely.flows.curate.session import Curated
from tersely.metrics.numbers import plain

PROMPTS_FILE, PROBLEMS_FILE, DROPPED_FILE = "prompts.jsonl", "problems.jsonl", "dropped.jsonl"
VERL_FILE, TRL_FILE, CARD_FILE = "verl.parquet", "trl.parquet", "README.md"


def write_curated(folder: Path, curated: Curated, *, cards: Mapping[str, str]) -> None:
    """Writes what every prompt showed, and a folder for each set; one of the same name is replaced.

    Args:
        cards: of each set, how it was made and what it holds, as Markdown.
    """
    lines = [json.dumps(plain(each)) + "\n" for each in curated.rates]
    write_atomically(folder / PROMPTS_FILE, "".join(lines))
    for name, chosen in curated.sets.items():
        inside = folder / name
        inside.mkdir(exist_ok=True)
        jsonl.write(inside / PROBLEMS_FILE, chosen.problems)
        with replacing(inside / VERL_FILE) as scratch:
            verl_frame(chosen.problems).write_parquet(scratch)
        with replacing(inside / TRL_FILE) as scratch:
            trl_frame(chosen.problems).write_parquet(scratch)
        jsonl.write(inside / DROPPED_FILE, chosen.dropped)
        write_atomically(inside / CARD_FILE, cards[name])


def verl_frame(problems: Sequence[Problem]) -> pl.DataFrame:
    """The columns that verl's dataset reads: data_source, prompt, ability, reward_model,
    extra_info."""
    return pl.DataFrame(
        {
            "data_source": [p.source for p in problems],
            "prompt": [p.chat for p in problems],
            "ability": [p.grader for p in problems],
            "reward_model": [{"style": "rule", "ground_truth": p.answer} for p in problems],
            "extra_info": [
                {
                    "index": place,
                    "id": p.id,
                    "grader": p.grader,
                    "difficulty": p.difficulty,
                    "reference_tokens": p.reference_tokens,
                    "reference_accuracy": p.reference_accuracy,
                }
                for place, p in enumerate(problems)
            ],
        }
    )


def trl_frame(problems: Sequence[Problem]) -> pl.DataFrame:
    """The columns that TRL's trainers and ``datasets`` read: prompt as messages, and the rest as
    reward functions get it."""
    return pl.DataFrame(
        {
            "prompt": [p.chat for p in problems],
            "answer": [p.answer for p in problems],
            "id": [p.id for p in problems],
            "source": [p.source for p in problems],
            "grader": [p.grader for p in problems],
            "difficulty": [p.difficulty for p in problems],
            "reference_tokens": [p.reference_tokens for p in problems],
            "reference_accuracy": [p.reference_accuracy for p in problems],
        }
    )
