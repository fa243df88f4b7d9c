"""What to serve, in tables."""

import math
from collections.abc import Sequence

from tersely.flows.evaluate.advising import ServingAdvice
from tersely.metrics.choosing import TargetAdvice
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
)
from tersely.metrics.serving import CostAxis, ServingSetting
from tersely.report.tables.matrices import Matrix, MatrixRow

THOUSAND = 1000.0
NOUNS = {CostAxis.TOKENS: "tokens", CostAxis.MONEY: "money", CostAxis.SECONDS: "time"}
SHORT = {CostAxis.TOKENS: "tokens", CostAxis.MONEY: "cost", CostAxis.SECONDS: "seconds"}
HEADS = {
    CostAxis.TOKENS: "tokens a question",
    CostAxis.MONEY: "cost of 1,000 questions",
    CostAxis.SECONDS: "seconds a question",
}


def name_setting(advice: ServingAdvice, place: int) -> str:
    """``B, cap 8,192, 4 votes``; what all settings have in common is left out."""
    setting = advice.grid.settings[place]
    name = [advice.names[setting.side]] if len(advice.names) > 1 else []
    votes = [count(setting.votes, "vote")] if _has_votes(advice) else []
    return ", ".join([*name, name_cap_of(advice, setting), *votes])


def _has_votes(advice: ServingAdvice) -> bool:
    return any(setting.votes > 1 for setting in advice.grid.settings)


def name_cap_of(advice: ServingAdvice, setting: ServingSetting, *, word: str = "cap ") -> str:
    """``cap 8,192``, or ``longest sample 7,310`` where none is stated and that stands for it."""
    if _stands_for_cap(advice, setting):
        return f"longest sample {setting.cap_tokens:,}"
    return f"{word}{setting.cap_tokens:,}"


def _stands_for_cap(advice: ServingAdvice, setting: ServingSetting) -> bool:
    side = advice.sides[setting.side]
    return not side.cap_stated and setting.cap_tokens == side.cap_tokens


def say_at(advice: ServingAdvice, setting: ServingSetting) -> str:
    """``8,192``, or ``the longest sample (7,310)``."""
    if _stands_for_cap(advice, setting):
        return f"the longest sample ({setting.cap_tokens:,})"
    return f"{setting.cap_tokens:,}"


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
