"""Samples that could not be made: how many, of which problems, and why."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

NAMED = 3


class FailureReason(NamedTuple):
    """One reason, how many samples failed for it, and the problems that they are of."""

    text: str
    samples: int
    problems: tuple[str, ...]


class FailedSamples(NamedTuple):
    """Samples that failed; they are neither right nor wrong and have no length.

    Args:
        samples: how many failed.
        made: all samples on record, the failed among them.
        problems: problems with a failed sample.
        lost: of these, problems of which no sample is left.
        reasons: the commonest first.
    """

    samples: int
    made: int
    problems: int
    lost: int
    reasons: tuple[FailureReason, ...]


def tell_failed(failed: FailedSamples) -> str:
    """The share that failed, in a sentence."""
    share = 100 * failed.samples / failed.made
    lost = f", {failed.lost:,} of them without any sample left" if failed.lost else ""
    return (
        f"{failed.samples:,} of {failed.made:,} samples failed ({share:.1f}%), of "
        f"{failed.problems:,} {'problem' if failed.problems == 1 else 'problems'}{lost}; they are "
        "neither right nor wrong and are in no figure."
    )


def count_failed(
    failed: Sequence[tuple[str, str | None]], *, made: int, left: set[str]
) -> FailedSamples | None:
    """What failed; None if nothing did.

    Args:
        failed: problem and reason of each failed sample.
        made: all samples on record.
        left: problems of which a sample did not fail.
    """
    if not failed:
        return None
    problems = {problem for problem, _ in failed}
    texts = [reason or "the reason is not on record" for _, reason in failed]
    of: dict[str, dict[str, None]] = {}
    for (problem, _), text in zip(failed, texts, strict=True):
        of.setdefault(text, {})[problem] = None
    return FailedSamples(
        samples=len(failed),
        made=made,
        problems=len(problems),
        lost=len(problems - left),
        reasons=tuple(
            FailureReason(text, samples, tuple(of[text]))
            for text, samples in Counter(texts).most_common()
        ),
    )
