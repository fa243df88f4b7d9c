"""What the cap hides, in one sentence above all figures."""

from tersely.metrics.budgets import Protocol
from tersely.metrics.comparison import Comparison
from tersely.metrics.endings import GIVEN_FINISHED, MUCH_CUT, TRUNCATED
from tersely.metrics.measures import AT_CAP, Evaluation, Unit
from tersely.metrics.numbers import format_level
from tersely.metrics.windows import ShortCut
from tersely.report.tables.comparison import SideNames


def head_evaluation(evaluation: Evaluation) -> list[str]:
    """The sentence, where more than 5% of the samples were cut, and how many are right of those
    that were not; else nothing."""
    share = evaluation.value(TRUNCATED).estimate
    at = _say_at(evaluation.cap_tokens, evaluation.short_cut)
    told = tell_cut(share, "the", at, evaluation.protocol)
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
    sides = zip(names, (measure.before, measure.after), comparison.short_cuts, strict=True)
    return [
        f"{name}: {told}"
        for name, side, lower in sides
        for told in tell_cut(
            side.estimate, "its", _say_at(comparison.cap_tokens, lower), comparison.protocol
        )
    ]


def _say_at(cap_tokens: int | None, lower: ShortCut | None) -> str:
    if cap_tokens is None:
        return ""
    return f" at {cap_tokens:,} tokens" if lower is None else f" at {cap_tokens:,} tokens or fewer"


def tell_cut(share: float, whose: str, at: str, protocol: Protocol) -> list[str]:
    """The sentence if the share is above 5%; accuracy is bounded under the protocol finished."""
    if not share > MUCH_CUT:
        return []
    bound = "accuracy is a lower bound, lengths are too"
    if protocol is not Protocol.FINISHED:
        bound = "lengths are lower bounds"
    return [f"{100 * share:.0f}% of {whose} samples were cut{at}: {bound}."]
