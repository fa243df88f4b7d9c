"""inspect-ai's logs: ``.eval`` archives and ``.json`` files."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tersely.core.errors import DataError
from tersely.core.parsing import parse_json
from tersely.core.types import Finish
from tersely.core.usage import Received, Usage, completion_tokens, least_tokens
from tersely.readers.archive import Archive
from tersely.readers.completing import complete
from tersely.readers.packing import read_unpacked
from tersely.readers.reading import Options, RawSample, Reading, check_columns
from tersely.readers.rows import read_text
from tersely.readers.scores import finish_of, verdict_names
from tersely.readers.values import as_dict, as_list, as_text, gold_text
from tersely.tasks.grading.answer import END_THINK, THINK

EXPECTED = "an inspect-ai log, .eval or .json, with its samples"
FIELDS = ("correct",)
MARKS = (frozenset({"eval", "samples"}), frozenset({"eval", "plan"}))
KEYS = (
    "id",
    "epoch",
    "input",
    "target",
    "output",
    "scores",
    "model_usage",
    "attachments",
    "messages",
    "error",
    "limit",
)
ATTACHMENT = "attachment://"
CUT = ("max_tokens", "model_length")
PADDED = (
    "inspect's hf provider counts every completion at the length of its batch's longest, so its "
    "token counts are not used"
)
# Counts thinking in its output; its reasoning_tokens are a count of a summary, which older
# versions of inspect also added to the total.
ALL_IN_OUTPUT = "anthropic/"


@dataclass(kw_only=True)
class _LogTally:
    """What the notes will say of the samples."""

    calls: int = 0
    no_answer: int = 0
    models: set[str] = field(default_factory=set)
    mended: Counter[str] = field(default_factory=Counter)
    doubts: list[str] = field(default_factory=list)


def inspect_ai(path: Path, *, options: Options) -> Reading:
    """Reads one task's log; epochs are samples, and the assistant's messages its turns.

    Tokens are the output tokens of all calls to the evaluated model; with several calls in a
    sample they are more than its last completion, a note says so, and the log's ``max_tokens`` is
    no cap. Where a provider leaves thinking out of them it is added, or no count is believed. A
    sample that one of inspect's own limits ended counts as cut. ``options.columns`` may choose the
    scorer as ``correct``; with several in the log it must.

    Raises:
        ConfigError: a column of ours that is unknown.
        DataError: the file is no such log, or lacks what was not stated or chosen.
    """
    check_columns(options, known=FIELDS, reader="inspect_ai")
    log, samples = _read(path)
    if not samples:
        raise DataError(f"{path} holds no sample; expected {EXPECTED}")
    scorer = _scorer(path, samples, options=options)
    tally = _LogTally()
    raws = [
        _sample(path, log, sample, scorer=scorer, options=options, tally=tally)
        for sample in samples
    ]
    if tally.doubts:
        raws = [replace(raw, tokens=None) for raw in raws]
    elif tally.calls:
        raws = [replace(raw, cap_tokens=None) for raw in raws]
    return complete(
        path,
        raws,
        options=options,
        score_fix=_score_fix(samples, scorer=scorer),
        no_tokens=_why_no_tokens(log, tally),
        verdicts=None if scorer is None else f"inspect's scorer {scorer}",
        notes=_notes(log, tally),
    )


def _read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The log and its samples, from an archive or from JSON, by what the file holds."""
    with path.open("rb") as file:
        packed = file.read(2) == b"PK"
    if packed:
        return _read_archive(path)
    return _read_json(path, read_text(path, read_unpacked(path), expected=EXPECTED))


def _read_json(path: Path, content: bytes) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    try:
        log = parse_json(content)
    except ValueError as error:
        raise DataError(f"{path} is not JSON; expected {EXPECTED}") from error
    if not isinstance(log, dict) or not isinstance(log.get("eval"), dict):
        raise DataError(f"{path} has no entry eval; expected {EXPECTED}; is --from right?")
    return log, [_needed(sample) for sample in as_list(log.get("samples"))]


def _read_archive(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    with Archive(path, expected=EXPECTED) as archive:
        names = archive.names()
        heads = [name for name in ("header.json", "_journal/start.json") if name in names]
        if not heads:
            raise DataError(f"{path} has no header.json; expected {EXPECTED}; is --from right?")
        samples = [name for name in names if name.startswith("samples/")]
        log = archive.load(heads[0])
        if not isinstance(as_dict(log).get("eval"), dict):
            raise DataError(f"{path}: {heads[0]} has no entry eval; expected {EXPECTED}")
        return log, [_needed(archive.load(name)) for name in samples]


def _needed(sample: object) -> dict[str, Any]:
    """The sample without its events, which hold every prompt and completion over again."""
    return {key: as_dict(sample).get(key) for key in KEYS}


def _scorer(path: Path, samples: Sequence[Mapping[str, Any]], *, options: Options) -> str | None:
    """The scorer to read; None when no sample was scored."""
    names = sorted({name for sample in samples for name in as_dict(sample["scores"])})
    asked = options.columns.get("correct")
    if asked in names:
        return asked
    if asked is None and len(names) < 2:
        return names[0] if names else None
    raise DataError(
        f"{path} has the scorers {', '.join(names) or 'none'}; choose one with "
        f"--column correct=SCORER"
    )


def _score_fix(samples: Sequence[Mapping[str, Any]], *, scorer: str | None) -> str:
    """What to do about a score that is no verdict, such as partial credit (P)."""
    scores = [as_dict(sample["scores"]) for sample in samples]
    others = sorted({name for each in scores for name in each} - {scorer})
    values = {name: [as_dict(each.get(name)).get("value") for each in scores] for name in others}
    if usable := verdict_names(values):
        return (
            f"choose a scorer of right or wrong with --column correct=SCORER: {', '.join(usable)}"
        )
    return (
        "the log has no other scorer of right or wrong: score it again with one (inspect score LOG)"
    )


def _sample(
    path: Path,
    log: Mapping[str, Any],
    sample: Mapping[str, Any],
    *,
    scorer: str | None,
    options: Options,
    tally: _LogTally,
) -> RawSample:
    place = f"sample {sample.get('id')!r} of epoch {sample.get('epoch')}"
    if sample.get("id") is None or not isinstance(sample.get("epoch"), int):
        raise DataError(f"{path}: a sample has no id or epoch; expected {EXPECTED}")
    score = as_dict(as_dict(sample["scores"]).get(scorer))
    turns = _turns(sample)
    output = as_dict(sample["output"])
    choice = as_dict(next(iter(as_list(output.get("choices"))), None))
    reason = finish_of(choice.get("stop_reason"), place=f"{path}: {place}")
    if sample.get("limit"):
        reason = Finish.LENGTH
    failed = sample.get("error") is not None
    tally.no_answer += score.get("value") == "N" and not failed
    return RawSample(
        place=place,
        problem=as_text(sample["id"]) or str(sample["id"]),
        benchmark=options.benchmark or str(log["eval"].get("task")),
        score=score.get("value"),
        tokens=_tokens(log, sample, output, tally=tally),
        finish=Finish.ERROR if failed else reason,
        failed=failed,
        sample=sample["epoch"] - 1,
        model=str(log["eval"].get("model")),
        cap_tokens=_limit(log),
        text=_completion(sample, choice),
        prompt=_attached(sample, as_text(sample.get("input"))),
        extracted=_attached(sample, score.get("answer")),
        gold=gold_text(sample.get("target")),
        reasoning=_reasoning(log, sample, output),
        turns=turns,
        # Output tokens are the model's alone.
        tool_tokens=None if turns is None else 0,
    )


def _turns(sample: Mapping[str, Any]) -> int | None:
    """The assistant's messages, but for those that the prompt held; None without any message."""
    said = [as_dict(message) for message in as_list(sample["messages"])]
    of_model = [m for m in said if m.get("role") == "assistant" and m.get("source") != "input"]
    return len(of_model) if said else None


def _tokens(
    log: Mapping[str, Any],
    sample: Mapping[str, Any],
    output: Mapping[str, Any],
    *,
    tally: _LogTally,
) -> int | None:
    """Output tokens of all the sample's calls to the evaluated model; None if not counted."""
    last = as_dict(output.get("usage"))
    usage = as_dict(sample["model_usage"])
    tally.models |= usage.keys()
    model = str(log["eval"].get("model"))
    whole = as_dict(usage.get(model)) or last
    stated = whole.get("output_tokens")
    if _is_padded(log) or not isinstance(stated, int):
        return None
    tally.calls += bool(last) and last.get("output_tokens") != stated
    found = completion_tokens(_usage(whole, model=model), received=_received(sample, output))
    several = len(as_list(output.get("choices"))) > 1
    if several or found.tokens is None:
        why = "its output tokens are of several choices" if several else found.how
        tally.doubts.append(f"sample {sample.get('id')!r} of epoch {sample.get('epoch')}: {why}")
        return None
    tally.mended[found.how] += bool(found.how)
    return found.tokens


def _reasoning(
    log: Mapping[str, Any], sample: Mapping[str, Any], output: Mapping[str, Any]
) -> int | None:
    """The thinking's own count, of the calls whose output tokens are taken; None without one.

    A count that cannot be, or of a summary, is none.
    """
    model = str(log["eval"].get("model"))
    whole = as_dict(as_dict(sample["model_usage"]).get(model)) or as_dict(output.get("usage"))
    found = whole.get("reasoning_tokens")
    if not isinstance(found, int) or found < 0 or model.startswith(ALL_IN_OUTPUT):
        return None
    return found


def _usage(usage: Mapping[str, Any], *, model: str) -> Usage:
    """inspect's ``input_tokens`` are without the cached ones, and were with them in older logs."""

    def count(name: str) -> int:
        found = usage.get(name)
        return found if isinstance(found, int) else 0

    if model.startswith(ALL_IN_OUTPUT):
        return Usage(count("output_tokens"))
    cached = count("input_tokens_cache_read") + count("input_tokens_cache_write")
    output, prompt, total = count("output_tokens"), count("input_tokens") + cached, 0
    # Where it is below its parts, it says nothing of what the output leaves out.
    if count("total_tokens") >= output + count("input_tokens"):
        total = count("total_tokens")
    return Usage(
        completion=output,
        prompt=prompt,
        total=total,
        reasoning=count("reasoning_tokens"),
        cached=cached,
    )


def _received(sample: Mapping[str, Any], output: Mapping[str, Any]) -> Received:
    choice = as_dict(next(iter(as_list(output.get("choices"))), None))
    text = _completion(sample, choice) or ""
    closed, answer = END_THINK in text, text.rpartition(END_THINK)[2]
    # What was cut may be thinking to its end.
    answered = closed or (choice.get("stop_reason") == "stop" and THINK not in text)
    bare = text.replace(THINK, " ").replace(END_THINK, " ")
    return Received(least=least_tokens(bare), least_answer=least_tokens(answer) if answered else 0)


def _why_no_tokens(log: Mapping[str, Any], tally: _LogTally) -> str:
    if tally.doubts:
        return (
            f"{len(tally.doubts)} of its token counts cannot be right, so none is used "
            f"({tally.doubts[0]})"
        )
    return PADDED if _is_padded(log) else "the log holds no token usage"


def _is_padded(log: Mapping[str, Any]) -> bool:
    return str(log["eval"].get("model")).startswith("hf/")


def _limit(log: Mapping[str, Any]) -> int | None:
    """The most tokens that one call may give, if the log says so."""
    plan = as_dict(as_dict(log.get("plan")).get("config"))
    limits = (
        plan.get("max_tokens"),
        as_dict(log["eval"].get("model_generate_config")).get("max_tokens"),
    )
    return next((limit for limit in limits if isinstance(limit, int)), None)


def _completion(sample: Mapping[str, Any], choice: Mapping[str, Any]) -> str | None:
    """Thinking and answer of the last completion, in order; thinking that was cut stays open."""
    content = as_dict(choice.get("message")).get("content")
    if not isinstance(content, list):
        return _attached(sample, as_text(content))
    parts = list(filter(None, (_attached(sample, text) for text in _parts(content))))
    if parts[-1:] == [END_THINK] and choice.get("stop_reason") in CUT:
        parts.pop()
    return "".join(parts)


def _parts(content: Sequence[object]) -> Iterator[object]:
    for part in map(as_dict, content):
        if part.get("type") == "reasoning":
            # Redacted thinking is encrypted; its summary may be read.
            said = part.get("summary") if part.get("redacted") else part.get("reasoning")
            if said:
                yield from (THINK, said, END_THINK)
        else:
            yield part.get("text")


def _attached(sample: Mapping[str, Any], text: object) -> str | None:
    """The text, or the long text that inspect keeps once and refers to."""
    if isinstance(text, str) and text.startswith(ATTACHMENT):
        return as_dict(sample["attachments"]).get(text.removeprefix(ATTACHMENT))
    return text if isinstance(text, str) else None


def _notes(log: Mapping[str, Any], tally: _LogTally) -> list[str]:
    notes = []
    status = log.get("status", "started")
    if status != "success":
        notes.append(f"inspect's status of this log is {status}: samples may be missing")
    if tally.calls:
        notes.append(
            f"{tally.calls} samples made several calls to the model: their tokens are of all "
            f"calls together, and a limit of max_tokens is on each call and so no cap on samples"
        )
    for how, count in sorted(tally.mended.items()):
        if how:
            notes.append(
                f"output tokens leave thinking out in {count} samples: their tokens are {how}"
            )
    if tally.no_answer:
        notes.append(
            f"{tally.no_answer} samples with the score N (no answer) are left out; inspect "
            f"counts them as wrong"
        )
    others = sorted(tally.models - {str(log["eval"].get("model"))})
    if others:
        notes.append(f"tokens of other models are not counted: {', '.join(others)}")
    return notes
