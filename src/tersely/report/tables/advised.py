"""What to serve, in sentences."""

from collections.abc import Iterator, Sequence
from itertools import groupby, takewhile

from tersely.flows.evaluate.advising import ServingAdvice, SideAdvice
from tersely.metrics.budgets import Protocol
from tersely.metrics.choosing import TargetAdvice
from tersely.metrics.frontier import JudgedChoice
from tersely.metrics.intervals import Interval
from tersely.metrics.measures import Unit
from tersely.metrics.numbers import (
    bracket,
    count,
    fixed,
    format_level,
    format_ratio,
    percent,
    signed,
)
from tersely.metrics.serving import CostAxis, ServingSetting
from tersely.metrics.simultaneous import FEWEST_PROBLEMS, ChangeFamily
from tersely.report.tables.advice import (
    NOUNS,
    format_cost,
    name_setting,
    say_at,
)
from tersely.report.tables.cut import tell_cut

# A setting that fewer halves agree on is one of several that cannot be told apart.
AGREED = 0.5


def _top(advice: ServingAdvice, at: int) -> ServingSetting:
    return ServingSetting(at, advice.sides[at].cap_tokens, 1)


def conclude_advice(advice: ServingAdvice) -> list[str]:
    """What may be concluded, each once; of fewer than ten problems little may."""
    lines = []
    few = advice.n_problems < FEWEST_PROBLEMS
    for at, side in enumerate(advice.sides):
        lines += [f"{_of(advice, at)}{line}" for line in _conclude_endings(side)]
        if side.n_right and not few:
            lines += [*_conclude_caps(advice, at, side), *_conclude_votes(advice, at, side)]
    if few:
        lines.append(
            f"{count(advice.n_problems, 'problem')} cannot tell settings apart: intervals need "
            f"{FEWEST_PROBLEMS} or more. The tables hold estimates alone."
        )
    lines += _conclude_targets(advice, few=few)
    if any(side.n_right for side in advice.sides):
        lines += [*_conclude_routing(advice), *_conclude_between(advice)]
    return lines


def _conclude_endings(side: SideAdvice) -> list[str]:
    """That nothing is right, or how many samples were cut."""
    at = f" at {side.cap_tokens:,} tokens" if side.cap_stated else ""
    if side.n_right:
        return tell_cut(side.cut, "the", at, Protocol.FINISHED)
    if side.cut == 1:
        whom = "the sample was" if side.n_graded == 1 else "every sample was"
        return [f"no setting reaches any accuracy: {whom} cut{at}; raise the cap and sample again."]
    cut = f" ({100 * side.cut:.0f}% were cut{at}; a higher cap may help)" if side.cut else ""
    none = (
        f"none of {side.n_graded:,} graded samples is" if side.n_graded > 1 else "its sample is not"
    )
    return [f"no setting reaches any accuracy: {none} right{cut}."]


def _of(advice: ServingAdvice, side: int) -> str:
    return f"{advice.names[side]}: " if len(advice.names) > 1 else ""


def _points(change: Interval, *, as_loss: bool = False) -> str:
    """``+0.4 points [−0.1, +0.9]``; a loss without its sign, ``0.4 points [0.1, 0.9]``."""
    if not as_loss:
        estimate, *ends = (signed(100 * v, digits=1) for v in change[:3])
        return f"{estimate} points {bracket(*ends)}"
    lost = (-change.estimate, -change.high, -change.low)
    estimate, *ends = (fixed(100 * v) for v in lost)
    return f"{estimate} points {bracket(*ends)}"


def _saving(ratio: Interval) -> str:
    """``41% [39, 43]``."""
    low, high = 1 - ratio.high, 1 - ratio.low
    ends = bracket(*(fixed(100 * v, digits=0) for v in (low, high)))
    return f"{fixed(100 * (1 - ratio.estimate), digits=0)}% {ends}"


def _conclude_caps(advice: ServingAdvice, at: int, side: SideAdvice) -> Iterator[str]:
    """The lowest cap that costs no more than the tolerance, for sure or by the estimate.

    From the sampled cap downwards until one may cost more: a lower cap can only lose more, so that
    this sequence needs no correction for how many caps there are.
    """
    rows = list(zip(side.caps.pairs, side.caps.accuracy, side.caps.cost, strict=True))[::-1]
    if not rows:
        return
    within = f"{100 * advice.tolerance:g} {'point' if advice.tolerance == 0.01 else 'points'}"
    sure = list(takewhile(lambda row: -row[1].low <= advice.tolerance, rows))
    likely = list(takewhile(lambda row: -row[1].estimate <= advice.tolerance, rows))
    (place, _), change, cost = (sure or likely or rows[:1])[-1]
    cap = advice.grid.settings[place].cap_tokens
    said = (
        f"{_of(advice, at)}cap {cap:,} instead of {say_at(advice, _top(advice, at))} costs "
        f"{_points(change, as_loss=True)} and saves {_saving(cost)} of the {NOUNS[advice.axis]}"
    )
    if sure:
        yield f"{said}; of the caps looked at it is the lowest that costs less than {within}."
    elif -change.high > advice.tolerance:
        yield f"{said}; every other cap looked at costs more."
    else:
        yield f"{said}; cannot tell whether that is less than {within}."


def _conclude_votes(advice: ServingAdvice, at: int, side: SideAdvice) -> Iterator[str]:
    """The clearest case of the fewest votes against one at the cap of the same cost, and what the
    most votes bring at the sampled cap."""
    settings, family = advice.grid.settings, side.votes
    if not family.pairs:
        return
    fewest = min(settings[m].votes for m, _ in family.pairs)
    apart, along = [], []
    for i, (m, of) in enumerate(family.pairs):
        if settings[m].cap_tokens == settings[of].cap_tokens == side.cap_tokens:
            along.append(i)
        elif settings[m].cap_tokens < settings[of].cap_tokens and settings[m].votes == fewest:
            apart.append(i)
    chosen = [max(apart, key=lambda i: _clearness(family.accuracy[i]))] if apart else []
    for i in [*chosen, *along[-1:]]:
        yield _of(advice, at) + _compare_votes(advice, family, i)


def _clearness(change: Interval) -> float:
    return abs(change.estimate) / max(change.high - change.low, 1e-12)


def _compare_votes(advice: ServingAdvice, family: ChangeFamily, i: int) -> str:
    new, old = (advice.grid.settings[m] for m in family.pairs[i])
    change, cost = family.accuracy[i], family.cost[i]
    many = f"{new.votes} votes at {say_at(advice, new)}"
    one = f"one at {say_at(advice, old)}"
    figures = f"{_points(change)} for {format_ratio(cost).text} the {NOUNS[advice.axis]}"
    if change.low > 0:
        return f"{many} are better than {one}: {figures}."
    if change.high < 0:
        return f"{many} are worse than {one}: {figures}."
    return f"cannot tell whether {many} are better or worse than {one}: {figures}."


def _conclude_targets(advice: ServingAdvice, *, few: bool) -> Iterator[str]:
    """One sentence for all neighbouring accuracies that the same holds of."""
    for _, group in groupby(advice.targets, key=_kind_of):
        targets = tuple(group)
        asked = _list_words([percent(target.accuracy) for target in targets])
        last = targets[-1]
        if not last.best.met:
            level = advice.levels.accuracy[last.best.setting]
            most = format_level(level, Unit.SHARE).text
            most += f" by {name_setting(advice, last.best.setting)}"
            verb = "is" if len(targets) == 1 else "are"
            yield f"{asked} {verb} not reached" + (f": the most is {most}." if level[0] else ".")
        elif not few:
            yield _conclude_target(advice, last, asked=asked, several=len(targets) > 1)


def _kind_of(target: TargetAdvice) -> tuple[object, ...]:
    """The same where one sentence says it all."""
    best, rival, ratio = target.best, target.rival, target.ratio
    if not best.met:
        return (False,)
    other = (rival.setting if rival.met else None) if rival else None
    sure = best.agreement >= AGREED if ratio is None else ratio.high < 1
    return True, best.setting, other, sure


def _list_words(words: Sequence[str]) -> str:
    """``40%, 50% and 60%``."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _conclude_target(
    advice: ServingAdvice, target: TargetAdvice, *, asked: str, several: bool
) -> str:
    best = target.best
    name = name_setting(advice, best.setting)
    judged = (
        f"what half of the problems choose{f' for {percent(target.accuracy)}' * several} is right "
        f"on {format_level(best.accuracy, Unit.SHARE).text} of the other half at "
        f"{say_cost(best, advice.axis)}"
    )
    if target.rival is None or target.ratio is None:
        if best.agreement < AGREED:
            return (
                f"For {asked} accuracy: cannot tell which is the cheapest; {name} is on all "
                f"problems, but only {best.agreement:.0%} of halves agree; {judged}."
            )
        return f"For {asked} accuracy the cheapest is {name}; {judged}."
    return f"For {asked} accuracy {_against_rival(advice, target)}; {judged}."


def _against_rival(advice: ServingAdvice, target: TargetAdvice) -> str:
    rival, ratio = target.rival, target.ratio
    assert rival is not None
    assert ratio is not None
    name, other = (name_setting(advice, each.setting) for each in (target.best, rival))
    if not rival.met:
        sure = "" if ratio.high < 1 else " by the estimates"
        return f"the cheapest is {name}, and {_others(advice, target)} does not reach it{sure}"
    cell = format_ratio(ratio).text
    if ratio.high < 1:
        return f"the cheapest is {name}, {cell} of {other}"
    return f"cannot tell which is the cheapest: {name} costs {cell} of {other}"


def _others(advice: ServingAdvice, target: TargetAdvice) -> str:
    if advice.grid.settings[target.best.setting].side or len(advice.names) < 3:
        assert target.rival is not None
        return advice.names[advice.grid.settings[target.rival.setting].side]
    return "any other"


def say_cost(choice: JudgedChoice, axis: CostAxis) -> str:
    """``2,310 [2,104, 2,536] tokens a question``."""
    return f"{format_cost(choice.cost, axis).text} {_unit_of(axis)}"


def _unit_of(axis: CostAxis) -> str:
    return {
        CostAxis.TOKENS: "tokens a question",
        CostAxis.MONEY: "per 1,000 questions",
        CostAxis.SECONDS: "seconds a question",
    }[axis]


def _conclude_routing(advice: ServingAdvice) -> Iterator[str]:
    """What a budget for each problem would save, of all evaluations in one sentence."""
    several = len(advice.sides) > 1
    most, known = [], []
    for at, side in enumerate(advice.sides):
        if not side.n_right:
            continue
        of, held = f"'{advice.names[at]}' " if several else "", side.routed.held_out
        most.append(f"{of}{_saving(side.routed.bound.cost)}")
        if held is not None:
            pair = (held.accuracy, side.routed.unrouted)
            kept, all_ = (format_level(each, Unit.SHARE).text for each in pair)
            known.append(f"{of}{_saving(held.cost)} and is right on {kept} instead of {all_}")
    where = "their caps" if several else f"cap {say_at(advice, _top(advice, 0))}"
    where = where.replace("cap the", "the")
    said = (
        f"{'Within each evaluation, a' if several else 'A'} router that knew each problem's budget "
        f"would save at most {'; '.join(most)} of the tokens at {where}, and lose nothing"
    )
    if not known:
        yield f"{said}; how much of it can be known takes two samples a problem or more."
    else:
        kept = "; ".join(known)
        yield f"{said}. One that knows it from the problem's other samples saves {kept}."


def _conclude_between(advice: ServingAdvice) -> Iterator[str]:
    """What sending each problem to another evaluation would save."""
    between = advice.between
    if between is None:
        return
    bound, held, best = between.bound, between.held_out, advice.names[between.best]
    right, alone = (
        format_level(each, Unit.SHARE).text for each in (bound.accuracy, between.unrouted)
    )
    said = (
        "Between evaluations, at their caps with one vote, a router that sent each problem to the "
        "cheapest that is right in at least half of its samples, else to the cheapest, would take "
        f"{format_ratio(bound.cost).text} the {NOUNS[advice.axis]} of {best} alone, the most "
        f"accurate, and be right on {right} instead of {alone}: too good, as the same samples "
        "chose and judge"
    )
    if held is None:
        yield f"{said}; what holds on others takes two samples a problem or more of each."
        return
    yield (
        f"{said}. Chosen by half of a problem's samples and judged by the others: "
        f"{format_ratio(held.cost).text}, and {format_level(held.accuracy, Unit.SHARE).text}."
    )
