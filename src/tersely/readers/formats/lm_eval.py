"""lm-eval's ``samples_TASK_DATE.jsonl``, written with ``--log_samples``."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tersely.core.errors import DataError
from tersely.core.types import Grade
from tersely.readers.completing import complete
from tersely.readers.naming import name_problems
from tersely.readers.packing import plain_stem
from tersely.readers.reading import Options, RawSample, Reading, benchmark_name, check_columns
from tersely.readers.rows import Row, demand, read_jsonl
from tersely.readers.scores import is_wrong, verdict_names
from tersely.readers.values import as_dict, as_list, as_text, gold_text, whole
from tersely.tasks import grading
from tersely.tasks.grading.answer import END_THINK, THINK

EXPECTED = "lm-eval's samples_*.jsonl of a generate_until task"
KEYS = ("doc_id", "arguments", "resps", "filtered_resps")
OWN = (*KEYS, "doc", "target", "filter", "metrics", "doc_hash", "prompt_hash", "target_hash")
FIELDS = ("filter", "correct")
MARKS = (frozenset(KEYS),)
LIMITS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
# What its regex filter gives where it finds nothing.
NOT_FOUND = "[invalid]"
NAME = re.compile(r"samples_(.+?)_(\d{4}-\d\d-\d\dT[\d\-.:]+)")
NO_THINKING = (
    "if lm-eval was told the model's think_end_token, it dropped the thinking before it wrote "
    "the file: then these counts are of the answers alone"
)
END_TOKEN = re.compile(r"think_end_token\W++(?!null|None|false)\w")
STRIPPED = (
    "lm-eval drops the thinking that ended before it writes the file, so that tokens cannot be "
    "counted; run it again without think_end_token, or give the counts in a table (--from table)"
)


def lm_eval(path: Path, *, options: Options) -> Reading:
    """Reads one task's samples. Documents with the same prompt and target are samples of one
    problem where all stand equally often; otherwise each document is a problem.

    ``options.columns`` may choose the ``filter`` and, as ``correct``, the metric; with several
    in the file it must. The file holds neither token counts nor reasons why samples ended. Files
    of 0.4.0 to 0.4.3 name neither filters nor metrics: filters are numbered from 1 in the file's
    order.

    Raises:
        ConfigError: a column of ours that is unknown.
        DataError: the file is not lm-eval's, or lacks what was not stated or chosen, or the
            thinking was dropped from its texts.
    """
    check_columns(options, known=FIELDS, reader="lm_eval")
    rows = read_jsonl(path, expected=EXPECTED)
    demand(path, rows, KEYS, expected=EXPECTED)
    rows = _with_filters_and_metrics(rows)
    chosen = _one(
        path, [str(row.values["filter"]) for row in rows], options.columns.get("filter"), "filter"
    )
    rows = [row for row in rows if str(row.values["filter"]) == chosen]
    metrics = [str(name) for row in rows for name in as_list(row.values["metrics"])]
    metric = _one(path, metrics, options.columns.get("correct"), "correct")
    named_task = NAME.fullmatch(plain_stem(path))
    benchmark = benchmark_name(path, options, own=named_task[1] if named_task else None)
    told = replace(options, benchmark=benchmark)
    named = name_problems(
        [(repr(_prompt(row)), str(row.values.get("target"))) for row in rows],
        names=[str(as_text(row.values["doc_id"])) for row in rows],
        benchmarks=[benchmark] * len(rows),
    )
    raws = [
        raw
        for row, problem in zip(rows, named.problems, strict=True)
        for raw in _samples(path, row, metric=metric, problem=problem, options=told)
    ]
    thinking = _thinking_note(path, [raw.text or "" for raw in raws])
    return complete(
        path,
        raws,
        options=options,
        score_fix=_score_fix(rows, others=sorted({*metrics} - {metric})),
        no_tokens="lm-eval keeps no token counts",
        verdicts=f"lm-eval's {metric} under the filter {chosen}",
        notes=(*named.notes, *thinking, *_null_note(rows)),
    )


def _score_fix(rows: Sequence[Row], *, others: Sequence[str]) -> str:
    usable = verdict_names({name: [row.values.get(name) for row in rows] for name in others})
    if usable:
        return (
            f"choose a metric of right or wrong with --column correct=METRIC: {', '.join(usable)}"
        )
    return "the file has no other metric of right or wrong: run the task with one"


def _with_filters_and_metrics(rows: Sequence[Row]) -> list[Row]:
    """Rows of the older layout with the two keys that it lacks: a document that stands again is
    under the next filter, and a metric is whatever is not lm-eval's own."""
    seen: Counter[str] = Counter()
    filled = []
    for row in rows:
        values = row.values
        if "filter" not in values:
            document = str(values["doc_id"])
            seen[document] += 1
            values = {**values, "filter": str(seen[document])}
        if "metrics" not in values:
            values = {**values, "metrics": [name for name in values if name not in OWN]}
        filled.append(Row(row.place, values))
    return filled


def _thinking_note(path: Path, texts: Sequence[str]) -> tuple[str, ...]:
    """What to say of thinking that lm-eval may have dropped.

    Raises:
        DataError: it did.
    """
    if any(END_THINK in text for text in texts):
        return ()
    opened = sum(THINK in text for text in texts)
    if opened and opened < len(texts):
        raise DataError(
            f"{path}: {opened} of {len(texts)} texts open their thinking and none ends it: "
            f"{STRIPPED}"
        )
    if settings := _results_with_end_token(path):
        raise DataError(f"{path}: {settings.name} was made with think_end_token: {STRIPPED}")
    return (NO_THINKING,)


def _null_note(rows: Sequence[Row]) -> tuple[str, ...]:
    nulls = sum(_repeats(row).count(None) for row in rows)
    return (f"{nulls} responses are null: taken as empty texts without an answer",) if nulls else ()


def _results_with_end_token(path: Path) -> Path | None:
    """The results of the same run, beside its samples, where they name a think_end_token."""
    named = NAME.fullmatch(plain_stem(path))
    results = path.parent / f"results_{named[2] if named else plain_stem(path)}.json"
    if not results.is_file():
        return None
    return results if END_TOKEN.search(results.read_text(encoding="utf-8")) else None


def _one(path: Path, names: Sequence[str], asked: str | None, column: str) -> str:
    """The name asked for, or the only one there is."""
    known = list(dict.fromkeys(names))
    if asked in known:
        return str(asked)
    if asked is None and len(known) == 1:
        return known[0]
    kind = "filters" if column == "filter" else "metrics"
    raise DataError(
        f"{path} has the {kind} {', '.join(known) or 'none'}"
        f"{'' if asked is None else f', not {asked}'}; "
        f"choose one with --column {column}=NAME"
    )


def _call(row: Row) -> list[Any]:
    """The prompt and the settings of the document's request, by either layout."""
    arguments = row.values["arguments"]
    if isinstance(arguments, dict):
        return list(as_dict(next(iter(arguments.values()), None)).values())
    return as_list(next(iter(as_list(arguments)), None))


def _prompt(row: Row) -> object:
    return next(iter(_call(row)), None)


def _samples(
    path: Path, row: Row, *, metric: str, problem: str, options: Options
) -> Iterator[RawSample]:
    settings = next((part for part in _call(row) if isinstance(part, dict)), None)
    for number, (text, score) in enumerate(
        _responses(path, row, metric=metric, regrade=options.grader is not None)
    ):
        not_found = is_wrong(score) and _first(row.values["filtered_resps"]) == NOT_FOUND
        if text is None or not_found:
            score = Grade.UNPARSED.value
        yield RawSample(
            place=row.place if number == 0 else f"{row.place}, response {number}",
            problem=problem,
            benchmark=options.benchmark or "",
            score=score,
            cap_tokens=_limit(settings),
            text=text or "",
            prompt=as_text(_prompt(row)),
            extracted=_extracted(row.values["filtered_resps"]),
            gold=gold_text(row.values.get("target")),
        )


def _limit(settings: object) -> int | None:
    """The most tokens that the task allowed, if its settings say so."""
    stated = (as_dict(settings).get(key) for key in LIMITS)
    return next((limit for limit in map(whole, stated) if limit is not None), None)


def _repeats(row: Row) -> list[Any]:
    return as_list(next(iter(as_list(row.values["resps"])), None))


def _responses(
    path: Path, row: Row, *, metric: str, regrade: bool
) -> list[tuple[str | None, object]]:
    """Each response of a document with its own verdict; without one where the file has fewer
    verdicts than responses and all are graded again. None is an API's null content."""
    repeats = _repeats(row)
    score = row.values.get(metric)
    if not repeats or not all(isinstance(text, str | None) for text in repeats):
        raise DataError(
            f"{path}: {row.place} holds no generated text but {row.values['resps']!r:.60}; "
            f"expected {EXPECTED}"
        )
    scores = score if isinstance(score, list) else [score]
    if len(scores) != len(repeats) and regrade:
        return [(text, None) for text in repeats]
    if len(scores) != len(repeats):
        raise DataError(
            f"{path}: {row.place} has {len(repeats)} responses but {len(scores)} verdict under "
            f"the filter {row.values['filter']}: lm-eval graded one of its repeats; grade "
            f"each again with --regrade GRADER ({', '.join(grading.names())})"
        )
    return list(zip(repeats, scores, strict=True))


def _first(filtered: object) -> object:
    return filtered[0] if isinstance(filtered, list) and len(filtered) == 1 else None


def _extracted(filtered: object) -> str | None:
    first = _first(filtered)
    return first if isinstance(first, str) and first != NOT_FOUND else None
