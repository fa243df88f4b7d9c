"""What the cap hides, in one sentence above all figures."""

from tersely.metrics.budgets import Protocol
from tersely.metrics.comparison import Comparison
from tersely.metrics.endings import GIVEN_FINISHED, MUCH_CUT, TRUNCATED
from tersely.metrics.measures import AT_CAP, Evaluation, Unit
from tersely.metrics.numbers import format_level
from tersely.report.tables.comparison import SideNames


def head_evaluation(evaluation: Evaluation) -> list[str]:
    """The sentence, where more than 5% of the samples were cut, and how many are right of those
    that were not; else nothing."""
    share = evaluation.value(TRUNCATED).estimate
    told = _tell(share, "", evaluation.cap_tokens, evaluation.protocol)
    if told and evaluation.protocol is Protocol.FINISHED:
        among, whole = evaluation.value(GIVEN_FINISHED), evaluation.value(AT_CAP)
        told[0] += (
            f" Right: {format_level(whole, Unit.SHARE).text} of all {whole.n_samples:,}, "
            f"{format_level(among, Unit.SHARE).text} of the {among.n_samples:,} that finished."
        )
    return told


def head_comparison(comparison: Comparison, *, names: SideNames) -> list[str]:
    """The same of each side, by name."""
    measure = comparison.find(TRUNCATED)
    return [
        f"{name}: {told}"
        for name, side in zip(names, (measure.before, measure.after), strict=True)
        for told in _tell(side.estimate, "its ", comparison.cap_tokens, comparison.protocol)
    ]


def _tell(share: float, whose: str, cap_tokens: int | None, protocol: Protocol) -> list[str]:
    """Where prefixes or forced answers count, a cut sample may be right."""
    if not share > MUCH_CUT:
        return []
    at = "" if cap_tokens is None else f" at {cap_tokens:,} tokens"
    bound = (
        "accuracy is a lower bound, lengths are too"
        if protocol is Protocol.FINISHED
        else "lengths are lower bounds"
    )
    return [f"{100 * share:.0f}% of {whose or 'the '}samples were cut{at}: {whose}{bound}."]
