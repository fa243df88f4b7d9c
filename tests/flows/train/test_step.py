"""Which problems a step draws."""

from collections import Counter

from tersely.core.types import Problem
from tersely.flows.train.step import refill_problems, step_problems

PROBLEMS = [Problem(id=f"p{i}", prompt=f"{i}?", answer="1", source="test") for i in range(10)]


def ids(step: int, *, count: int, seed: int = 0) -> list[str]:
    return [p.id for p in step_problems(PROBLEMS, step, count=count, seed=seed)]


def test_every_problem_comes_once_an_epoch_in_an_order_of_its_own() -> None:
    epochs = [[i for step in (2 * e, 2 * e + 1) for i in ids(step, count=5)] for e in range(3)]
    assert all(Counter(epoch) == Counter(p.id for p in PROBLEMS) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_no_problem_comes_twice_in_a_step_that_crosses_an_epoch() -> None:
    for step in range(60):
        assert len(set(ids(step, count=7))) == 7


def test_a_step_depends_on_its_number_and_the_seed_alone() -> None:
    assert ids(3, count=4) == ids(3, count=4)
    assert ids(3, count=4) != ids(3, count=4, seed=1)


def test_refilled_problems_are_new_to_the_step_and_the_same_at_every_try() -> None:
    taken = step_problems(PROBLEMS, 3, count=4, seed=0)
    more = refill_problems(PROBLEMS, taken, 3, 4, seed=0)
    assert len(more) == len({p.id for p in [*taken, *more]}) - 4 == 4
    assert refill_problems(PROBLEMS, taken, 3, 4, seed=0) == more
    assert refill_problems(PROBLEMS, taken, 4, 4, seed=0) != more
    assert refill_problems(PROBLEMS, PROBLEMS, 3, 4, seed=0) == []
    # The next round goes on where this one ended.
    assert refill_problems(PROBLEMS, [*taken, *more[:1]], 3, 3, seed=0) == more[1:]
