"""Finds the rows that are samples of one problem when a file only has their questions.

Dumps of samples name no problems: the same question is the same problem. But a benchmark may hold
one question twice, and two documents must not become one problem of twice the samples.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from tersely.readers.reading import RawSample

# A question that stands more times as often than this was rather sampled more often.
MOST_COPIES = 3


class ByProblem(NamedTuple):
    """Samples with a problem each, and what there is to say of how they were told apart."""

    raws: list[RawSample]
    notes: list[str]


class NamedRows(NamedTuple):
    """The problem of each row, and what there is to say of how they were told apart."""

    problems: list[str]
    notes: list[str]


def name_problems(
    questions: Sequence[Hashable],
    *,
    names: Sequence[str],
    benchmarks: Sequence[str],
    most_copies: int | None = None,
) -> NamedRows:
    """The problem of each row: rows of one question, as many as most of its benchmark have.

    A question that stands k times as often as most is k problems, each with its share of the rows
    in the order of the file. Any other question is one problem; a note tells of those with more
    rows than most.

    Args:
        questions: what each row asks; equal for the samples of a problem.
        names: what to call the problem that begins at the row.
        benchmarks: the benchmark of each row.
        most_copies: a question that stands more times as often than this is one problem after
            all, which was sampled more often; None: however often.
    """
    keys = list(zip(benchmarks, questions, strict=True))
    counts = Counter(keys)
    usual = {
        name: _commonest(count for (other, _), count in counts.items() if other == name)
        for name in dict.fromkeys(benchmarks)
    }
    size = {key: _rows_of_one(count, usual[key[0]], most_copies) for key, count in counts.items()}
    seen: Counter[tuple[str, Hashable]] = Counter()
    current: dict[tuple[str, Hashable], str] = {}
    taken: defaultdict[tuple[str, str], int] = defaultdict(int)
    problems = []
    for key, name in zip(keys, names, strict=True):
        if seen[key] % size[key] == 0:
            taken[key[0], name] += 1
            times = taken[key[0], name]
            current[key] = name if times == 1 else f"{name}#{times}"
        seen[key] += 1
        problems.append(current[key])
    return NamedRows(problems, _notes(counts, usual, size))


def by_question(raws: Sequence[RawSample]) -> ByProblem:
    """Samples that know their problem by its prompt: also by its right answer, and by how often it
    stands; see ``name_problems``."""
    named = name_problems(
        [(raw.problem, raw.gold) for raw in raws],
        names=[raw.problem for raw in raws],
        benchmarks=[raw.benchmark for raw in raws],
        most_copies=MOST_COPIES,
    )
    renamed = [
        replace(raw, problem=problem) for raw, problem in zip(raws, named.problems, strict=True)
    ]
    return ByProblem(renamed, named.notes)


def _commonest(counts: Iterable[int]) -> int:
    of_each = Counter(counts)
    return min(of_each, key=lambda count: (-of_each[count], count))


def _rows_of_one(count: int, usual: int, most_copies: int | None) -> int:
    copies, rest = divmod(count, usual)
    return count if rest or (most_copies is not None and copies > most_copies) else usual


def _notes(
    counts: Counter[tuple[str, Hashable]],
    usual: dict[str, int],
    size: dict[tuple[str, Hashable], int],
) -> list[str]:
    copied = [key for key, count in counts.items() if count > size[key]]
    uneven = [key for key in counts if size[key] > usual[key[0]]]
    notes = []
    if copied:
        problems = sum(counts[key] // size[key] for key in copied)
        notes.append(
            f"{len(copied)} questions stand more often than the others: taken as {problems} "
            f"problems that ask the same"
        )
    if uneven:
        most = max(size[key] for key in uneven)
        notes.append(
            f"{len(uneven)} questions have more samples than the others (up to {most}): each is "
            f"taken as one problem; if it is several, name them in a table and use --from table"
        )
    return notes
