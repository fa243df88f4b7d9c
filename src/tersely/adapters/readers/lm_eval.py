"""lm-eval's ``samples_TASK_DATE.jsonl``, written with ``--log_samples``."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from tersely.adapters.completing import complete
from tersely.adapters.reading import Options, RawSample, Reading, check_columns
from tersely.adapters.rows import Row, demand, read_jsonl
from tersely.adapters.values import as_dict, as_list
from tersely.core.errors import DataError

EXPECTED = "lm-eval's samples_*.jsonl of a generate_until task"
KEYS = ("doc_id", "arguments", "resps", "filtered_resps", "filter", "metrics")
SCORE_FIX = "choose a metric of right or wrong with --column correct=METRIC"
LIMITS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
NAME = re.compile(r"samples_(.+)_\d{4}-\d\d-\d\dT[\d\-.:]+")
NO_THINKING = (
    "if lm-eval was told the model's think_end_token, it dropped the thinking before it wrote "
    "the file: then these counts are of the answers alone"
)


def lm_eval(path: Path, *, options: Options) -> Reading:
    """Reads one task's samples; documents with the same prompt and target are one problem.

    ``options.columns`` may choose the ``filter`` and, as ``correct``, the metric; with several
    in the file it must. The file holds neither token counts nor reasons why samples ended.

    Raises:
        ConfigError: a column of ours that is unknown.
        DataError: the file is not lm-eval's, or lacks what was not stated or chosen.
    """
    check_columns(options, known=("filter", "correct"), reader="lm_eval")
    rows = read_jsonl(path, expected=EXPECTED)
    demand(path, rows, KEYS, expected=EXPECTED)
    chosen = _one(
        path, [str(row.values["filter"]) for row in rows], options.columns.get("filter"), "filter"
    )
    rows = [row for row in rows if row.values["filter"] == chosen]
    metrics = [str(name) for row in rows for name in as_list(row.values["metrics"])]
    metric = _one(path, metrics, options.columns.get("correct"), "correct")
    return complete(
        path,
        list(_samples(path, rows, metric=metric, options=options)),
        options=options,
        score_fix=SCORE_FIX,
        no_tokens="lm-eval keeps no token counts",
        notes=(f"verdicts from lm-eval's {metric} under the filter {chosen}", NO_THINKING),
    )


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


def _samples(
    path: Path, rows: Sequence[Row], *, metric: str, options: Options
) -> Iterator[RawSample]:
    named = NAME.fullmatch(path.stem)
    first: dict[tuple[str, str], str] = {}
    for row in rows:
        call = as_dict(as_dict(row.values["arguments"]).get("gen_args_0"))
        prompt = call.get("arg_0")
        key = (str(prompt), str(row.values.get("target")))
        problem = first.setdefault(key, str(row.values["doc_id"]))
        for number, (text, score) in enumerate(_responses(path, row, metric=metric)):
            yield RawSample(
                place=row.place if number == 0 else f"{row.place}, response {number}",
                problem=problem,
                benchmark=options.benchmark or (named[1] if named else path.stem),
                score=score,
                cap_tokens=_limit(call.get("arg_1")),
                text=text,
                prompt=prompt if isinstance(prompt, str) else None,
                extracted=_extracted(row.values["filtered_resps"]),
            )


def _limit(settings: object) -> int | None:
    """The most tokens that the task allowed, if its settings say so."""
    stated = (as_dict(settings).get(key) for key in LIMITS)
    return next((limit for limit in stated if isinstance(limit, int)), None)


def _responses(path: Path, row: Row, *, metric: str) -> list[tuple[str, object]]:
    """Each response of a document with its own verdict."""
    repeats = as_list(next(iter(as_list(row.values["resps"])), None))
    score = row.values.get(metric)
    if not repeats or not all(isinstance(text, str) for text in repeats):
        raise DataError(
            f"{path}: {row.place} holds no generated text but {row.values['resps']!r:.60}; "
            f"expected {EXPECTED}"
        )
    scores = score if isinstance(score, list) else [score]
    if len(scores) != len(repeats):
        raise DataError(
            f"{path}: {row.place} has {len(repeats)} responses but {len(scores)} verdict under "
            f"the filter {row.values['filter']}; run lm-eval with repeats: 1 and each document "
            f"as often as wanted"
        )
    return list(zip(repeats, scores, strict=True))


def _extracted(filtered: object) -> str | None:
    first = filtered[0] if isinstance(filtered, list) and len(filtered) == 1 else None
    # What its regex filter gives where it finds nothing.
    return first if isinstance(first, str) and first != "[invalid]" else None
