"""Samples that could not be made: how many, of which problems, and why."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

NAMED = 3
# What a reply or a text said, and words with digits in them: numbers, and names of one request.
_QUOTED = re.compile(r""" \(got: .*|(?<=malformed JSON):.*|: (['"]).*\1(?=;)""", re.DOTALL)
_VARYING = re.compile(r"(?<!HTTP )(?<![\w.,-])[\w.,-]*\d[\w.,-]*")


class FailureReason(NamedTuple):
    """One kind of reason, in its first sample's words, how many samples and of which problems."""

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


def kind_of_failure(reason: str) -> str:
    """The reason without what differs from sample to sample: its numbers and what it quotes."""
    return _VARYING.sub("#", _QUOTED.sub("", reason))


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
    kinds = [kind_of_failure(text) for text in texts]
    example = dict(zip(reversed(kinds), reversed(texts), strict=True))
    of: dict[str, dict[str, None]] = {}
    for (problem, _), kind in zip(failed, kinds, strict=True):
        of.setdefault(kind, {})[problem] = None
    return FailedSamples(
        samples=len(failed),
        made=made,
        problems=len(problems),
        lost=len(problems - left),
        reasons=tuple(
            FailureReason(example[kind], samples, tuple(of[kind]))
            for kind, samples in Counter(kinds).most_common()
        ),
    )
