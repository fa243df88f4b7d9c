"""Problems that stand twice in a set, and in both training and test."""

from dataclasses import replace

import pytest

from tersely.core.errors import DataError
from tersely.core.types import Message, Problem
from tersely.tasks.repeats import (
    check_apart,
    check_set,
    find_repeats,
    find_shared,
    leave_out_shared,
)


def problems(*prompts: str, answer: str = "7", name: str = "p", grader: str = "number"):
    return [
        Problem(id=f"{name}{n}", prompt=p, answer=answer, source="s", grader=grader)
        for n, p in enumerate(prompts)
    ]


def many(n: int, *, name: str = "m") -> list[Problem]:
    return problems(*(f"What is {i} + 1?" for i in range(n)), name=name)


def test_white_space_and_case_do_not_make_another_prompt():
    first, second, other = problems("What is  3?", "what is 3?\n", "what is 4?")
    (repeat,) = find_repeats([first, second, other])
    assert (repeat.problem, repeat.first) == (second, first)
    (shared,) = find_shared([other, second], [first])
    assert shared.problem is second


def under(system: str, *asked: Problem, role: str = "system") -> list[Problem]:
    return [
        replace(p, id=f"{p.id}/{system}", earlier=(Message(role=role, content=system),))
        for p in asked
    ]


@pytest.mark.parametrize("role", ["system", "user", "assistant"])
def test_a_question_after_other_messages_is_another_prompt(role: str) -> None:
    asked = many(10)
    twice = [*under("Be brief.", *asked, role=role), *under("Be kind.", *asked, role=role)]
    assert find_repeats([*asked, *twice]) == []
    assert check_set([*asked, *twice], name="set") is None
    # The same messages, but for white space and case, are the same prompt.
    again = under("be  brief.", asked[3], role=role)
    (repeat,) = find_repeats([*twice, *again])
    assert repeat.first is twice[3]
    with pytest.raises(DataError, match="and another answer"):
        check_set([*twice[:10], replace(twice[3], id="z", answer="8")], name="set")


def test_one_question_with_another_answer_under_another_system_message_is_no_contradiction():
    asked = many(10)
    other = [replace(p, answer="8") for p in under("In octal.", *asked)]
    assert check_set([*asked, *other], name="set") is None


def test_a_question_that_was_trained_on_under_another_system_message_was_trained_on():
    (asked,) = problems("3?")
    (shared,) = find_shared(under("Be kind.", asked), under("Be brief.", asked))
    assert shared.problem.earlier[0].content == "Be kind."


def test_the_pairs_are_those_of_a_naive_loop():
    mixed = problems(*(f"{i * i % 13} apples" for i in range(40)))
    naive = [
        (p.id, next(q.id for q in mixed if q.prompt == p.prompt))
        for n, p in enumerate(mixed)
        if p.prompt in [q.prompt for q in mixed[:n]]
    ]
    assert [(r.problem.id, r.first.id) for r in find_repeats(mixed)] == naive


def test_a_few_repeats_are_said_with_their_share_and_first_example():
    said = check_set([*many(18), *problems("What is 3 + 1?", name="z")], name="set.jsonl")
    assert said is not None
    assert said.startswith("set.jsonl: 1 of 19 problems (5.3%) have the prompt of another one")
    assert "m3 and z0 ('What is 3 + 1?')" in said
    assert check_set(many(18), name="set.jsonl") is None


def test_more_repeats_than_a_fifth_are_refused():
    with pytest.raises(DataError, match=r"3 of 11 problems \(27.3%\).*above the 20%.*8 diff"):
        check_set([*many(8), *problems(*["What is 3 + 1?"] * 3, name="z")], name="set")


def test_one_prompt_with_two_answers_is_refused_naming_both():
    twice = [*many(18), *problems("What is 3 + 1?", answer="8", name="z")]
    with pytest.raises(DataError, match=r"m3 and z0 .*with the answers '7' and '8'"):
        check_set(twice, name="set")


@pytest.mark.parametrize(
    ("answer", "grader"), [("7.0", "number"), ("\\frac{14}{2}", "math"), ("other", "gym")]
)
def test_another_spelling_or_one_of_many_answers_is_no_contradiction(answer, grader):
    twice = [*many(18), *problems("What is 3 + 1?", answer=answer, name="z", grader=grader)]
    assert "with another answer" not in (check_set(twice, name="set") or "")


def test_test_problems_that_are_trained_on_are_refused_above_one_percent():
    training = many(50)
    with pytest.raises(DataError, match=r"2 of 100 problems \(2.0%\).*above the 1%"):
        check_apart([*problems("what is 3 + 1?", "what is 4 + 1?"), *other(98)], training)
    said = check_apart([*problems("what is 3 + 1?"), *other(99)], training)
    assert said is not None
    assert "1 of 100 problems (1.0%)" in said
    assert check_apart(other(100), training) is None


def other(n: int) -> list[Problem]:
    return problems(*(f"Name the number after {i}." for i in range(n)), name="o")


def test_drawn_test_problems_that_are_trained_on_are_left_out():
    rest = leave_out_shared([*problems("what is 3 + 1?"), *other(9)], many(50))
    assert rest.problems == other(9)
    assert rest.said is not None
    assert "they are left out, and 9 test problems remain" in rest.said
    with pytest.raises(DataError, match="only 1 others are left"):
        leave_out_shared([*many(2), *other(1)], many(50))
