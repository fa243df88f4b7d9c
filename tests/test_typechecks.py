"""The suite's own type checks: what passed once is not followed again, and what differs is."""

from dataclasses import dataclass

import jaxtyping
import numpy as np
import pytest
import torch
import typechecks
from beartype import beartype
from jaxtyping import Float, Int
from torch import Tensor


def checked(fn):
    return jaxtyping.jaxtyped(fn, typechecker=beartype)


@pytest.fixture
def pair():
    """Returns its second argument, which is to have the first one's rows."""

    def second(x_BT: Float[Tensor, "B T"], y_B: Float[np.ndarray, " B"]) -> Float[np.ndarray, " B"]:
        return y_B if y_B[0] == 0 else y_B[:2]

    return checked(second)


def test_other_shapes_and_kinds_are_refused_after_some_have_passed(pair):
    x_BT = torch.zeros(3, 5)
    for _ in range(2):
        assert pair(x_BT, y_B=np.zeros(3)).shape == (3,)
    for wrong in (np.zeros(4), np.zeros((3, 1)), np.zeros(3, int), torch.zeros(3), [0.0] * 3, None):
        with pytest.raises(TypeError):
            pair(x_BT, y_B=wrong)
    with pytest.raises(TypeError):
        pair(x_BT.long(), y_B=np.zeros(3))


def test_a_result_of_another_shape_is_refused_where_the_arguments_have_passed(pair):
    x_BT = torch.zeros(3, 5)
    pair(x_BT, y_B=np.zeros(3))
    for _ in range(2):
        with pytest.raises(TypeError):
            pair(x_BT, y_B=np.ones(3))
    assert pair(x_BT, y_B=np.zeros(3)).shape == (3,)


def test_a_function_runs_once_a_call():
    ran = []

    def grown(x_N: Int[np.ndarray, " N"]) -> Int[np.ndarray, " M"]:
        ran.append(len(x_N))
        return np.arange(len(ran))

    grown = checked(grown)
    assert [len(grown(np.arange(2))) for _ in range(3)] == [1, 2, 3]
    assert ran == [2, 2, 2]


def test_the_first_calls_of_every_test_are_looked_at(pair):
    x_BT = torch.zeros(3, 5)
    for _ in range(typechecks.LOOKED_AT):
        with pytest.raises(TypeError):
            pair(x_BT, y_B=np.zeros(4))
    assert pair(x_BT, y_B=np.zeros(4)).shape == (4,)
    typechecks.begin_test()
    with pytest.raises(TypeError):
        pair(x_BT, y_B=np.zeros(4))


def test_what_lists_and_tuples_hold_is_looked_at():
    def first(rows: list[Float[np.ndarray, " N"]], of: tuple[int, Int[np.ndarray, " N"]]) -> None:
        pass

    first = checked(first)
    first([np.zeros(2)], (1, np.arange(2)))
    for rows, of in (([np.zeros(3)], (1, np.arange(2))), ([np.zeros(2)], (1, np.arange(3)))):
        with pytest.raises(TypeError):
            first(rows, of)


@pytest.mark.parametrize("wrong", [{"name": 1}, {"values_N": np.zeros((2, 2))}, {"values_N": 0.5}])
def test_fields_of_a_dataclass_are_held_to_their_types(wrong):
    @checked
    @dataclass(frozen=True)
    class Held:
        name: str
        values_N: Float[np.ndarray, " N"]

    good = {"name": "a", "values_N": np.zeros(2)}
    assert Held(**good).name == "a"
    with pytest.raises(TypeError):
        Held(**{**good, **wrong})
