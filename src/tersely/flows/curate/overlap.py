"""Duplicate prompts: near-duplicates within a set, and overlaps with a benchmark.

One prompt repeats another where both have the same words, whatever white space, case and answer
they have; or where both have the same answer, the numbers of the shorter one all stand in the
longer one, and ``CONTAINMENT`` of the word n-grams of the shorter one stand in the longer one.
Grams are of 13 words, or of 5 where the shorter prompt has fewer than 26.

The same containment must hold among the grams that tell a problem from others: those that also
stand in a prompt with another answer belong to a template or to the instructions, and so do those
of more than ``TEMPLATE_PROMPTS`` prompts. Without this, most problems of a generator whose text is
mostly rules would repeat an earlier one that happens to have the same answer.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt64

from tersely.core.types import Problem
from tersely.tasks.repeats import chat_key, normal_answer

GRAM_WORDS = 13
SHORT_GRAM_WORDS = 5
SHORT_PROMPT_WORDS = 2 * GRAM_WORDS
CONTAINMENT = 0.8
TEMPLATE_PROMPTS = 20
SHOWN_CHARACTERS = 120
_WORD = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+|[^\w\s]|_")


class Overlap(NamedTuple):
    """A problem that repeats another one.

    Args:
        problem: the id of the one to drop.
        other: the id of the one it repeats.
        source: the other's source.
        shared: the share of the shorter prompt's word n-grams that the longer one has, each as
            often; 1.0: the same words, or one prompt within the other.
        text: the longest run of words that both have, for a reader to judge by.
    """

    problem: str
    other: str
    source: str
    shared: float
    text: str


class _Pair(NamedTuple):
    """Places of two texts of which the later one repeats the earlier one."""

    earlier: int
    later: int
    shared: float


class _Text(NamedTuple):
    words: list[str]
    numbers: Counter[str]
    answer: str


class _Grams(NamedTuple):
    """Every gram of every text once, in order of the grams, then of the texts."""

    text_M: Int[np.ndarray, " M"]
    gram_M: UInt64[np.ndarray, " M"]


def normal_words(prompt: str) -> list[str]:
    """The words, numbers and signs of a prompt in lower case."""
    return _WORD.findall(prompt.casefold())


def find_overlaps(problems: Sequence[Problem], against: Iterable[Problem]) -> list[Overlap]:
    """Each problem whose question repeats one of ``against``, with the nearest of them; messages
    before the question make no difference."""
    others = list(against)
    if not others:
        return []
    everything = [*others, *problems]
    return [
        _report(everything, best)
        for pairs in _repeated(everything)[len(others) :]
        if (best := _nearest(pair for pair in pairs if pair.earlier < len(others))) is not None
    ]


def find_duplicates(problems: Sequence[Problem]) -> list[Overlap]:
    """Each problem that repeats one before it that is no duplicate itself; the first stays.

    Only problems with the same messages before the question can repeat each other.
    """
    places_of = defaultdict(list)
    for place, problem in enumerate(problems):
        places_of[chat_key(problem)[:-1]].append(place)
    found: dict[int, Overlap] = {}
    for places in places_of.values():
        alike = [problems[place] for place in places]
        for at, pairs in enumerate(_repeated(alike)):
            best = _nearest(pair for pair in pairs if places[pair.earlier] not in found)
            if best is not None:
                found[places[at]] = _report(alike, best)
    return [found[place] for place in sorted(found)]


def _nearest(pairs: Iterable[_Pair]) -> _Pair | None:
    """Of equally near ones the first."""
    return max(pairs, key=lambda pair: (pair.shared, -pair.earlier), default=None)


def _repeated(problems: Sequence[Problem]) -> list[list[_Pair]]:
    """For each problem the ones before it that it repeats."""
    first_of: dict[str, int] = {}
    texts: dict[int, _Text] = {}
    firsts = []
    for place, problem in enumerate(problems):
        words = normal_words(problem.prompt)
        firsts.append(first_of.setdefault(" ".join(words), place))
        if firsts[-1] == place:
            numbers = Counter(word for word in words if word[0].isdigit())
            texts[place] = _Text(words, numbers, normal_answer(problem.answer))
    near = defaultdict(list)
    for pair in _near_pairs(texts):
        near[pair.later].append(pair)
    return [
        [pair._replace(later=place) for pair in near[first]]
        + ([_Pair(first, place, 1.0)] if first != place else [])
        for place, first in enumerate(firsts)
    ]


def _near_pairs(texts: dict[int, _Text]) -> Iterator[_Pair]:
    """Pairs of different texts that share enough of their grams, their numbers and the answer."""
    for n_words in (GRAM_WORDS, SHORT_GRAM_WORDS):
        long = n_words == GRAM_WORDS
        places = [p for p, t in texts.items() if not long or len(t.words) >= SHORT_PROMPT_WORDS]
        for left, right in _candidates([texts[place] for place in places], n_words=n_words):
            pair = texts[places[left]], texts[places[right]]
            short, other = sorted(pair, key=lambda text: len(text.words))
            if (len(short.words) >= SHORT_PROMPT_WORDS) is long and short.numbers <= other.numbers:
                shared = _containment(short.words, other.words, n_words=n_words)
                if shared >= CONTAINMENT:
                    yield _Pair(places[left], places[right], shared)


def _containment(short: Sequence[str], other: Sequence[str], *, n_words: int) -> float:
    mine, theirs = (
        Counter(tuple(words[at : at + n_words]) for at in range(len(words) - n_words + 1))
        for words in (short, other)
    )
    return (mine & theirs).total() / mine.total()


def _candidates(texts: Sequence[_Text], *, n_words: int) -> Iterator[tuple[int, int]]:
    """Pairs with one answer of which one has ``CONTAINMENT`` of the other's telling grams."""
    grams = _all_grams([text.words for text in texts], n_words=n_words)
    if not grams.gram_M.size:
        return
    numbers: dict[str, int] = {}
    answer_P = np.array([numbers.setdefault(text.answer, len(numbers)) for text in texts])
    changes_M = np.append(True, grams.gram_M[1:] != grams.gram_M[:-1])
    starts = np.flatnonzero(changes_M)
    in_run = np.diff(np.append(starts, grams.gram_M.size))
    answer_M = answer_P[grams.text_M]
    one_answer = np.minimum.reduceat(answer_M, starts) == np.maximum.reduceat(answer_M, starts)
    tells_M = np.repeat(one_answer & (in_run <= TEMPLATE_PROMPTS), in_run)
    text_M, gram_M = grams.text_M[tells_M], grams.gram_M[tells_M]
    telling_P = np.bincount(text_M, minlength=len(texts))
    coded = [np.empty(0, dtype=np.int64)]
    for apart in range(1, TEMPLATE_PROMPTS):
        same = gram_M[apart:] == gram_M[:-apart]
        coded.append(text_M[:-apart][same] * len(texts) + text_M[apart:][same])
    pairs, shared = np.unique(np.concatenate(coded), return_counts=True)
    left, right = np.divmod(pairs, len(texts))
    enough = shared >= CONTAINMENT * np.minimum(telling_P[left], telling_P[right])
    yield from zip(left[enough].tolist(), right[enough].tolist(), strict=True)


def _all_grams(texts: Sequence[Sequence[str]], *, n_words: int) -> _Grams:
    """The runs of ``n_words`` words as 64-bit hashes: sums of seeded random values, one a word."""
    ids: dict[str, int] = {}
    word_N = np.array([ids.setdefault(word, len(ids)) for text in texts for word in text], int)
    text_N = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    rng = np.random.default_rng(0)
    value_N = rng.integers(2**64, size=max(1, len(ids)), dtype=np.uint64)[word_N]
    factors = rng.integers(2**63, size=n_words, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    last = word_N.size - n_words + 1
    if last < 1:
        return _Grams(np.empty(0, int), np.empty(0, np.uint64))
    gram_N = np.zeros(last, np.uint64)
    for place, factor in enumerate(factors):
        gram_N += value_N[place : place + last] * factor
    within_N = text_N[:last] == text_N[n_words - 1 :]
    text_M, gram_M = text_N[:last][within_N], gram_N[within_N]
    order = np.lexsort((text_M, gram_M))
    text_M, gram_M = text_M[order], gram_M[order]
    new = np.append(True, (text_M[1:] != text_M[:-1]) | (gram_M[1:] != gram_M[:-1]))
    return _Grams(text_M[new[: text_M.size]], gram_M[new[: text_M.size]])


def _report(problems: Sequence[Problem], pair: _Pair) -> Overlap:
    problem, other = problems[pair.later], problems[pair.earlier]
    return Overlap(problem.id, other.id, other.source, pair.shared, _common(problem, other))


def _common(problem: Problem, other: Problem) -> str:
    words = normal_words(problem.prompt)
    match = SequenceMatcher(None, words, normal_words(other.prompt), autojunk=False)
    run = match.find_longest_match()
    text = " ".join(words[run.a : run.a + run.size])
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "..."
