"""From loaded evaluations to measured ones: what ``tersely report`` and ``compare`` show."""

import json
from ast import literal_eval
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tersely.core.errors import ConfigError, DataError
from tersely.core.manifest import write_fact
from tersely.flows.evaluate.none_right import tell_none_right, tell_right_but_cut
from tersely.flows.evaluate.pairing import PairBy, align, shorten_question
from tersely.metrics.budgets import Protocol, spectrum
from tersely.metrics.changes import ProblemChange, list_changes
from tersely.metrics.comparison import Comparison, compare, compare_families, pair
from tersely.metrics.failures import tell_failed
from tersely.metrics.measures import Evaluation, measure, measure_sources
from tersely.metrics.numbers import count
from tersely.metrics.windows import ShortCut
from tersely.readers.evaluations import Loaded

BOOTSTRAP_SEED = 0


class Compared(NamedTuple):
    """A comparison with the problems behind it; both sides hold the shared problems only."""

    before: Loaded
    after: Loaded
    comparison: Comparison
    changes: list[ProblemChange]


def default_ks(samples: int) -> tuple[int, ...]:
    """1, 2, 4, ... up to the samples a problem, and these."""
    powers = {1 << power for power in range(samples.bit_length())}
    return tuple(sorted({k for k in powers if k <= samples} | {samples}))


def measure_loaded(loaded: Loaded, *, ks: Sequence[int] = ()) -> Evaluation:
    """Every figure of an evaluation at its budgets.

    Raises:
        ConfigError: a budget is above the cap or was not graded, or a k above the samples.
    """
    budgets, protocol = loaded.budgets, loaded.protocol
    ks = ks or default_ks(loaded.table.tokens_PS.shape[1])
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    whole = measure(
        loaded.table, title=loaded.name, budgets=budgets, ks=ks, protocol=protocol, rng=rng
    )
    return whole._replace(
        failed=loaded.failed,
        sources=measure_sources(loaded.table, budgets=budgets, ks=ks, protocol=protocol, rng=rng),
    )


def _notes_of(before: Loaded, after: Loaded, comparison: Comparison) -> Iterator[str]:
    yield from _differing_settings(before, after)
    yield from _smaller_basis(comparison)
    for side, cut in zip((before, after), comparison.short_cuts, strict=True):
        yield from (f"{side.name}: {note}" for note in _tell_short_cut(cut))
    for side in (before, after):
        if side.failed is not None:
            yield f"{side.name}: {tell_failed(side.failed)}"
        said = (*tell_none_right(side), *side.notes)
        yield from (f"{side.name}: {note}" for note in said)


def name_apart(evaluations: Sequence[Loaded], paths: Sequence[Path | None]) -> list[Loaded]:
    """Evaluations of one name are called by their folder, where that is known, and then by their
    number."""
    names = [each.name for each in evaluations]
    names = [
        f"{path.resolve().parent.name}-{name}" if path and names.count(name) > 1 else name
        for name, path in zip(names, paths, strict=True)
    ]
    names = [
        f"{name}-{at}" if names.count(name) > 1 else name for at, name in enumerate(names, start=1)
    ]
    return [each._replace(name=name) for each, name in zip(evaluations, names, strict=True)]


def check_protocols(before: Loaded, after: Loaded) -> None:
    """Figures of different protocols are never compared.

    Raises:
        ConfigError: they were loaded under different ones.
    """
    if before.protocol is not after.protocol:
        raise ConfigError(
            f"{before.name} was evaluated under the protocol {before.protocol!s}, {after.name} "
            f"under {after.protocol!s}; compare all under one with --protocol"
        )


def choose_budgets(sides: Sequence[Loaded]) -> tuple[int, ...]:
    """The budgets that all sides report, up to the cap that they are cut at, and that cap.

    Budgets that only follow from a side's own cap bind nobody: *finished* holds at any budget.
    """
    cap_tokens = max(side.table.reach for side in sides)
    finished = sides[0].protocol is Protocol.FINISHED
    asked = [side.budgets for side in sides if side.budgets_chosen or not finished]
    if not asked:
        return spectrum(cap_tokens)
    first, *others = asked
    shared = [b for b in first if b <= cap_tokens and all(b in each for each in others)]
    if shared and finished:
        shared.append(cap_tokens)
    return tuple(shared) or spectrum(cap_tokens)


def compare_loaded(
    before: Loaded,
    after: Loaded,
    *,
    budgets: Sequence[int] = (),
    ks: Sequence[int] = (),
    pair_by: PairBy = PairBy.AUTO,
) -> Compared:
    """Both evaluations over the problems they share, at the budgets they share.

    Raises:
        ConfigError: they were loaded under different protocols, or as ``measure_loaded``.
        DataError: they share no problem.
    """
    check_protocols(before, after)
    after, paired = align(before, after, by=pair_by)
    return compare_aligned(before, after, budgets=budgets, ks=ks, notes=paired)


def compare_aligned(
    before: Loaded,
    after: Loaded,
    *,
    budgets: Sequence[int] = (),
    ks: Sequence[int] = (),
    notes: Sequence[str] = (),
) -> Compared:
    """As ``compare_loaded``, of evaluations that name the same problem alike."""
    _check_same_problems(before, after)
    left, right, of_pair = pair(before.table, after.table)
    # Before the longer one is cut: what the file says of samples that were cut when sampled.
    of_pair += tuple(f"{s.name}: {n}" for s in (before, after) for n in tell_right_but_cut(s))
    before, after = before._replace(table=left), after._replace(table=right)
    chosen = tuple(budgets) or choose_budgets((before, after))
    fewest = min(left.tokens_PS.shape[1], right.tokens_PS.shape[1])
    ks, protocol = ks or default_ks(fewest), before.protocol
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    comparison = compare(
        f"{before.name} → {after.name}",
        left,
        right,
        budgets=chosen,
        ks=ks,
        protocol=protocol,
        rng=rng,
    )
    sources = [key[0] for key in left.keys]
    if len(set(sources)) > 1:
        of_each = compare_families(
            left, right, families=sources, budgets=chosen, ks=ks, protocol=protocol, rng=rng
        )
        comparison = comparison._replace(sources=of_each)
    said = [*notes, *of_pair, *_notes_of(before, after, comparison)]
    return Compared(
        before,
        after,
        comparison._replace(notes=tuple(said)),
        list_changes(left, right, budget_tokens=max(chosen), protocol=protocol),
    )


def _check_same_problems(before: Loaded, after: Loaded) -> None:
    # Prompts of other tools may hold the template: their right answers tell.
    foreign = "read as" in before.facts or "read as" in after.facts
    for key in sorted(before.asked.keys() & after.asked.keys()):
        (one, gold), (two, other) = before.asked[key], after.asked[key]
        if gold != other or (one != two and not foreign):
            said = (one, two) if one != two else (gold, other)
            raise DataError(
                f"problem {key[1]!r} of {key[0]} is not the same in both: {before.name} has "
                f"{shorten_question(said[0])}, {after.name} {shorten_question(said[1])}; "
                "evaluate both on one benchmark"
            )


def _differing_settings(before: Loaded, after: Loaded) -> list[str]:
    """Settings that a fair comparison keeps equal and that differ between these two.

    Raises:
        ConfigError: answers were forced in different ways.
    """
    for name in ("closing text", "answer allowance tokens"):
        if before.facts.get(name) != after.facts.get(name):
            raise ConfigError(
                f"{name} is {before.facts.get(name)} in {before.name} and {after.facts.get(name)} "
                f"in {after.name}; force answers in one way, or compare with --protocol finished"
            )
    return [
        f"{name.capitalize()} differs: {write_fact(before.facts[name])} in {before.name}, "
        f"{write_fact(after.facts[name])} in {after.name}."
        for name in ("temperature", "top-p", "top-k", "graders")
        if name in before.facts and name in after.facts and before.facts[name] != after.facts[name]
    ] + _differing_requests(before, after)


def _differing_requests(before: Loaded, after: Loaded) -> list[str]:
    """What the two sent otherwise, setting by setting."""
    sent = [side.facts.get("request settings") for side in (before, after)]
    if None in sent or sent[0] == sent[1]:
        return []
    try:
        one, other = (dict(literal_eval(str(each))) for each in sent)
    except (ValueError, SyntaxError, TypeError):
        return [f"Request settings are not the same in {before.name} and {after.name}."]
    return [
        f"Requests differ in {name}: {_say_sent(one, name)} in {before.name}, "
        f"{_say_sent(other, name)} in {after.name}."
        for name in sorted({*one, *other})
        if one.get(name) != other.get(name) or (name in one) != (name in other)
    ]


def _say_sent(sent: Mapping[str, Any], name: str) -> str:
    if name not in sent:
        return "not set"
    value = sent[name]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _smaller_basis(comparison: Comparison) -> list[str]:
    budget = comparison.budgets[-1]
    basis = comparison.find("accuracy", budget).difference.n_problems
    short = {
        m.name: m.difference.n_problems
        for m in comparison.measures
        if m.budget_tokens == budget and 0 < m.difference.n_problems < basis
    }
    return _tell_basis(short, basis)


def tell_basis(evaluation: Evaluation) -> list[str]:
    """What limits the figures: samples cut by a lower cap, and fewer problems than accuracy."""
    budget = evaluation.budgets[-1]
    basis = evaluation.value("accuracy", budget).n_problems
    short = {
        quantity.name: value.n_problems
        for quantity, value in evaluation.measured
        if quantity.budget_tokens == budget and 0 < value.n_problems < basis
    }
    return [*_tell_short_cut(evaluation.short_cut), *_tell_basis(short, basis)]


def _tell_short_cut(cut: ShortCut | None) -> list[str]:
    """From which budget on accuracy is a lower bound, where caps differ from sample to sample."""
    if cut is None:
        return []
    one = cut.n_samples == 1
    was, own, they = ("was", "its", "it counts") if one else ("were", "their", "they count")
    lengths = "is its length" if one else "are their lengths"
    return [
        f"{cut.n_samples:,} of {count(cut.of_samples, 'sample')} {was} cut by a lower cap of {own} "
        f"own, from {cut.from_tokens:,} tokens on: {they} as not right within larger budgets, so "
        f"that accuracy there is a lower bound, as {lengths}."
    ]


def _tell_basis(short: Mapping[str, int], basis: int) -> list[str]:
    return [
        f"{', '.join(name for name in short if short[name] == n)}: over {n:,} of {basis:,} "
        "problems only, the others have too few graded samples."
        for n in sorted(set(short.values()))
    ]
