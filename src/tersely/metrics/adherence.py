"""Whether a model keeps to the effort or the budget that it is asked for, by its lengths.

What is checked is length alone: an effort is obeyed if a higher one makes for longer completions, a
budget if few samples go over it where more would have without it.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from tersely.metrics.allpairs import PairDifference, compare_all_pairs
from tersely.metrics.intervals import Interval, Sums, estimate, resample_counts
from tersely.metrics.means import average_defined
from tersely.metrics.significance import beyond_chance

# Levels that differ by less of their length count as doing nothing, if as much would be seen.
MATERIAL_SHARE = 0.2
# A budget is kept if no more samples are over it; it binds if more would be.
TOLERATED_SHARE = 0.05
# So many samples that end within 5% below a budget have been stopped by it.
NEAR_SHARE, STOPPED_SHARE = 0.95, 0.1
# Of two levels that are mostly cut at the cap, lengths say nothing.
MOST = 0.5
UNKNOWN_TEXT = 0


class CountedTokens(StrEnum):
    """Which tokens are held against a budget."""

    THINKING = "thinking tokens"
    ALL = "all tokens"


class Obedience(StrEnum):
    """The verdict on a level."""

    OBEYED = "obeyed"
    IN_PART = "obeyed in part"
    IGNORED = "ignored"
    ACCURACY_ONLY = "differs in accuracy only"
    REVERSED = "wrong order"
    UNKNOWN = "cannot tell"


class PairState(StrEnum):
    """What two levels' lengths say."""

    EQUAL_TEXTS = "equal texts"
    RIGHT = "differ as they should"
    WRONG = "differ the wrong way round"
    SAME = "cannot be told apart, though a difference that matters would be seen"
    UNSURE = "cannot be told apart"


class LevelSamples(NamedTuple):
    """One level's samples; row p and column s are the same problem and seed at every level.

    Args:
        tokens_PS: completion tokens; NaN where there is no sample.
        thinking_PS: of these, the thinking; NaN where it is not known.
        cut_PS: stopped by the cap.
        text_PS: a number for each distinct text; UNKNOWN_TEXT where it is not known.
        budget_tokens: the budget that was asked for; None if none was.
        rank: a level of a higher rank should make for longer completions; None: no order expected.
    """

    name: str
    tokens_PS: Float[np.ndarray, "P S"]
    thinking_PS: Float[np.ndarray, "P S"]
    cut_PS: Bool[np.ndarray, "P S"]
    text_PS: Int[np.ndarray, "P S"]
    budget_tokens: int | None = None
    rank: int | None = None


class LengthPair(NamedTuple):
    """Two levels: their difference in mean tokens (second less first) and what it says.

    ``equal_texts`` is the number of (problem, seed) pairs with the same text and length, of
    ``texts``.
    """

    tokens: PairDifference
    state: PairState
    equal_texts: int
    texts: int


class LevelAdherence(NamedTuple):
    """What a level's lengths say; shares are of its samples.

    Args:
        tokens, thinking: means; thinking is NaN where it is not known of all samples.
        over: over the budget; NaN without a budget.
        wanted: over this budget at the level with the largest one; NaN where that is this level.
        near: within the budget by 5% at most.
        of_budget: mean ratio of a sample's tokens to the budget; NaN without one.
        verdict: what to conclude; ``against``: the places of the levels that decided it.
    """

    name: str
    budget_tokens: int | None
    tokens: Interval
    thinking: Interval
    counted: CountedTokens
    over: Interval
    wanted: Interval
    near: float
    cut: Interval
    of_budget: Interval
    verdict: Obedience
    against: tuple[int, ...]


class Adherence(NamedTuple):
    """All levels in order, and every pair of them. ``ordered``: an order was expected."""

    levels: tuple[LevelAdherence, ...]
    pairs: tuple[LengthPair, ...]
    ordered: bool

    @property
    def all_equal(self) -> bool:
        """Whether every text is the same at all levels."""
        return all(pair.state is PairState.EQUAL_TEXTS for pair in self.pairs)


def judge_adherence(
    levels: Sequence[LevelSamples], *, rng: np.random.Generator, of_all_tokens: bool = False
) -> Adherence:
    """Lengths of all levels against each other, and a verdict on each.

    Two levels differ if swapping them within random problems rarely gives so large a difference
    (p < .05 after Holm's correction over all pairs). They do nothing if they do not differ and a
    difference of a fifth of their length would have been seen in 80% of tries, or if all of their
    texts are equal. Source of the need to check: vLLM issues 39573 and 54906.

    Args:
        of_all_tokens: budgets are of all tokens, and not of the thinking where it is known.
    """
    means_LP = np.stack([average_defined(level.tokens_PS, axis=1) for level in levels])
    n_samples_L = [int((~np.isnan(level.tokens_PS)).sum()) for level in levels]
    differences = compare_all_pairs(means_LP, shares=False, n_samples_L=n_samples_L, rng=rng)
    pairs = tuple(_judge_pair(levels, each, means_LP) for each in differences)
    thinking = not of_all_tokens and all(_knows_thinking(level) for level in levels)
    counts_RP = resample_counts(means_LP.shape[1], rng=rng)
    judged = tuple(
        _judge_level(levels, place, pairs, thinking=thinking, counts_RP=counts_RP)
        for place in range(len(levels))
    )
    return Adherence(judged, pairs, all(level.rank is not None for level in levels))


def note_accuracy(adherence: Adherence, accuracy: Sequence[PairDifference]) -> Adherence:
    """The same, but a level whose accuracy differs from another's is not ignored: a server that
    changes answers without their length has heard it. Budgets are about length alone."""
    heard = {at for pair in accuracy if beyond_chance(pair.p_holm) for at in pair[:2]}
    levels = (
        level._replace(verdict=Obedience.ACCURACY_ONLY)
        if at in heard and level.verdict is Obedience.IGNORED and level.budget_tokens is None
        else level
        for at, level in enumerate(adherence.levels)
    )
    return adherence._replace(levels=tuple(levels))


def _judge_pair(
    levels: Sequence[LevelSamples], tokens: PairDifference, means_LP: Float[np.ndarray, "L P"]
) -> LengthPair:
    one, other = levels[tokens.first], levels[tokens.second]
    known_PS = (one.text_PS != UNKNOWN_TEXT) & (other.text_PS != UNKNOWN_TEXT)
    texts = int(known_PS.sum())
    same_PS = (one.text_PS == other.text_PS) & (one.tokens_PS == other.tokens_PS)
    equal = int((known_PS & same_PS).sum())
    both_P = ~np.isnan(means_LP[tokens.first] + means_LP[tokens.second])
    places = [tokens.first, tokens.second]
    mean = float(means_LP[places][:, both_P].mean()) if both_P.any() else np.nan
    cut = min(_share(level, level.cut_PS) for level in (one, other))
    if texts and equal == texts:
        state = PairState.EQUAL_TEXTS
    elif beyond_chance(tokens.p_holm):
        state = _direction(one, other, tokens.difference.estimate)
    elif tokens.detectable <= MATERIAL_SHARE * mean and not cut > MOST:
        state = PairState.SAME
    else:
        state = PairState.UNSURE
    return LengthPair(tokens, state, equal, texts)


def _direction(one: LevelSamples, other: LevelSamples, difference: float) -> PairState:
    if one.rank is None or other.rank is None:
        return PairState.RIGHT
    return PairState.RIGHT if (other.rank - one.rank) * difference > 0 else PairState.WRONG


def _judge_level(
    levels: Sequence[LevelSamples],
    place: int,
    pairs: Sequence[LengthPair],
    *,
    thinking: bool,
    counts_RP: UInt8[np.ndarray, "R P"],
) -> LevelAdherence:
    level, budget = levels[place], levels[place].budget_tokens
    counted = CountedTokens.THINKING if thinking else CountedTokens.ALL
    largest = max(levels, key=lambda each: each.budget_tokens or 0)
    held_PS = _held(level, counted)
    over = wanted = of_budget = _NOTHING
    near = np.nan
    if budget is not None:
        over = _share_over(held_PS, budget, counts_RP)
        of_budget = _estimate(held_PS / budget, counts_RP) if budget else _NOTHING
        near_PS = (held_PS >= NEAR_SHARE * budget) & (held_PS <= budget)
        near = float(near_PS.sum() / max(1, (~np.isnan(held_PS)).sum()))
        if largest is not level:
            wanted = _share_over(_held(largest, counted), budget, counts_RP)
    states = {
        pair.tokens.first + pair.tokens.second - place: pair.state
        for pair in pairs
        if place in (pair.tokens.first, pair.tokens.second)
    }
    verdict = (
        _judge_effort(states)
        if budget is None
        else _judge_budget(states, over=over, wanted=wanted, near=near)
    )
    return LevelAdherence(
        level.name,
        budget,
        _estimate(level.tokens_PS, counts_RP),
        _estimate(level.thinking_PS, counts_RP) if _knows_thinking(level) else _NOTHING,
        counted,
        over,
        wanted,
        near,
        _estimate(np.where(np.isnan(level.tokens_PS), np.nan, level.cut_PS), counts_RP, share=True),
        of_budget,
        *verdict,
    )


def _share_over(
    held_PS: Float[np.ndarray, "P S"], budget: int, counts_RP: UInt8[np.ndarray, "R P"]
) -> Interval:
    over_PS = np.where(np.isnan(held_PS), np.nan, held_PS > budget)
    return _estimate(over_PS, counts_RP, share=True)


class _Verdict(NamedTuple):
    verdict: Obedience
    against: tuple[int, ...]


def _judge_effort(states: dict[int, PairState]) -> _Verdict:
    """By how the level's length compares with that of each other level."""
    wrong, right, idle = (_in(states, *kinds) for kinds in _GROUPS)
    unsure = _in(states, PairState.UNSURE)
    if wrong:
        return _Verdict(Obedience.REVERSED, wrong)
    if right and not idle and not unsure:
        return _Verdict(Obedience.OBEYED, right)
    if right:
        return _Verdict(Obedience.IN_PART, tuple(sorted(idle + unsure)))
    if idle and not unsure:
        return _Verdict(Obedience.IGNORED, idle)
    return _Verdict(Obedience.UNKNOWN, unsure)


def _judge_budget(
    states: dict[int, PairState], *, over: Interval, wanted: Interval, near: float
) -> _Verdict:
    """By the share over the budget; where that is large, by whether lengths follow it at all."""
    wrong, right, idle = (_in(states, *kinds) for kinds in _GROUPS)
    others = tuple(states)
    if np.isnan(over.estimate):
        return _Verdict(Obedience.UNKNOWN, ())
    if over.estimate <= TOLERATED_SHARE:
        bound = wanted.estimate > TOLERATED_SHARE or near >= STOPPED_SHARE
        return _Verdict(Obedience.OBEYED if bound else Obedience.UNKNOWN, ())
    if wrong:
        return _Verdict(Obedience.REVERSED, wrong)
    if right:
        return _Verdict(Obedience.IN_PART, right)
    if over.estimate > MOST or (idle and len(idle) == len(others)):
        return _Verdict(Obedience.IGNORED, idle)
    return _Verdict(Obedience.UNKNOWN, _in(states, PairState.UNSURE))


_GROUPS = (
    (PairState.WRONG,),
    (PairState.RIGHT,),
    (PairState.SAME, PairState.EQUAL_TEXTS),
)
_NOTHING = Interval(np.nan, np.nan, np.nan, 0, 0)


def _in(states: dict[int, PairState], *kinds: PairState) -> tuple[int, ...]:
    return tuple(place for place, state in states.items() if state in kinds)


def _held(level: LevelSamples, counted: CountedTokens) -> Float[np.ndarray, "P S"]:
    return level.thinking_PS if counted is CountedTokens.THINKING else level.tokens_PS


def _knows_thinking(level: LevelSamples) -> bool:
    made_PS = ~np.isnan(level.tokens_PS)
    return bool(made_PS.any() and not np.isnan(level.thinking_PS[made_PS]).any())


def _share(level: LevelSamples, which_PS: Bool[np.ndarray, "P S"]) -> float:
    made = int((~np.isnan(level.tokens_PS)).sum())
    return float((which_PS & ~np.isnan(level.tokens_PS)).sum() / made) if made else np.nan


def _estimate(
    values_PS: Float[np.ndarray, "P S"],
    counts_RP: UInt8[np.ndarray, "R P"],
    *,
    share: bool = False,
) -> Interval:
    """Mean over samples with its interval; the samples of a problem are one cluster."""
    made_PS = ~np.isnan(values_PS)
    sums = Sums(
        np.where(made_PS, values_PS, 0.0).sum(axis=1)[:, None].astype(np.float64),
        made_PS.sum(axis=1)[:, None].astype(np.float64),
    )
    return estimate(
        sums,
        shares_M=np.array([share]),
        n_samples_M=np.array([int(made_PS.sum())]),
        counts_RP=counts_RP,
    )[0]
