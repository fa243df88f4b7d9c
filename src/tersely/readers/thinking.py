"""The thinking of a file's samples: whether their prompts opened it, and how long it is."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tersely.readers.reading import CountsAll, RawSample
from tersely.readers.scores import whole_tokens
from tersely.tasks.grading.answer import END_THINK, THINK, opens_thinking
from tersely.tasks.grading.parts import told_thinking

# Of the texts, at least so many have to close a thinking that they did not open.
_LEAST_SHARE = 0.05


class Opened(NamedTuple):
    """Samples with the mark whether the prompt opened their thinking, and notes on it."""

    raws: list[RawSample]
    notes: list[str]


def mark_opened(raws: Sequence[RawSample]) -> Opened:
    """Marks the samples whose thinking the prompt opened.

    A prompt says it where it ends in ``<think>``. Where prompts are kept without the template, the
    texts do: those that close a thinking without having opened it. Then the template opened it
    for the samples that never close theirs too, and these have no answer.
    """
    by_prompt = [opens_thinking(raw.prompt or "") for raw in raws]
    closing = [raw for raw in raws if raw.text is not None and END_THINK in raw.text]
    unopened = [raw for raw in closing if not _opens(raw)]
    by_texts = 2 * len(unopened) > len(closing) and len(unopened) >= _LEAST_SHARE * len(raws)
    marked = [
        replace(raw, thinking_open=(by_texts or by_its_prompt) and not _opens(raw))
        for raw, by_its_prompt in zip(raws, by_prompt, strict=True)
    ]
    endless = sum(
        raw.thinking_open and raw.text is not None and END_THINK not in raw.text for raw in marked
    )
    if not endless:
        return Opened(marked, [])
    why = "their prompts end in" if not by_texts else "other texts close"
    what = THINK if not by_texts else "a thinking that they did not open"
    return Opened(
        marked,
        [
            f"{endless} of {len(raws)} samples never end a thinking that the template opened "
            f"({why} {what}): graded again, they have no answer"
        ],
    )


def _opens(raw: RawSample) -> bool:
    """Whether the text itself opens its thinking."""
    return THINK in (raw.text or "").partition(END_THINK)[0]


def count_thinking(
    path: Path,
    counted: Sequence[tuple[RawSample, int]],
    *,
    count: Callable[[str], int] | None,
    recounted: bool,
    said: list[str],
) -> list[int | None]:
    """The tokens of each sample's thinking, by the file's own count or its text; None if unknown.

    Args:
        counted: each sample with all of its tokens.
        count: counts the tokens of a text with the model's tokenizer.
        recounted: all tokens are of that tokenizer; then the file's own counts are of others.
    Raises:
        DataError: a count is none.
    """
    if recounted:
        counted = [(replace(raw, reasoning=None), tokens) for raw, tokens in counted]
    owns = _own_counts([raw for raw, _ in counted], count=count)
    found = []
    for (raw, tokens), own in zip(counted, owns, strict=True):
        reasoning = raw.reasoning
        if reasoning is not None:
            reasoning = whole_tokens(reasoning, place=f"{path}: {raw.place}, tokens of thinking")
        found.append(
            told_thinking(
                raw.text or "",
                tokens=tokens,
                reasoning=reasoning,
                thinking_open=raw.thinking_open,
                count=None if own is None else partial(_known, own),
            )
        )
    stated = [n for n, (raw, _) in zip(found, counted, strict=True) if raw.reasoning is not None]
    if lost := stated.count(None):
        said.append(
            f"the tokens of thinking of {lost} of {len(stated)} samples do not fit their texts or "
            "their tokens: not used"
        )
    return found


def _known(own: int, _: str) -> int:
    return own


def _own_counts(
    raws: Sequence[RawSample], *, count: Callable[[str], int] | None
) -> list[int | None]:
    """The tokens of each text up to the end of its thinking, or of all where it has no end."""
    if count is None:
        return [None] * len(raws)
    there = [raw.text for raw in raws if raw.text is not None]
    texts = ["".join(text.rpartition(END_THINK)[:2]) or text for text in there]
    counts = iter(count.count_all(texts) if isinstance(count, CountsAll) else map(count, texts))
    return [None if raw.text is None else next(counts) for raw in raws]
