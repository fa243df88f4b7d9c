"""Whether a file's samples begin inside a thinking that their prompts opened."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from tersely.readers.reading import RawSample
from tersely.tasks.grading.answer import END_THINK, THINK, opens_thinking

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
