"""Tables and sentences of a sweep: what each level did, and every pair of levels."""

import math
from collections.abc import Sequence

from tersely.flows.evaluate.levels import describe_sends
from tersely.flows.evaluate.swept import MeasuredSweep
from tersely.metrics.adherence import (
    MATERIAL_SHARE,
    MOST,
    CountedTokens,
    LengthPair,
    LevelAdherence,
    Obedience,
    PairState,
)
from tersely.metrics.measures import Unit
from tersely.metrics.numbers import (
    Cell,
    count,
    fixed,
    format_difference,
    format_level,
    format_p,
    percent,
    say_cap,
    state_p,
)
from tersely.metrics.significance import ALPHA, beyond_chance
from tersely.report.tables.matrices import Matrix, MatrixRow
from tersely.report.tables.several import describe_place
from tersely.report.tables.words import describe_protocol

# Pairs of levels that a headline names.
MOST_TOLD = 3


def tell_levels(sweep: MeasuredSweep) -> list[str]:
    """One sentence a level that was sampled: whether it was obeyed, and by which figures."""
    return [
        f"{level.name}: {level.verdict}: {_tell(sweep, place)}"
        for place, level in enumerate(sweep.adherence.levels)
    ]


def tell_failed_levels(sweep: MeasuredSweep) -> list[str]:
    """What to say of levels that the server refused, or that failed otherwise."""
    return [
        f"{level.name} failed: {level.refused}"
        for level in sweep.record.levels
        if level.refused is not None
    ]


def tell_sends(sweep: MeasuredSweep) -> list[str]:
    """What each level sends, beyond what all send."""
    return [f"{level.name} sends {describe_sends(level)}" for level in sweep.record.levels]


def summarise_sweep(sweep: MeasuredSweep) -> list[str]:
    """What holds for the levels together."""
    adherence = sweep.adherence
    if adherence.all_equal:
        texts = adherence.pairs[0].texts
        return [f"The levels changed nothing at all: all {texts:,} texts are equal at every level."]
    verdicts = {level.verdict for level in adherence.levels}
    if verdicts == {Obedience.IGNORED}:
        return ["The levels do nothing that could be seen: no two of them differ in length."]
    if verdicts <= {Obedience.IGNORED, Obedience.ACCURACY_ONLY}:
        return [
            f"No two levels differ in length, but in accuracy they do: {_tell_accuracy(sweep)}."
        ]
    if verdicts == {Obedience.OBEYED}:
        sampled = "" if len(sweep.levels) == len(sweep.record.levels) else " that was sampled"
        return [f"Every level{sampled} was obeyed."]
    found = (
        (verdict, [each.name for each in adherence.levels if each.verdict is verdict])
        for verdict in Obedience
    )
    return ["; ".join(f"{verdict}: {', '.join(names)}" for verdict, names in found if names) + "."]


def _tell_accuracy(sweep: MeasuredSweep) -> str:
    """The pairs of levels whose accuracy differs, the surest first, three at most."""
    clear = [pair for pair in sweep.accuracy if beyond_chance(pair.p_holm)]
    told = [
        f"{_name(sweep, pair.second)} against {_name(sweep, pair.first)} "
        f"{format_difference(pair.difference, Unit.SHARE).text} ({state_p(pair.p_holm)})"
        for pair in sorted(clear, key=lambda pair: pair.p_holm)[:MOST_TOLD]
    ]
    return "; ".join(told)


def tabulate_levels(sweep: MeasuredSweep) -> Matrix:
    """Accuracy, realised tokens and adherence of each level, in order."""
    names = [level.name for level in sweep.levels]
    with_budgets = any(level.budget_tokens is not None for level in sweep.levels)
    with_thinking = any(level.thinking.n_samples for level in sweep.adherence.levels)
    rows = []
    for name, point, level in zip(names, sweep.front.points, sweep.adherence.levels, strict=True):
        cells = [
            Cell(level.verdict, ""),
            format_level(point.accuracy, Unit.SHARE),
            format_level(level.tokens, Unit.TOKENS),
            *([format_level(level.thinking, Unit.TOKENS)] if with_thinking else []),
            *(_tell_kept(level) if with_budgets else []),
            format_level(level.cut, Unit.SHARE),
            describe_place(point, names=names),
        ]
        rows.append(MatrixRow(name, cells))
    heads = ["verdict", "accuracy", "tokens", *(["thinking"] if with_thinking else [])]
    heads += [*(["over budget", "of budget"] if with_budgets else []), "cut", "Pareto front"]
    return Matrix(title="level", heads=heads, rows=rows, caption=write_sweep_caption(sweep))


def _tell_kept(level: LevelAdherence) -> list[Cell]:
    return [format_level(each, Unit.SHARE) for each in (level.over, level.of_budget)]


def tabulate_level_pairs(sweep: MeasuredSweep) -> Matrix:
    """Every pair of levels, paired by problem."""
    rows = []
    for length, accuracy in zip(sweep.adherence.pairs, sweep.accuracy, strict=True):
        one, other = (sweep.levels[at].name for at in (accuracy.first, accuracy.second))
        tokens = length.tokens
        least = fixed(tokens.detectable, digits=0 if tokens.detectable >= 100 else 1)
        cells = [
            format_difference(tokens.difference, Unit.TOKENS, p=tokens.p_holm),
            Cell(format_p(tokens.p_holm), ""),
            Cell(least, ""),
            format_difference(accuracy.difference, Unit.SHARE, p=accuracy.p_holm),
            Cell(format_p(accuracy.p_holm), ""),
            Cell(f"{length.equal_texts:,} of {length.texts:,}", ""),
        ]
        rows.append(MatrixRow(f"{one} → {other}", cells))
    return Matrix(
        title="pair",
        heads=["tokens", "Holm's p", "could see", "accuracy", "Holm's p", "equal texts"],
        rows=rows,
        caption="The second less the first, paired by problem; each problem counts once, however "
        "many of its samples failed. p: levels are swapped within random problems; Holm's "
        f"correction over the {count(len(rows), 'pair')} of the column; bold: below "
        f"{ALPHA:g}. Could see: the smallest true difference in tokens that this sweep finds in 8 "
        "tries of 10.".replace("0.05", ".05"),
    )


def write_sweep_caption(sweep: MeasuredSweep) -> str:
    """What the numbers of a sweep rest on, and what the verdicts mean."""
    table = sweep.sides[0].table
    counted = sweep.adherence.levels[0].counted
    over, kind = "", counted if counted is CountedTokens.THINKING else "tokens"
    if any(level.budget_tokens is not None for level in sweep.levels):
        over = f" Over budget: the share of samples with more {kind} than it"
        over += (
            "."
            if counted is CountedTokens.THINKING
            else "."
            if all(level.of_all_tokens for level in sweep.levels)
            else (
                ", the answer's included, for the thinking of some samples is not known: at most "
                "so many are over it."
            )
        )
    if over:
        over += " Of budget: the mean ratio of a sample's tokens to it."
    return (
        f"{describe_protocol(sweep.sides[0].protocol)} n = {count(len(table.keys), 'problem')} × "
        f"{count(table.tokens_PS.shape[1], 'sample')}, {say_cap(table.cap_tokens)}. Brackets: 95% "
        f"intervals over problems. Verdicts are by length.{over} Ignored: levels do not "
        f"differ, and a difference of {MATERIAL_SHARE:.0%} of their length would have been seen."
    )


def _tell(sweep: MeasuredSweep, place: int) -> str:
    level = sweep.adherence.levels[place]
    if level.budget_tokens is not None and level.verdict is not Obedience.REVERSED:
        return _tell_budget(sweep, level)
    own = _tokens(level)
    against = [(_name(sweep, at), _pair(sweep, place, at)) for at in level.against]
    match level.verdict:
        case Obedience.OBEYED:
            p = max((pair.tokens.p_holm for _, pair in against), default=math.nan)
            how = "differs as it should" if sweep.adherence.ordered else "differs in length"
            return f"{own}; every other level {how} ({_at_most(p)})"
        case Obedience.REVERSED:
            name, pair = against[0]
            other = sweep.adherence.levels[level.against[0]]
            more = "more" if level.tokens.estimate > other.tokens.estimate else "fewer"
            return f"{own}, {more} than {name} with {_tokens(other)} ({_state(pair)})"
        case Obedience.IN_PART:
            rest = [at for at in range(len(sweep.levels)) if at not in (place, *level.against)]
            others = _all([(_name(sweep, at), None) for at in rest])
            return f"{own}; differs from {others}, but {_tell_apart(sweep, level, against)}"
        case _:
            return f"{own}; {_tell_apart(sweep, level, against)}"


def _tell_apart(
    sweep: MeasuredSweep, level: LevelAdherence, against: Sequence[tuple[str, LengthPair]]
) -> str:
    """Why a level cannot be told from others, and what could have been seen."""
    name, pair = against[0]
    if pair.state is PairState.EQUAL_TEXTS:
        return f"all {pair.texts:,} texts are equal to those of {_all(against)}"
    other = sweep.adherence.levels[level.against[0]]
    told = f"cannot be told apart from {name} with {_tokens(other)} ({_state(pair)}; "
    if len(against) > 1:
        told = f"cannot be told apart from {_all(against)}, such as {name} with {_tokens(other)} "
        told += f"({_state(pair)}; "
    if min(level.cut.estimate, other.cut.estimate) > MOST:
        return f"{told}{percent(level.cut.estimate)} and {percent(other.cut.estimate)} are cut)"
    if math.isnan(pair.tokens.detectable):
        n = pair.tokens.difference.n_problems
        return f"{told}{count(n, 'problem')} can show no difference: sample more)"
    least = pair.tokens.detectable
    if least == 0:
        return f"{told}their mean lengths are the same in every problem)"
    idle = level.verdict in (Obedience.IGNORED, Obedience.ACCURACY_ONLY)
    seen = "would have been seen" if idle else "or more would be seen"
    return f"{told}a difference of {'1 token' if least < 1 else fixed(least, digits=0)} {seen})"


def _tell_budget(sweep: MeasuredSweep, level: LevelAdherence) -> str:
    """By the share over the budget."""
    over = format_level(level.over, Unit.SHARE).text
    kind = "thinking tokens" if level.counted is CountedTokens.THINKING else "tokens in all"
    said = f"{over} of samples take more than {level.budget_tokens:,} {kind}"
    wanted = format_level(level.wanted, Unit.SHARE).text
    others = _all([(_name(sweep, at), None) for at in level.against])
    match level.verdict:
        case Obedience.OBEYED if level.wanted.estimate > level.over.estimate:
            return f"{said}; at the largest budget {wanted} do"
        case Obedience.OBEYED:
            return f"{said}, and {percent(level.near)} end within 5% below it"
        case Obedience.IN_PART:
            return (
                f"{said}, though lengths follow it: {_tell_order(sweep, level)}" if others else said
            )
        case Obedience.IGNORED if others:
            return f"{said}, and lengths cannot be told apart from those of {others}"
        case Obedience.IGNORED:
            return said
        case _ if math.isnan(level.over.estimate):
            return "it has no sample whose tokens are known"
        case _ if others:
            return f"{said}; lengths cannot be told apart from those of {others}"
        case _ if math.isnan(level.wanted.estimate):
            return f"{said}, but no level with a larger budget shows that any would"
        case _:
            return f"{said}, but at the largest budget only {wanted} do: it does not bind"


def _tell_order(sweep: MeasuredSweep, level: LevelAdherence) -> str:
    """Than which levels it is shorter and longer, of those that it can be told apart from."""
    others = [(_name(sweep, at), sweep.adherence.levels[at]) for at in level.against]
    own = level.tokens.estimate
    shorter = _all([each for each in others if each[1].tokens.estimate > own])
    longer = _all([each for each in others if each[1].tokens.estimate <= own])
    if not shorter:
        return f"more tokens than at {longer}"
    return f"fewer tokens than at {shorter}" + (f" and more than at {longer}" if longer else "")


def _all(against: Sequence[tuple[str, object]]) -> str:
    names = [name for name, _ in against]
    return (
        names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""
    )


def _tokens(level: LevelAdherence) -> str:
    return f"{format_level(level.tokens, Unit.TOKENS).text} tokens"


def _at_most(p: float) -> str:
    return state_p(p) if p < 0.001 else f"p at most {format_p(p)}"


def _state(pair: LengthPair) -> str:
    return state_p(pair.tokens.p_holm)


def _name(sweep: MeasuredSweep, at: int) -> str:
    return sweep.adherence.levels[at].name


def _pair(sweep: MeasuredSweep, one: int, other: int) -> LengthPair:
    wanted = tuple(sorted((one, other)))
    return next(
        pair for pair in sweep.adherence.pairs if (pair.tokens.first, pair.tokens.second) == wanted
    )
