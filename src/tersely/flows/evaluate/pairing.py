"""Which problem of one evaluation is which of another: by their names, else by their questions."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import NamedTuple

from tersely.core.errors import DataError
from tersely.core.order import natural_pair
from tersely.readers.evaluations import Loaded
from tersely.readers.questions import Key


class PairBy(StrEnum):
    """How problems of two evaluations are found to be the same."""

    AUTO = "auto"
    QUESTION = "question"
    ROW = "row"


class Aligned(NamedTuple):
    """An evaluation under the names of another, and what there is to say of it."""

    loaded: Loaded
    notes: list[str]


def align(reference: Loaded, other: Loaded, *, by: PairBy = PairBy.AUTO) -> Aligned:
    """``other`` with the problem names of ``reference`` where they ask the same.

    Names are taken as they are where any are in both; otherwise problems of one question are one.

    Raises:
        DataError: they share no problem, or names and questions contradict each other.
    """
    asked = _questions(reference), _questions(other)
    shared = set(reference.table.keys) & set(other.table.keys)
    if by is PairBy.ROW:
        _check_rows(reference, other)
        return Aligned(other, ["Paired by row: the n-th rows of both files are one problem."])
    if shared and by is PairBy.AUTO:
        _check_names(reference, other, *asked, shared=shared)
        unlike = sum(key in asked[0] and key in asked[1] for key in shared) - sum(
            asked[0].get(key, "") == asked[1][key] for key in shared if key in asked[1]
        )
        told = f"{unlike:,} of {len(shared):,} shared problems have another prompt in "
        told += f"{other.name} than in {reference.name}: they are paired by their names."
        return Aligned(other, [told] if unlike else [])
    names = _same_questions(*asked)
    if not names:
        raise DataError(_tell_nothing_shared(reference, other, *asked))
    return Aligned(
        _rename(other, names),
        [f"{len(names):,} problems of {other.name} are paired by what they ask."],
    )


def _questions(loaded: Loaded) -> dict[Key, str]:
    """What each problem asks, blanks evened out; a name that is a sentence asks itself."""
    asked = {
        key: loaded.questions.get(key) or (key[1] if len(key[1].split()) > 1 else "")
        for key in loaded.table.keys
    }
    return {key: " ".join(text.split()) for key, text in asked.items() if text.strip()}


def _check_names(
    reference: Loaded,
    other: Loaded,
    left: Mapping[Key, str],
    right: Mapping[Key, str],
    *,
    shared: Iterable[Key],
) -> None:
    """Names that number the rows of differently ordered files are not the same problems."""
    stands = {text: key for key, text in right.items()}
    for key in sorted(shared, key=natural_pair):
        text = left.get(key, "")
        there = right.get(key, text)
        if there != text and text in stands:
            raise DataError(
                f"problem {key[1]!r} asks {shorten_question(text)} in {reference.name}, but "
                f"{shorten_question(there)} in {other.name}, where problem "
                f"{stands[text][1]!r} asks that; pair them by what they ask with "
                "--pair-by question"
            )


def _check_rows(reference: Loaded, other: Loaded) -> None:
    counts = len(reference.table.keys), len(other.table.keys)
    if counts[0] != counts[1]:
        raise DataError(
            f"{reference.name} has {counts[0]:,} rows and {other.name} {counts[1]:,}, so that the "
            "n-th rows are not the same problem; give every row its problem or its prompt, and "
            "leave out --pair-by row"
        )


def _same_questions(left: Mapping[Key, str], right: Mapping[Key, str]) -> dict[Key, Key]:
    """Of each problem on the right the one on the left that asks the same; copies in order."""
    names = _match(left, right)
    return names or _match_in_templates(left, right)


def _match(left: Mapping[Key, str], right: Mapping[Key, str]) -> dict[Key, Key]:
    waiting: defaultdict[str, list[Key]] = defaultdict(list)
    for key in sorted(left, key=natural_pair, reverse=True):
        waiting[left[key]].append(key)
    return {
        key: waiting[right[key]].pop()
        for key in sorted(right, key=natural_pair)
        if waiting.get(right[key])
    }


def _match_in_templates(left: Mapping[Key, str], right: Mapping[Key, str]) -> dict[Key, Key]:
    """Questions that stand in one side's prompts with the same words before and after them."""
    if not (left and right):
        return {}
    cores = [dict(zip(side, _strip(list(side.values())), strict=True)) for side in (left, right)]
    if any(len(set(side.values())) < len(side) or "" in side.values() for side in cores):
        return {}
    names = _match(*cores)
    inside = all(left[old] in right[new] for new, old in names.items())
    around = all(right[new] in left[old] for new, old in names.items())
    return names if inside or around else {}


def _strip(texts: Sequence[str]) -> list[str]:
    """The texts without the beginning and the end that all of them have."""
    start = _agree(min(texts), max(texts))
    rests = [text[start:] for text in texts]
    turned = [rest[::-1] for rest in rests]
    end = _agree(min(turned), max(turned))
    return [rest[: len(rest) - end].strip() for rest in rests]


def _agree(one: str, other: str) -> int:
    """How many characters agree; of the first and the last of many in order, those of all."""
    unlike = (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(unlike, min(len(one), len(other)))


def _rename(loaded: Loaded, names: Mapping[Key, Key]) -> Loaded:
    """The evaluation with these problems under new names; the others' fit no other evaluation."""

    def new(key: Key) -> Key:
        return names.get(key, (f"{key[0]} ({loaded.name})", key[1]))

    traces = []
    for record in loaded.traces:
        benchmark, problem = new((record.benchmark, record.problem))
        traces.append(replace(record, benchmark=benchmark, problem=problem))
    return loaded._replace(
        table=loaded.table._replace(keys=tuple(map(new, loaded.table.keys))),
        traces=tuple(traces),
        asked={new(key): value for key, value in loaded.asked.items()},
        questions={new(key): value for key, value in loaded.questions.items()},
    )


def _tell_nothing_shared(
    reference: Loaded, other: Loaded, left: Mapping[Key, str], right: Mapping[Key, str]
) -> str:
    sides = [
        f"{side.name} has {len(side.table.keys):,} such as {side.table.keys[0][1]!r} of "
        f"{side.table.keys[0][0]}"
        for side in (reference, other)
    ]
    silent = [s.name for s, known in ((reference, left), (other, right)) if not known]
    why = f"no questions in {' and '.join(silent)}" if silent else "no question is in both"
    ids = [{key[1] for key in side.table.keys} for side in (reference, other)]
    fix = "give both the same names with --column problem=NAME"
    if ids[0] & ids[1]:
        fix = "if only their benchmarks are called differently, give both one name with "
        fix += "--benchmark-name"
    return (
        f"the two evaluations share no problem ({'; '.join(sides)}; {why}); evaluate both on the "
        f"same set, or {fix}"
    )


def shorten_question(text: str) -> str:
    """A question in an error message."""
    return repr(text if len(text) <= 40 else text[:37] + "...")
