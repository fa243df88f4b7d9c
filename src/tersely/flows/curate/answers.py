"""What ``tersely curate --write`` makes of a set's samples: the shortest right answer of each
problem, or pairs of a short right answer and a longer one, as trainers read them.

Only samples that ended by themselves stand in what is written: one that was cut has no end, and a
trainer would put one there. The messages are written, and the trainer's chat template makes tokens
of them.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from tersely.core.errors import ConfigError, TerselyWarning
from tersely.core.manifest import EvaluationManifest
from tersely.core.storage import replacing, write_atomically
from tersely.core.types import Finish, Grade, Problem
from tersely.metrics.numbers import count
from tersely.readers.frames import scan
from tersely.tasks.grading.answer import opened
from tersely.tasks.problems import with_system

# By what is written; verl has no trainer that takes pairs.
ANSWER_FILES = {"sft": ("sft.trl.jsonl", "sft.verl.parquet"), "pairs": ("pairs.trl.jsonl",)}
_CHECKED = 8
_LOOKED_AT = {"problem": pl.String, "sample": pl.Int64, "grade": pl.String, "finish": pl.String}
_COLUMNS = {**_LOOKED_AT, "tokens": pl.Int64}
_TEXTS = {"text": pl.String, "thinking_open": pl.Boolean}
AnswerRow = Mapping[str, Any]


class Write(StrEnum):
    """Supervised answers, or preference pairs."""

    SFT = "sft"
    PAIRS = "pairs"


class Rejected(StrEnum):
    """What the short right answer of a pair is preferred over: a longer right or wrong one."""

    RIGHT = "right"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerChoice:
    """What is written of a set's samples.

    Args:
        gap: of a pair, the least share of the rejected answer's tokens that the chosen one saves.
        pairs: most pairs of a problem; the k-th shortest right answer with the k-th longest.
        told: prompts hold the system prompt and the phrase that the samples were made with.
    """

    write: tuple[Write, ...]
    rejected: Rejected = Rejected.RIGHT
    gap: float = 0.1
    pairs: int = 1
    told: bool = True


class WrittenAnswers(NamedTuple):
    """What was written of one kind, and what was not.

    Args:
        rows: lines of the file.
        no_right: problems without a right answer that ended by itself.
        no_pair: problems with one, but no answer that is longer by the gap.
        ties: problems of which several right answers are the shortest; the first was taken.
        cut: samples of the set's problems that were cut, and are therefore never taken.
    """

    rows: int
    no_right: int
    no_pair: int
    ties: int
    cut: int


class MadeAnswers(NamedTuple):
    """What is to be written of one kind: its rows, what the chat template is given, the counts."""

    rows: list[dict[str, Any]]
    settings: Mapping[str, Any]
    counts: WrittenAnswers


class _Taken(NamedTuple):
    """Sample numbers of one problem: the chosen ones, and what each is preferred over."""

    chosen: list[int]
    rejected: list[int]
    tied: bool


def check_answers(choice: AnswerChoice) -> None:
    """Refuses what no pair can have.

    Raises:
        ConfigError: naming the option, its value and the fix.
    """
    if not 0 <= choice.gap < 1:
        raise ConfigError(f"--gap {choice.gap:g} is outside [0, 1); set a share like 0.1")
    if choice.pairs < 1:
        raise ConfigError(f"--pairs {choice.pairs} is below 1; write at least one pair a problem")


def make_answers(
    problems: Sequence[Problem],
    records: Path,
    choice: AnswerChoice,
    *,
    made_of: EvaluationManifest,
) -> dict[Write, MadeAnswers]:
    """What is asked for, of a set's problems; nothing is written yet.

    Args:
        records: of an evaluation whose samples have their texts.
        made_of: its manifest: what its prompts were told.
    Raises:
        ConfigError: no problem has such an answer, or texts were not kept.
    """
    asked = ask(problems, made_of) if choice.told else list(problems)
    mine = _read_samples(records, problems)
    settings = json.loads(made_of.chat_template_kwargs or "{}")
    made = {}
    for kind in choice.write:
        taken = take_answers(asked, mine, choice, kind=kind)
        answers = _read_answers(records, taken)
        rows = _rows(asked, taken, answers, kind=kind)
        if not rows:
            raise ConfigError(
                f"--write {kind}: none of {count(len(problems), 'problem')} has such answers; "
                "sample more of each, or choose other problems or a smaller --gap"
            )
        counts = _count(taken, mine, kind=kind, rows=len(rows))
        made[kind] = MadeAnswers(rows, settings, counts)
    return made


def _read_samples(records: Path, problems: Sequence[Problem]) -> pl.DataFrame:
    """The problems' samples without their texts; one whose text is empty is no answer."""
    lazy = scan(records, {**_COLUMNS, "text": pl.String})
    mine = lazy.filter(pl.col("problem").is_in([problem.id for problem in problems]))
    empty = pl.col("text").str.strip_chars() == ""
    samples = mine.with_columns(empty=empty.fill_null(False)).drop("text").collect()
    if none := int(samples["empty"].sum()):
        warnings.warn(
            f"{records}: {count(none, 'sample')} with an empty text left out; a trainer would "
            "learn to say nothing",
            TerselyWarning,
            stacklevel=2,
        )
    return samples.filter(~pl.col("empty"))


def clear_answers(folder: Path) -> None:
    """Takes away what an earlier choice left in a set's folder."""
    for names in ANSWER_FILES.values():
        for name in names:
            (folder / name).unlink(missing_ok=True)


def write_answers(folder: Path, made: Mapping[Write, MadeAnswers]) -> None:
    """Writes into a set's folder what ``make_answers`` made."""
    for kind, each in made.items():
        _write(folder, each.rows, kind=kind, settings=each.settings)


def ask(problems: Sequence[Problem], made_of: EvaluationManifest) -> list[Problem]:
    """The problems as the evaluation asked them."""
    told = [replace(each, prompt=each.prompt + (made_of.phrase or "")) for each in problems]
    if made_of.system_prompt is None:
        return told
    return with_system(told, made_of.system_prompt, where="--system-prompt")


def take_answers(
    problems: Sequence[Problem], samples: pl.DataFrame, choice: AnswerChoice, *, kind: Write
) -> dict[str, _Taken]:
    """By problem, in their order, which samples are chosen, and which they are preferred over.

    The chosen ones are the shortest right ones that ended by themselves, of equally long ones
    the first sampled.
    """
    ended = samples.filter(pl.col("finish") == Finish.STOP.value).sort("tokens", "sample")
    groups = {key[0]: group for key, group in ended.group_by("problem", maintain_order=True)}
    return {
        each.id: _take(groups.get(each.id, ended.clear()), choice, kind=kind) for each in problems
    }


def _take(ended: pl.DataFrame, choice: AnswerChoice, *, kind: Write) -> _Taken:
    right = ended.filter(pl.col("grade") == Grade.CORRECT.value)
    tied = right.height > 1 and right["tokens"][0] == right["tokens"][1]
    if kind is Write.SFT:
        return _Taken(right["sample"].to_list()[:1], [], tied)
    wrong = pl.col("grade").is_in([Grade.WRONG.value, Grade.UNPARSED.value])
    others = right if choice.rejected is Rejected.RIGHT else ended.filter(wrong)
    others = others.sort("tokens", "sample", descending=[True, False])
    most = min(choice.pairs, right.height, others.height)
    short_K, long_K = right["tokens"].to_numpy()[:most], others["tokens"].to_numpy()[:most]
    # Lengths rise on one side and fall on the other, so those that fit come first.
    fit = int(((short_K < long_K) & (short_K <= (1 - choice.gap) * long_K)).sum())
    return _Taken(right["sample"].to_list()[:fit], others["sample"].to_list()[:fit], tied)


def _count(
    taken: Mapping[str, _Taken], samples: pl.DataFrame, *, kind: Write, rows: int
) -> WrittenAnswers:
    right = samples.filter(grade=Grade.CORRECT.value, finish=Finish.STOP.value)["problem"].unique()
    has_right = set(right)
    return WrittenAnswers(
        rows=rows,
        no_right=len(taken.keys() - has_right),
        no_pair=sum(not each.chosen for name, each in taken.items() if name in has_right),
        ties=sum(each.tied for each in taken.values()),
        cut=samples.filter(finish=Finish.LENGTH.value).height,
    )


def _read_answers(records: Path, taken: Mapping[str, _Taken]) -> dict[tuple[str, int], AnswerRow]:
    """The samples that are written, with their texts.

    Raises:
        ConfigError: the evaluation did not keep one of them.
    """
    wanted = [(name, s) for name, each in taken.items() for s in (*each.chosen, *each.rejected)]
    schema = {"problem": pl.String, "sample": pl.Int64}
    keys = pl.LazyFrame(wanted, schema=schema, orient="row").unique()
    scanned = scan(records, {**_COLUMNS, **_TEXTS})
    rows = scanned.join(keys, on=["problem", "sample"], how="semi").collect()
    if lacking := rows["text"].null_count():
        raise ConfigError(
            f"{records} keeps no text of {count(lacking, 'sample')} that would be written; give "
            "samples of tersely curate or tersely eval"
        )
    return {(row["problem"], row["sample"]): row for row in rows.iter_rows(named=True)}


def _rows(
    asked: Sequence[Problem],
    taken: Mapping[str, _Taken],
    answers: Mapping[tuple[str, int], AnswerRow],
    *,
    kind: Write,
) -> list[dict[str, Any]]:
    rows = []
    for problem in asked:
        chosen, rejected, _ = taken[problem.id]
        about = {"id": problem.id, "source": problem.source}
        for place, number in enumerate(chosen):
            mine = answers[problem.id, number]
            row: dict[str, Any] = {"prompt": problem.chat, **about}
            if kind is Write.SFT:
                row |= {"completion": _said(mine), "sample": number, "tokens": mine["tokens"]}
            else:
                theirs = answers[problem.id, rejected[place]]
                row |= {"chosen": _said(mine), "rejected": _said(theirs)}
                row |= {"chosen_tokens": mine["tokens"], "rejected_tokens": theirs["tokens"]}
            rows.append(row)
    return rows


def _said(answer: AnswerRow) -> list[dict[str, str]]:
    text = opened(answer["text"], thinking_open=bool(answer["thinking_open"]))
    return [{"role": "assistant", "content": text}]


def _write(
    folder: Path, rows: Sequence[dict[str, Any]], *, kind: Write, settings: Mapping[str, Any]
) -> None:
    """Both trainers are told what the chat template was given, in the columns that they read."""
    given = {"chat_template_kwargs": settings} if settings else {}
    lines = [json.dumps(row | given, ensure_ascii=False) + "\n" for row in rows]
    write_atomically(folder / ANSWER_FILES[kind][0], "".join(lines))
    if kind is Write.SFT:
        thinking = {k: settings[k] for k in ("enable_thinking",) if k in settings}
        chats = [
            {"messages": row["prompt"] + row["completion"], "data_source": row["source"]}
            | {key: row[key] for key in ("id", "sample", "tokens")}
            | thinking
            for row in rows
        ]
        with replacing(folder / ANSWER_FILES[kind][1]) as scratch:
            pl.DataFrame(chats).write_parquet(scratch)


def warn_lost(file: Path, tokenizer: Any) -> None:
    """Warns where the chat template leaves out a part of an answer, as some do with its thinking:
    a trainer would then train on answers without it."""
    # Only a newline ends a row: its texts may hold what else str.splitlines knows, such as U+2028.
    lines = file.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    rows = [json.loads(line) for line in lines[:_CHECKED]]
    for row in rows:
        answer = row.get("completion") or row["chosen"]
        settings = row.get("chat_template_kwargs", {})
        chat = tokenizer.apply_chat_template(row["prompt"] + answer, tokenize=False, **settings)
        if "".join(answer[0]["content"].split()) not in "".join(chat.split()):
            warnings.warn(
                f"{file}: the chat template leaves out a part of the answer to {row['id']!r}, and "
                "a trainer would learn answers without it; give the trainer a template that keeps "
                "an answer's thinking",
                TerselyWarning,
                stacklevel=2,
            )
            return
