"""What to serve, in sentences and tables."""

import math
from collections.abc import Iterator, Sequence
from itertools import groupby, takewhile

from tersely.flows.evaluate.advising import ServingAdvice, SideAdvice
from tersely.metrics.budgets import Protocol
from tersely.metrics.choosing import TargetAdvice
from tersely.metrics.frontier import JudgedChoice
from tersely.metrics.intervals import Interval
from tersely.metrics.measures import Unit
from tersely.metrics.numbers import (
    UNDEFINED,
    Cell,
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
from tersely.report.tables.cut import tell_cut
from tersely.report.tables.matrices import Matrix, MatrixRow

THOUSAND = 1000.0
# A setting that fewer halves agree on is one of several that cannot be told apart.
AGREED = 0.5
NOUNS = {CostAxis.TOKENS: "tokens", CostAxis.MONEY: "money", CostAxis.SECONDS: "time"}
SHORT = {CostAxis.TOKENS: "tokens", CostAxis.MONEY: "cost", CostAxis.SECONDS: "seconds"}
HEADS = {
    CostAxis.TOKENS: "tokens a question",
    CostAxis.MONEY: "cost of 1,000 questions",
    CostAxis.SECONDS: "seconds a question",
}


def name_setting(advice: ServingAdvice, place: int, *, names: Sequence[str] | None = None) -> str:
    """``B, cap 8,192, 4 votes``; what all settings have in common is left out."""
    setting = advice.grid.settings[place]
    name = [(names or advice.names)[setting.side]] if len(advice.names) > 1 else []
    votes = [count(setting.votes, "vote")] if _has_votes(advice) else []
    return ", ".join([*name, name_cap_of(advice, setting), *votes])


def name_cap_of(advice: ServingAdvice, setting: ServingSetting, *, word: str = "cap ") -> str:
    """``cap 8,192``, or ``longest sample 7,310`` where none is stated and that stands for it."""
    if _stands_for_cap(advice, setting):
        return f"longest sample {setting.cap_tokens:,}"
    return f"{word}{setting.cap_tokens:,}"


def _stands_for_cap(advice: ServingAdvice, setting: ServingSetting) -> bool:
    side = advice.sides[setting.side]
    return not side.cap_stated and setting.cap_tokens == side.cap_tokens


def _at(advice: ServingAdvice, setting: ServingSetting) -> str:
    """``8,192``, or ``the longest sample (7,310)``."""
    if _stands_for_cap(advice, setting):
        return f"the longest sample ({setting.cap_tokens:,})"
    return f"{setting.cap_tokens:,}"


def _top(advice: ServingAdvice, at: int) -> ServingSetting:
    return ServingSetting(at, advice.sides[at].cap_tokens, 1)


def name_short(advice: ServingAdvice, place: int, *, names: Sequence[str] | None = None) -> str:
    """``B 8,192 ×4``; ``B longest 7,310 ×4`` where no cap is stated."""
    setting = advice.grid.settings[place]
    name = [(names or advice.names)[setting.side]] if len(advice.names) > 1 else []
    longest = ["longest"] if _stands_for_cap(advice, setting) else []
    return " ".join([*name, *longest, f"{setting.cap_tokens:,} ×{setting.votes}"])


def format_cost(interval: Interval, axis: CostAxis) -> Cell:
    """Tokens, money for 1,000 questions, or seconds."""
    if axis is CostAxis.TOKENS:
        return format_level(interval, Unit.TOKENS)
    values = [v * (THOUSAND if axis is CostAxis.MONEY else 1.0) for v in interval[:3]]
    if not math.isfinite(values[0]):
        return Cell(UNDEFINED, "")
    digits = max(0, 2 - math.floor(math.log10(values[0]))) if values[0] > 0 else 2
    estimate, low, high = (fixed(v, digits=digits) for v in values)
    return Cell(estimate, bracket(low, high))


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


def _has_votes(advice: ServingAdvice) -> bool:
    return any(setting.votes > 1 for setting in advice.grid.settings)


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
        f"{_of(advice, at)}cap {cap:,} instead of {_at(advice, _top(advice, at))} costs "
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
    many = f"{new.votes} votes at {_at(advice, new)}"
    one = f"one at {_at(advice, old)}"
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
        f"on problems that had no part in the choice{f' for {percent(target.accuracy)}' * several} "
        f"it is right on {format_level(best.accuracy, Unit.SHARE).text} at "
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
        of, held = f"{advice.names[at]} " if several else "", side.routed.held_out
        most.append(f"{of}{_saving(side.routed.bound.cost)}")
        if held is not None:
            pair = (held.accuracy, side.routed.unrouted)
            kept, all_ = (format_level(each, Unit.SHARE).text for each in pair)
            known.append(f"{of}{_saving(held.cost)} and is right on {kept} instead of {all_}")
    where = "their caps" if several else f"cap {_at(advice, _top(advice, 0))}"
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


def tabulate_frontier(advice: ServingAdvice, *, names: Sequence[str] | None = None) -> Matrix:
    """The settings that none beats on both axes, the cheapest first."""
    against = dict(zip((m for m, _ in advice.against.pairs), advice.against.cost, strict=True))
    timed = advice.axis is not CostAxis.SECONDS and not _untimed(advice)
    rows = []
    for place in advice.frontier:
        m, judged = place.setting, place.judged
        ratio = format_ratio(against[m]) if m in against else Cell("1", "")
        seconds = fixed(float(advice.grid.seconds_PM[:, m].mean()), digits=1)
        agreed = UNDEFINED if math.isnan(judged.agreement) else f"{judged.agreement:.0%}"
        rows.append(
            MatrixRow(
                name_short(advice, m, names=names),
                [
                    format_level(advice.levels.accuracy[m], Unit.SHARE),
                    format_cost(advice.levels.cost[m], advice.axis),
                    ratio,
                    *([Cell(seconds, "")] if timed else []),
                    format_level(judged.accuracy, Unit.SHARE),
                    Cell(agreed, ""),
                ],
            )
        )
    heads = ["accuracy", SHORT[advice.axis], "× ref."]
    heads += [*(["seconds"] if timed else []), "judged", "agree"]
    return Matrix("cap × votes", heads, rows, caption_advice(advice))


def _untimed(advice: ServingAdvice) -> bool:
    return bool(math.isnan(float(advice.grid.seconds_PM.sum())))


def caption_advice(advice: ServingAdvice) -> str:
    """How the frontier is to be read."""
    first = max(m for m, s in enumerate(advice.grid.settings) if s.side == 0 and s.votes == 1)
    return (
        f"Protocol finished. n = {count(advice.n_problems, 'problem')}, "
        f"{count(sum(advice.n_samples), 'sample')}. Settings that none of the "
        f"{len(advice.grid.settings)} looked at beats on both axes by the estimates. Brackets: 95% "
        "intervals that hold for all settings at once. "
        f"{SHORT[advice.axis].capitalize()}: {HEADS[advice.axis]}; × ref.: as a multiple of "
        f"{name_setting(advice, first)}. Judged: what the most accurate setting for at most this "
        "multiple does when it is chosen on half of the problems and judged on the others, over "
        "200 halves, with an ordinary 95% interval; agree: the share of halves that choose this "
        "very setting."
    )


def _next(target: TargetAdvice) -> Cell:
    """How the cost compares with the next cheapest; a dash where no other gets there."""
    if target.ratio is None or target.rival is None or not target.rival.met:
        return Cell(UNDEFINED, "")
    return format_ratio(target.ratio)


def tabulate_targets(advice: ServingAdvice, *, names: Sequence[str] | None = None) -> Matrix:
    """The cheapest setting for each accuracy, and what it does on other problems."""
    rows, several = [], len(advice.names) > 1
    for target in advice.targets:
        best = target.best
        setting = advice.grid.settings[best.setting]
        cells = [
            *([Cell((names or advice.names)[setting.side], "")] if several else []),
            Cell(name_cap_of(advice, setting, word=""), ""),
            Cell(f"{setting.votes}", ""),
            format_level(best.accuracy, Unit.SHARE),
            format_cost(best.cost, advice.axis),
            Cell(UNDEFINED if math.isnan(best.agreement) else f"{best.agreement:.0%}", ""),
            *([_next(target)] if several else []),
        ]
        if not best.met:
            cells = [Cell("not reached", ""), *[Cell(UNDEFINED, "")] * (len(cells) - 1)]
        rows.append(MatrixRow(percent(target.accuracy), cells))
    heads = ["cap", "votes", "judged", SHORT[advice.axis], "agree"]
    heads = ["cheapest", *heads, "× next"] if several else heads
    return Matrix(
        "accuracy",
        heads,
        rows,
        "Judged, with its cost: chosen on half of the problems and judged on the others, over 200 "
        "halves; the accuracy judged may fall short of the one asked for. Agree: the share of "
        "halves that choose this very setting. × next: cost as a multiple of the cheapest of the "
        "first evaluation, or of the others where the first is the cheapest.",
    )


def tabulate_needed(advice: ServingAdvice, *, names: Sequence[str] | None = None) -> Matrix:
    """Cap and cost that one vote needs for each accuracy."""
    rows = []
    for at, side in enumerate(advice.sides):
        for needed in side.needed:
            name = f"{(names or advice.names)[at]}, " if len(advice.names) > 1 else ""
            rows.append(
                MatrixRow(
                    f"{name}{percent(needed.accuracy)}",
                    [
                        _bound_needed(needed.cap, CostAxis.TOKENS),
                        _bound_needed(needed.cost, advice.axis),
                    ],
                    first=needed is side.needed[0],
                )
            )
    return Matrix(
        "accuracy",
        ["cap", SHORT[advice.axis]],
        rows,
        f"What one vote needs: cap, and {HEADS[advice.axis]}. ∞: the data do not rule out that the "
        "accuracy is not reached at all; a dash: it is not reached.",
    )


def _bound_needed(interval: Interval, axis: CostAxis) -> Cell:
    cell = format_cost(interval._replace(high=interval.estimate), axis)
    if cell.estimate == UNDEFINED:
        return cell
    low, high = (format_cost(interval._replace(estimate=v), axis) for v in interval[1:3])
    return Cell(
        cell.estimate, bracket(low.estimate, "∞" if high.estimate == UNDEFINED else high[0])
    )


def tabulate_routing(advice: ServingAdvice, *, names: Sequence[str] | None = None) -> Matrix:
    """Where tokens go under each cap of one vote."""
    rows = []
    for at, side in enumerate(advice.sides):
        name = f"{(names or advice.names)[at]}, " if len(advice.names) > 1 else ""
        for shares in side.routed.shares:
            cells = [format_level(each, Unit.SHARE) for each in shares[1:]]
            first = shares is side.routed.shares[0]
            cap = name_cap_of(advice, ServingSetting(at, shares.cap_tokens, 1))
            rows.append(MatrixRow(f"{name}{cap}", cells, first=first))
    return Matrix(
        "one vote",
        ["starved", "futile", "overthought"],
        rows,
        "Starved: share of samples that the cap cuts although a sample of the problem is right "
        "within the sampled cap. Futile: share of tokens spent on problems that no sample solves. "
        "Overthought: share of tokens that right samples spend beyond the shortest right one of "
        "their problem; it grows with the number of samples. 95% intervals, each by itself.",
    )


def tell_gaps(advice: ServingAdvice) -> list[str]:
    """Figures that an evaluation cannot give, and why."""
    reasons: dict[tuple[int, str], list[int]] = {}
    for gap in advice.gaps:
        reasons.setdefault((gap.side, gap.reason), []).append(gap.votes)
    return [
        f"{advice.names[side]}: {UNDEFINED} for {', '.join(map(str, votes))} votes: {reason}."
        for (side, reason), votes in reasons.items()
    ]
