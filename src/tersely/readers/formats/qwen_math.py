"""The output of Qwen2.5-Math's evaluator, which many repositories share: one problem a line."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from tersely.core.errors import DataError
from tersely.core.types import Grade
from tersely.readers.completing import complete
from tersely.readers.naming import name_problems
from tersely.readers.reading import Options, RawSample, Reading, benchmark_name, check_columns
from tersely.readers.rows import Row, column_names, demand, mapped, read_jsonl
from tersely.readers.scores import cap_of, finish_of, is_wrong
from tersely.readers.values import as_list, as_text, gold_text, prompt_id

EXPECTED = "the output of Qwen2.5-Math's evaluator: a problem a line, with lists of code and score"
# Our field to its keys, the first that a file has; the others only where they are mapped.
COLUMNS = {
    "problem": ("idx",),
    "text": ("code",),
    "correct": ("score",),
    "extracted": ("pred",),
    "gold": ("gt", "answer"),
    "prompt": ("question", "problem", "prompt"),
}
FIELDS = (*COLUMNS, "tokens", "finish", "cap_tokens")
# Where the evaluator looks for an answer before it takes the last number.
STATED = ("boxed", "he answer is", "final answer is", "\u7b54\u6848\u662f")
SCORE_FIX = "name the verdicts with --column correct=NAME"


def qwen_math(path: Path, *, options: Options) -> Reading:
    """Reads one output; the entries of a line's lists are samples of its problem.

    A problem is named by ``idx`` where every line has one, else by its question. Lines of one
    problem are further samples of it where every problem has as many. A wrong sample that
    states no answer has none: the evaluator then takes the last number of the text. It keeps
    neither token counts nor reasons why samples ended; ``options.columns`` maps our fields where
    a copy of it names them otherwise, ``tokens``, ``finish`` and ``cap_tokens`` among them.

    Raises:
        ConfigError: a column of ours that is unknown.
        DataError: the file is not of that layout, or lacks what was not stated.
    """
    check_columns(options, known=FIELDS, reader="qwen_math")
    rows = read_jsonl(path, expected=EXPECTED)
    columns = _columns(path, rows, options=options)
    demand(path, rows, (columns["text"], columns["correct"]), expected=EXPECTED)
    benchmark = benchmark_name(path, options)
    names = _names(path, rows, columns)
    named = name_problems(
        names,
        names=names,
        benchmarks=[benchmark] * len(rows),
    )
    raws = [
        raw
        for row, problem in zip(rows, named.problems, strict=True)
        for raw in _samples(path, row, columns, problem=problem, benchmark=benchmark)
    ]
    return complete(
        path,
        raws,
        options=options,
        score_fix=SCORE_FIX,
        no_tokens="Qwen2.5-Math's evaluator keeps no token counts",
        notes=(f"verdicts from the evaluator's {columns['correct']}", *named.notes),
    )


def _columns(path: Path, rows: Sequence[Row], *, options: Options) -> dict[str, str]:
    """The file's key of each of our fields; of those that it lacks, the usual one."""
    known = column_names(rows)
    usual = {
        field: next((key for key in keys if key in known), keys[0])
        for field, keys in COLUMNS.items()
    }
    for field, column in options.columns.items():
        mapped(path, rows, column, field=field)
    return {**usual, **options.columns}


def _names(path: Path, rows: Sequence[Row], columns: dict[str, str]) -> list[str]:
    """What to call the problem of each line: by its number, else by its question.

    Raises:
        DataError: a line has neither, or two questions share a name.
    """
    names = [as_text(row.values.get(columns["problem"])) for row in rows]
    prompts = [row.values.get(columns["prompt"]) for row in rows]
    if None in names:
        if None in prompts:
            raise DataError(
                f"{path}: {rows[prompts.index(None)].place} has neither {columns['problem']} nor "
                f"{columns['prompt']} to tell its problem by; name one with --column problem=NAME"
            )
        golds = [row.values.get(columns["gold"]) for row in rows]
        return [prompt_id([prompt, gold]) for prompt, gold in zip(prompts, golds, strict=True)]
    first: dict[str, tuple[Row, object]] = {}
    for row, name, prompt in zip(rows, map(str, names), prompts, strict=True):
        other, asked = first.setdefault(name, (row, prompt))
        if asked != prompt:
            raise DataError(
                f"{path}: {row.place} and {other.place} ask different questions and both have "
                f"{columns['problem']} {name!r}; keep one benchmark in a file, or name another "
                f"column with --column problem=NAME"
            )
    return [str(name) for name in names]


def _states_answer(text: str) -> bool:
    """Whether the evaluator read an answer where one was stated, and did not fall back on the
    last number of the text."""
    return any(mark in text for mark in STATED)


def _samples(
    path: Path, row: Row, columns: dict[str, str], *, problem: str, benchmark: str
) -> Iterator[RawSample]:
    place = f"{path}: {row.place}"
    texts = row.values[columns["text"]]
    texts = [texts] if isinstance(texts, str) else as_list(texts)
    if not texts:
        raise DataError(f"{place} has no text under {columns['text']}; expected {EXPECTED}")

    def one(field: str, number: int) -> object:
        """The sample's own entry of a list, or the value that the line has for all."""
        value = row.values.get(columns[field]) if field in columns else None
        entries = as_list(value)
        if not isinstance(value, list | tuple) and not entries:
            return value
        if len(entries) == 1 and len(texts) > 1:
            entries = as_list(entries[0]) or entries
        if len(entries) != len(texts) and entries:
            raise DataError(
                f"{place} has {len(texts)} texts under {columns['text']} but {len(entries)} "
                f"entries under {columns[field]}; correct the line"
            )
        return entries[number] if entries else None

    for number, text in enumerate(texts):
        score = one("correct", number)
        if is_wrong(score) and not _states_answer(str(text)):
            score = Grade.UNPARSED.value
        yield RawSample(
            place=row.place if number == 0 else f"{row.place}, sample {number}",
            problem=problem,
            benchmark=benchmark,
            score=score,
            tokens=one("tokens", number),
            finish=finish_of(one("finish", number), place=place),
            cap_tokens=cap_of(one("cap_tokens", number), place=place),
            text=as_text(text),
            prompt=as_text(row.values.get(columns["prompt"])),
            extracted=as_text(one("extracted", number)) or None,
            gold=gold_text(row.values.get(columns["gold"])),
        )
