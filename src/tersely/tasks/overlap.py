"""Prompts that say the same: near-duplicates within a set, and overlaps with a benchmark.

Two prompts are the same where their words are, whatever stands between the words. They are near
enough where the shorter one shares ``CONTAINMENT`` of its word 13-grams with the other *and* both
have the same answer: problems of one template share most of their words and ask different things.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tersely.core.types import Problem

GRAM_WORDS = 13
CONTAINMENT = 0.8
_WORD = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+|[^\w\s]")
_TRIMMED = re.compile(r"[\s$]+")


class Overlap(NamedTuple):
    """A problem that says what another one does.

    Args:
        problem: the id of the one to drop.
        other: the id of the one it repeats.
        source: the other's source.
        shared: the share of the shorter prompt's word n-grams that both have; 1.0: the same words.
        text: words that both have, for a reader to judge by.
    """

    problem: str
    other: str
    source: str
    shared: float
    text: str


def normal_words(prompt: str) -> list[str]:
    """The words, numbers and signs of a prompt in lower case."""
    return _WORD.findall(prompt.casefold())


def normal_answer(answer: str) -> str:
    """An answer without white space, dollar signs and case."""
    return _TRIMMED.sub("", answer).casefold()


def find_overlaps(problems: Sequence[Problem], against: Iterable[Problem]) -> list[Overlap]:
    """Each problem that repeats one of ``against``, with the nearest of them."""
    index = _Index()
    for other in against:
        index.add(other)
    return [found for problem in problems if (found := index.nearest(problem)) is not None]


def find_duplicates(problems: Sequence[Problem]) -> list[Overlap]:
    """Each problem that repeats one before it; the first of its kind stays."""
    index, found = _Index(), []
    for problem in problems:
        overlap = index.nearest(problem)
        if overlap is None:
            index.add(problem)
        else:
            found.append(overlap)
    return found


class _Index:
    """Prompts by their words, and by answer and n-gram."""

    def __init__(self) -> None:
        self._by_words: dict[str, Problem] = {}
        self._by_gram: dict[tuple[str, int], list[int]] = defaultdict(list)
        self._entries: list[tuple[Problem, frozenset[int]]] = []

    def add(self, problem: Problem) -> None:
        words = normal_words(problem.prompt)
        self._by_words.setdefault(" ".join(words), problem)
        grams = frozenset(_grams(words))
        answer = normal_answer(problem.answer)
        for gram in grams:
            self._by_gram[answer, gram].append(len(self._entries))
        self._entries.append((problem, grams))

    def nearest(self, problem: Problem) -> Overlap | None:
        words = normal_words(problem.prompt)
        same = self._by_words.get(" ".join(words))
        if same is not None:
            return Overlap(problem.id, same.id, same.source, 1.0, _cut(" ".join(words)))
        answer, grams = normal_answer(problem.answer), frozenset(_grams(words))
        shared = Counter(place for gram in grams for place in self._by_gram.get((answer, gram), ()))
        best: tuple[float, int] = (0.0, 0)
        for place, count in shared.items():
            share = count / min(len(grams), len(self._entries[place][1]))
            # Of equal ones the first that was added.
            best = max(best, (share, -place))
        if best[0] < CONTAINMENT:
            return None
        other, theirs = self._entries[-best[1]]
        return Overlap(problem.id, other.id, other.source, best[0], _common(words, theirs))


def _grams(words: Sequence[str]) -> Iterable[int]:
    """Hashes of all runs of 13 words; a shorter prompt has none and is compared as a whole."""
    return (hash(tuple(words[at : at + GRAM_WORDS])) for at in range(len(words) - GRAM_WORDS + 1))


def _common(words: Sequence[str], theirs: frozenset[int]) -> str:
    for at, gram in enumerate(_grams(words)):
        if gram in theirs:
            return _cut(" ".join(words[at : at + GRAM_WORDS]))
    return ""


def _cut(text: str, *, characters: int = 120) -> str:
    return text if len(text) <= characters else text[: characters - 3] + "..."
