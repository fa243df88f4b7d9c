"""One translation from an engine's flat batch to whole groups, for every engine's adapter."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tersely.core.errors import DataError, EngineError
from tersely.core.types import Finish, Grade, Problem, Verdict
from tersely.flows.recipe.shaping import graded_view, joined
from tersely.flows.train.groups import (
    FlatRow,
    Gathered,
    Grouped,
    gathered,
    in_batch_order,
    places_of,
    regroup,
    unpad,
)

STOP = 9


def problem(name: str) -> Problem:
    return Problem(id=name, prompt=f"{name}?", answer="1", source="test")


PROBLEMS = {name: problem(name) for name in "abc"}


def row(key: str, tokens: int, *, right: bool = True, stopped: bool = True) -> FlatRow:
    grade = Grade.CORRECT if right else Grade.WRONG
    last = STOP if stopped else 1
    return FlatRow(
        key=key,
        problem=key,
        completion_ids=(*[1] * (tokens - 1), last),
        text=f"{key}{tokens}",
        verdict=Verdict(grade=grade),
    )


def grouped(rows: list[FlatRow], *, samples: int | None = None) -> Grouped:
    return regroup(rows, PROBLEMS, stop_ids={STOP}, samples=samples)


def test_a_group_whose_rows_lie_apart_is_one_group_in_the_order_of_its_rows() -> None:
    found = grouped([row("a", 3), row("b", 5), row("a", 4), row("b", 2)], samples=2)
    assert [p.id for p in found.problems] == ["a", "b"]
    assert [part.tokens for part in found.parts] == [[3, 4], [5, 2]]
    assert [part.sample for part in found.parts] == [[0, 1], [0, 1]]
    assert [p.tolist() for p in found.places] == [[0, 2], [1, 3]]


def test_uneven_groups_are_whole_where_the_engine_says_so_and_refused_where_it_says_a_number() -> (
    None
):
    rows = [row("a", 3), row("b", 5), row("a", 4)]
    assert [len(part.tokens) for part in grouped(rows).parts] == [2, 1]
    with pytest.raises(EngineError, match=r"'b' has 1 rollouts.*samples_per_prompt = 2.*gather"):
        grouped(rows, samples=2)


def test_a_prompt_that_is_in_a_step_twice_is_refused_or_kept_apart_by_its_keys() -> None:
    rows = [row("a", tokens) for tokens in (1, 2, 3, 4)]
    with pytest.raises(EngineError, match=r"'a' has 4 rollouts.*more than once"):
        grouped(rows, samples=2)
    keyed = [replace(r, key=f"uid{place // 2}") for place, r in enumerate(rows)]
    found = grouped(keyed, samples=2)
    assert [part.tokens for part in found.parts] == [[1, 2], [3, 4]]


def test_a_group_split_over_two_processes_is_whole_once_gathered_and_goes_back_to_its_own() -> None:
    # Rank 0 holds a and half of b, rank 1 the other half and c.
    parts = [
        [row("a", 1), row("a", 2), row("b", 3)],
        [row("b", 4), row("c", 5), row("c", 6)],
    ]
    with pytest.raises(EngineError, match="'b' has 1 rollouts"):
        grouped(parts[0], samples=2)
    first, second = (gathered(parts, rank=rank) for rank in (0, 1))
    assert first.rows == second.rows
    found = grouped(first.rows, samples=2)
    tokens_B = in_batch_order(np.array(joined(found.parts).tokens), found.places)
    assert tokens_B[first.own].tolist() == [1, 2, 3]
    assert tokens_B[second.own].tolist() == [4, 5, 6]


def test_processes_may_hold_different_numbers_of_rows() -> None:
    parts = [[row("a", 1)], [], [row("a", 2), row("b", 3), row("b", 4)]]
    owns = [gathered(parts, rank=rank).own for rank in range(3)]
    assert owns == [slice(0, 1), slice(1, 1), slice(1, 4)]
    assert isinstance(gathered(parts, rank=0), Gathered)


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=12))
def test_what_is_taken_apart_goes_back_to_where_it_lay(keys: list[str]) -> None:
    found = grouped([row(key, tokens=place + 1) for place, key in enumerate(keys)])
    tokens_N = np.array(joined(found.parts).tokens)
    assert in_batch_order(tokens_N, found.places).tolist() == list(range(1, len(keys) + 1))
    # Every row is in exactly one group, that of its key.
    for places_G in places_of(keys):
        assert len({keys[place] for place in places_G}) == 1


def test_padding_on_either_side_is_the_same_row_and_only_the_mask_tells() -> None:
    # The pad token 9 is the stop token as well.
    left = np.array([[9, 9, 1, 2, 9], [1, 2, 3, 4, 5]])
    right = np.array([[1, 2, 9, 9, 9], [1, 2, 3, 4, 5]])
    left_mask = np.array([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]], dtype=bool)
    right_mask = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], dtype=bool)
    assert unpad(left, left_mask) == unpad(right, right_mask) == [(1, 2, 9), (1, 2, 3, 4, 5)]
    assert unpad(left, np.zeros_like(left_mask)) == [(), ()]


def test_tokens_with_a_hole_between_them_are_refused() -> None:
    ids, mask = np.array([[1, 2, 3]]), np.array([[True, False, True]])
    with pytest.raises(EngineError, match=r"row 0 .*single turns"):
        unpad(ids, mask)


def test_a_view_of_a_group_has_its_lengths_grades_and_ends() -> None:
    rows = [row("a", 3), row("a", 5, right=False), row("a", 4, stopped=False)]
    found = grouped(rows, samples=3)
    graded_G, seen = graded_view(PROBLEMS["a"], found.parts[0], pay_unfinished=False)
    assert graded_G.all()
    assert seen.tokens_G.tolist() == [3, 5, 4]
    assert seen.correct_G.tolist() == [True, False, True]
    assert seen.finished_G.tolist() == [True, True, False]
    assert seen.right_G.tolist() == [True, False, False]
    assert found.parts[0].finish == [Finish.STOP, Finish.STOP, Finish.LENGTH]


def test_rows_that_are_no_group_are_refused_by_name() -> None:
    with pytest.raises(DataError, match="problem 'z', which is none of the recipe's 3"):
        grouped([row("z", 3)])
    with pytest.raises(EngineError, match="group 'a' mixes the problems 'a' and 'b'"):
        grouped([row("a", 3), replace(row("b", 3), key="a")])
    with pytest.raises(EngineError, match="problem 'a' has no completion tokens"):
        grouped([replace(row("a", 3), completion_ids=())])
