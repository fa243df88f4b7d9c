"""From a foreign file's samples to evaluation records: the rules that all readers share.

Nothing is guessed in silence: what a file lacks is asked for, and what was inferred, left out or
counted anew becomes a note.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tersely.core.errors import DataError, no_such
from tersely.core.types import EvalRecord, Finish, Grade
from tersely.metrics.loops import loops
from tersely.readers.reading import CountsAll, Options, RawSample, Reading
from tersely.readers.scores import are_signs, grade_of, is_right, is_verdict, whole_tokens
from tersely.readers.thinking import count_thinking, mark_opened
from tersely.readers.values import whole


class _Counted(NamedTuple):
    raw: RawSample
    tokens: int


def complete(
    path: Path,
    raws: Sequence[RawSample],
    *,
    options: Options,
    score_fix: str,
    no_tokens: str = "the file holds no token counts",
    verdicts: str | None = None,
    notes: Sequence[str] = (),
) -> Reading:
    """The records of the samples, after every check.

    Args:
        score_fix: what to do about a score that is no verdict, for the error.
        no_tokens: why there are no counts, for the error.
        verdicts: whose they are, for a note; None where that goes without saying.
    Raises:
        DataError: naming file, place, value and fix.
    """
    raws, said = _one_model(path, raws, options=options), list(notes)
    if zero := _zero_counts(raws):
        raws = [replace(raw, tokens=None) if _is_no_count(raw) else raw for raw in raws]
        no_tokens = zero
        said.append(zero)
    raws, opened = mark_opened(raws)
    said += opened
    counted, recounted = _count(path, raws, options=options, no_tokens=no_tokens, said=said)
    finish_known = any(raw.finish is not None and not raw.failed for raw, _ in counted)
    counted = _finish(counted, options=options, recounted=recounted, said=said)
    caps = _caps(path, counted, options=options, said=said)
    if recounted and finish_known:
        counted = _clip(counted, caps=caps, said=said)
    elif not finish_known:
        caps = _raise(counted, caps=caps, recounted=recounted, said=said)
    fix = _score_fix(raws, score_fix, options=options)
    thinking = count_thinking(
        path, counted, count=options.count_tokens, recounted=recounted, said=said
    )
    records = _records(path, counted, thinking, caps=caps, options=options, score_fix=fix)
    _check_records(path, records, counted)
    if verdicts is not None and any(record.grade is not Grade.UNGRADED for record in records):
        of_file = "the file's verdicts are" if options.grader is not None else "verdicts from"
        said.insert(0, f"{of_file} {verdicts}")
    lost = sum(record.finish is Finish.ERROR for record in records)
    if lost:
        said.append(
            f"{lost} of {len(records)} samples failed, or lack a token count or a reason why they "
            f"ended: left out"
        )
    ungraded = sum(r.grade is Grade.UNGRADED and r.finish is not Finish.ERROR for r in records)
    if ungraded and options.grader is None:
        said.append(f"{ungraded} of {len(records)} samples have no grade: left out")
    return Reading(records=records, notes=tuple(said), golds=_golds(path, raws))


def from_signs(raws: list[RawSample]) -> tuple[list[RawSample], list[str]]:
    """A reward of 1 and -1 alone as right and wrong, and a note that it was read so."""
    if not are_signs(raw.score for raw in raws):
        return raws, []
    read = [replace(raw, score=0) if whole(raw.score) == -1 else raw for raw in raws]
    return read, ["scores are 1 and -1 alone: -1 is taken as wrong"]


def _is_no_count(raw: RawSample) -> bool:
    """Whether it has 0 tokens and yet a text, or is right."""
    return whole(raw.tokens) == 0 and bool((raw.text or "").strip() or is_right(raw.score))


def _zero_counts(raws: Sequence[RawSample]) -> str:
    """What to say of samples whose count is no count."""
    wrong = sum(_is_no_count(raw) for raw in raws)
    if not wrong:
        return ""
    return (
        f"{wrong} of {len(raws)} samples have 0 tokens, which a text or a right answer cannot "
        "have: taken as not counted"
    )


def _score_fix(raws: Sequence[RawSample], fix: str, *, options: Options) -> str:
    """What to do about a score that is no verdict: also to grade the texts, where that can be."""
    without_text = all(raw.text is None for raw in raws)
    if options.grader is not None or without_text or "--regrade" in fix:
        return fix
    gold = "" if any(raw.gold is not None for raw in raws) else ", with the right answers mapped"
    return f"{fix}, or grade the texts with --regrade GRADER{gold}"


def _golds(path: Path, raws: Sequence[RawSample]) -> dict[tuple[str, str], str]:
    """The right answer of each problem that has one."""
    first: dict[tuple[str, str], RawSample] = {}
    for raw in raws:
        if raw.gold is None:
            continue
        known = first.setdefault((raw.benchmark, raw.problem), raw)
        if known.gold != raw.gold:
            raise DataError(
                f"{path}: {raw.place} has the right answer {raw.gold!r:.60}, but {known.place} "
                f"{known.gold!r:.60} for the same problem {raw.problem!r}; two questions need two "
                f"names"
            )
    return {key: raw.gold for key, raw in first.items() if raw.gold is not None}


def _one_model(path: Path, raws: Sequence[RawSample], *, options: Options) -> Sequence[RawSample]:
    models = sorted({raw.model for raw in raws if raw.model is not None})
    if options.model is not None:
        kept = [raw for raw in raws if raw.model == options.model]
        if not kept:
            raise DataError(f"{path}: {no_such('model', options.model, models)}")
        return kept
    if len(models) > 1:
        raise DataError(
            f"{path} holds samples of {len(models)} models: {', '.join(models)}; "
            f"choose one with --only-model NAME"
        )
    if not raws:
        raise DataError(f"{path} holds no sample")
    return raws


def _count(
    path: Path,
    raws: Sequence[RawSample],
    *,
    options: Options,
    no_tokens: str,
    said: list[str],
) -> tuple[list[_Counted], bool]:
    """Each sample with its tokens, and whether they were counted anew.

    A sample without a count in a file that has counts failed.
    """
    raws = [replace(raw, tokens=None) if raw.tokens != raw.tokens else raw for raw in raws]  # NaN
    if any(raw.tokens is not None for raw in raws):
        if options.count_tokens is not None:
            said.append("token counts are the file's own; --tokenizer counts their thinking alone")
        return [_own_count(path, raw) for raw in raws], False
    if options.count_tokens is None:
        raise DataError(f"{path}: {no_tokens}; give the model's tokenizer with --tokenizer")
    if not any(raw.text is not None for raw in raws):
        raise DataError(f"{path}: {no_tokens}, and no text to count; map a column of texts")
    said.append(
        "token counts re-made with --tokenizer from the text: without the stop token, and not "
        "always the tokens that were sampled"
    )
    texts = [raw.text or "" for raw in raws]
    count = options.count_tokens
    counts = count.count_all(texts) if isinstance(count, CountsAll) else list(map(count, texts))
    counted = [
        _Counted(replace(raw, failed=raw.failed or raw.text is None), tokens if raw.text else 0)
        for raw, tokens in zip(raws, counts, strict=True)
    ]
    return counted, True


def _own_count(path: Path, raw: RawSample) -> _Counted:
    if raw.tokens is None:
        return _Counted(replace(raw, failed=True), 0)
    return _Counted(raw, whole_tokens(raw.tokens, place=f"{path}: {raw.place}"))


def _finish(
    counted: Sequence[_Counted], *, options: Options, recounted: bool, said: list[str]
) -> list[_Counted]:
    """Each sample with its finish: the file's own, or by its cap if the file has none at all."""
    if all(raw.finish is None or raw.failed for raw, _ in counted):
        return _finish_by_cap(counted, options=options, recounted=recounted, said=said)
    return [
        _Counted(replace(raw, failed=raw.failed or raw.finish is None), tokens)
        for raw, tokens in counted
    ]


def _finish_by_cap(
    counted: Sequence[_Counted], *, options: Options, recounted: bool, said: list[str]
) -> list[_Counted]:
    """A sample that reaches its cap is cut, one below it ended; without a cap it is not known.

    Counts made anew lack the special tokens that decoding dropped, as ``<think>``: there a sample
    that is not right and all but reaches its cap is cut too.
    """
    ended = []
    for raw, tokens in counted:
        cap = options.cap_tokens if raw.cap_tokens is None else raw.cap_tokens
        finish = Finish.UNKNOWN if cap is None else Finish.STOP
        if cap is not None and tokens >= cap - (_dropped(raw, cap) if recounted else 0):
            finish = Finish.LENGTH
        ended.append(_Counted(replace(raw, finish=finish), tokens))
    valid = [raw.finish for raw, _ in ended if not raw.failed]
    cut, unknown = valid.count(Finish.LENGTH), valid.count(Finish.UNKNOWN)
    if len(valid) > unknown:
        said.append(
            f"the file does not say why samples ended: the {cut} of {len(valid)} that reach their "
            "cap are taken as cut"
        )
    if unknown:
        said.append(
            f"of {unknown} of {len(valid)} samples it is not known whether they were cut: the file "
            "names neither a reason why they ended nor a cap. They count as ended by themselves, "
            "and the share of truncated samples is not known; if there was a cap, state it with "
            "--cap-tokens"
        )
    return ended


def _dropped(raw: RawSample, cap_tokens: int) -> int:
    """Tokens that a text which was cut may lack where they are counted anew."""
    return 0 if is_right(raw.score) else 2 + cap_tokens // 1000


def _caps(
    path: Path, counted: Sequence[_Counted], *, options: Options, said: list[str]
) -> list[int | None]:
    """The cap of each sample: the file's own, the stated, or what was reached; else none.

    Of the samples without a stated cap, one that was cut had the tokens it has for a cap. The
    others then had one as well, of at least the most tokens of any of them; where none was cut,
    they have none that is known.
    """
    for raw, _ in counted:
        own = raw.cap_tokens
        if own is not None and options.cap_tokens not in (None, own):
            raise DataError(
                f"{path}: {raw.place} was sampled at {own} tokens, but --cap-tokens says "
                f"{options.cap_tokens}; leave it out or give {own}"
            )
    stated = [options.cap_tokens if r.cap_tokens is None else r.cap_tokens for r, _ in counted]
    open_ = [
        each
        for each, cap in zip(counted, stated, strict=True)
        if cap is None and not each[0].failed
    ]
    cut = [tokens for raw, tokens in open_ if raw.finish is Finish.LENGTH]
    most = max((tokens for _, tokens in open_), default=0)
    if not open_:
        return stated
    if not cut:
        said.append(
            "no cap is stated and no sample was cut: there is no upper bound on budgets"
            if all(raw.finish is not Finish.UNKNOWN for raw, _ in open_)
            else "no cap is stated: there is no upper bound on budgets"
        )
        return stated
    which = "any sample" if most > max(cut) else "a sample that was cut"
    said.append(f"the cap is not stated: taken as {most}, the most tokens of {which}")
    return [
        (tokens if raw.finish is Finish.LENGTH else most) if cap is None else cap
        for (raw, tokens), cap in zip(counted, stated, strict=True)
    ]


def _clip(
    counted: Sequence[_Counted], *, caps: Sequence[int | None], said: list[str]
) -> list[_Counted]:
    """Counts made anew may pass the cap by a little, where a cut text was split differently."""
    clipped = [
        _Counted(raw, tokens if cap is None else _clipped(tokens, cap_tokens=cap))
        for (raw, tokens), cap in zip(counted, caps, strict=True)
    ]
    over = sum(old.tokens != new.tokens for old, new in zip(counted, clipped, strict=True))
    if over:
        said.append(f"{over} counts that came out just above the cap were taken as the cap")
    return clipped


def _raise(
    counted: Sequence[_Counted],
    *,
    caps: Sequence[int | None],
    recounted: bool,
    said: list[str],
) -> list[int | None]:
    """The caps, where samples that were taken as cut pass the stated one: each has its own then.

    By the file's own counts a right sample above the cap contradicts it.
    """
    raised = [
        tokens
        if cap is not None
        and raw.finish is Finish.LENGTH
        and cap < tokens <= cap + cap // 10
        and (recounted or (raw.cap_tokens is None and not is_right(raw.score)))
        else cap
        for (raw, tokens), cap in zip(counted, caps, strict=True)
    ]
    over = sum(old != new for old, new in zip(caps, raised, strict=True))
    if over:
        said.append(
            f"{over} of the samples that are taken as cut are above the stated cap, by a tenth of "
            f"it at most, as where one window holds prompt and completion: each has its own "
            f"count for a cap"
        )
    return raised


def _clipped(tokens: int, *, cap_tokens: int) -> int:
    slack = max(4, cap_tokens // 100)
    return cap_tokens if cap_tokens < tokens <= cap_tokens + slack else tokens


def _records(
    path: Path,
    counted: Sequence[_Counted],
    thinking: Sequence[int | None],
    *,
    caps: Sequence[int | None],
    options: Options,
    score_fix: str,
) -> list[EvalRecord]:
    position: Counter[tuple[str, str]] = Counter()
    records = []
    for (raw, tokens), cap, thinking_tokens in zip(counted, caps, thinking, strict=True):
        key = (raw.benchmark, raw.problem)
        sample = position[key] if raw.sample is None else raw.sample
        position[key] += 1
        failed = raw.failed or raw.finish is Finish.ERROR or raw.finish is None
        grade = Grade.UNGRADED
        if not failed and (options.grader is None or is_verdict(raw.score)):
            grade = grade_of(raw.score, place=f"{path}: {raw.place}", fix=score_fix)
        records.append(
            EvalRecord(
                run=options.run,
                benchmark=raw.benchmark,
                problem=raw.problem,
                sample=sample,
                grade=grade,
                tokens=tokens,
                finish=Finish.ERROR if failed or raw.finish is None else raw.finish,
                cap_tokens=cap,
                seed=raw.seed,
                difficulty=raw.difficulty,
                prompt=raw.prompt,
                text=raw.text,
                model=raw.model,
                extracted=raw.extracted,
                thinking_open=raw.thinking_open,
                thinking_tokens=None if failed else thinking_tokens,
                turns=raw.turns,
                tool_tokens=raw.tool_tokens,
                loops=None if failed or raw.text is None else loops(raw.text),
            )
        )
    return records


def _check_records(path: Path, records: Sequence[EvalRecord], counted: Sequence[_Counted]) -> None:
    seen: dict[tuple[str, str, int], str] = {}
    for record, (raw, _) in zip(records, counted, strict=True):
        over = record.cap_tokens is not None and record.tokens > record.cap_tokens
        if over and record.finish is not Finish.ERROR:
            fix = f"state a cap of {record.tokens} or more with --cap-tokens"
            if raw.cap_tokens is not None:
                fix = "correct the cap that the file states"
                if raw.tokens is None:
                    fix = f"give the model's own --tokenizer (another may count more) or {fix}"
            raise DataError(
                f"{path}: {raw.place} has {record.tokens} tokens, above the cap of "
                f"{record.cap_tokens}; {fix}"
            )
        if record.tool_tokens is not None and record.tool_tokens > record.tokens:
            raise DataError(
                f"{path}: {raw.place} has {record.tool_tokens} tokens of tools among "
                f"{record.tokens} in all; correct the file, or leave tool_tokens out"
            )
        key = (record.benchmark, record.problem, record.sample)
        if key in seen:
            raise DataError(
                f"{path}: {raw.place} is sample {record.sample} of problem {record.problem!r}, "
                f"which stands at {seen[key]} already; remove one"
            )
        seen[key] = raw.place
