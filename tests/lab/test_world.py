"""The problems, worked solutions and optimizer that the lab's base policy is made from."""

import re
from collections import Counter, defaultdict

import numpy as np
import pytest
import torch

from tersely.core.types import Problem
from tersely.lab.family import ALL_LEVELS, LEVELS, Family, Task, is_shaky, solve
from tersely.lab.muon import Muon, orthogonalise
from tersely.lab.problems import (
    FAMILIES,
    SETS,
    TEST_SHARE,
    Split,
    draw_problems,
    draw_set,
    draw_task,
    split_of,
)
from tersely.lab.traces import (
    ASKED,
    BRIEF,
    BRIEF_SHARE,
    END_THINK,
    EQUALS,
    GUESS_SHARE,
    JOIN_SHARE,
    JOINS,
    NO,
    RECHECKS,
    RESTATE_SHARE,
    THINK,
    Style,
    draw_style,
    write_trace,
)
from tersely.lab.vocabulary import make_tokenizer

EVERY_FAMILY = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())


def answer_chain(prompt: str) -> str:
    """A second solver: one Python expression in brackets, reduced modulo 10 at the very end."""
    start, rest = prompt[0], prompt[1:].removesuffix("?")
    expression = start
    for op in re.findall(r"[-+*]\d", rest):
        expression = f"({expression}{op})"
    return str(eval(expression) % 10)


def answer_row(prompt: str) -> str:
    """A second solver: every move as its name says, on a list."""
    letters, moves = prompt.removesuffix("?").split(">")
    row = list(letters)
    for move in moves:
        match move:
            case "L":
                row.append(row.pop(0))
            case "R":
                row.insert(0, row.pop())
            case "F":
                row.reverse()
            case "X":
                row[0], row[1] = row[1], row[0]
            case "M":
                row[1], row[2] = row[2], row[1]
            case "Y":
                row[2], row[3] = row[3], row[2]
            case "O":
                row[0], row[3] = row[3], row[0]
    return "".join(row)


ANSWER = {"chains": answer_chain, "rows": answer_row}


def problems(*, seed: int = 0, split: Split = Split.TRAIN, per_family: int = 120) -> list[Problem]:
    return draw_problems(per_family=per_family, seed=seed, split=split)


def draw_tasks(family: Family, *, level: int, count: int) -> list[Task]:
    rng = np.random.default_rng(level)
    return [draw_task(family, level=level, split=Split.TRAIN, rng=rng) for _ in range(count)]


def test_answers_agree_with_a_second_solver() -> None:
    drawn = problems(per_family=240)
    assert {problem.source for problem in drawn} == set(ANSWER)
    for problem in drawn:
        assert problem.answer == ANSWER[problem.source](problem.prompt), problem


def test_worked_examples_by_hand() -> None:
    # 7+3=10 -> 0; 0*2=0; 0-4=-4 -> 6.
    assert solve(FAMILIES["chains"], Task("7", ("+3", "*2", "-4"))) == "6"
    # L: bdac -> dacb; X: -> adcb; F: -> bcda.
    assert solve(FAMILIES["rows"], Task("bdac", ("L", "X", "F"))) == "bcda"
    assert FAMILIES["chains"].write(Task("7", ("+3", "*2", "-4"))) == "7+3*2-4?"
    assert FAMILIES["rows"].write(Task("bdac", ("L", "X", "F"))) == "bdac>LXF?"


def test_the_halves_share_no_prompt_whatever_their_seeds() -> None:
    train = {p.prompt for seed in range(2) for p in problems(seed=seed)}
    test = {p.prompt for seed in range(2) for p in problems(seed=seed, split=Split.TEST)}
    assert len(train) > 250
    assert len(test) > 250
    assert not train & test
    assert {split_of(prompt) for prompt in train} == {Split.TRAIN}


@EVERY_FAMILY
def test_the_test_half_has_its_share_of_the_prompts(family: Family) -> None:
    rng = np.random.default_rng(0)
    prompts = {family.write(family.draw(8, rng)) for _ in range(2000)}
    share = np.mean([split_of(prompt) is Split.TEST for prompt in prompts])
    # Standard error of 2000 draws: 0.01.
    assert abs(share - TEST_SHARE) < 0.04


def test_a_seed_gives_the_same_problems_again_and_another_seed_others() -> None:
    first, again, other = problems(seed=1), problems(seed=1), problems(seed=2)
    assert first == again
    # Some short prompts are so few that every seed draws them.
    shared = {p.prompt for p in first} & {p.prompt for p in other}
    assert len(shared) < 0.5 * len(first)
    assert [p.prompt for p in first[-20:]] != [p.prompt for p in other[-20:]]


@pytest.mark.parametrize("split", list(Split))
def test_problems_are_distinct_and_of_every_family_and_level(split: Split) -> None:
    drawn = problems(split=split)
    assert len({p.id for p in drawn}) == len({p.prompt for p in drawn}) == len(drawn) == 240
    levels = defaultdict(set)
    for problem in drawn:
        levels[problem.source].add(problem.difficulty)
    assert levels == {name: {float(level) for level in LEVELS} for name in FAMILIES}


@EVERY_FAMILY
def test_a_higher_level_has_more_operations(family: Family) -> None:
    lengths = [
        {len(t.ops) for t in draw_tasks(family, level=level, count=20)} for level in ALL_LEVELS
    ]
    assert all(len(lengths_of_level) == 1 for lengths_of_level in lengths)
    ops = [lengths_of_level.pop() for lengths_of_level in lengths]
    assert ops == sorted(set(ops))


def facts(family: Family) -> set[tuple[str, str]]:
    """Every state and operation that some task of level 8 passes through."""
    found = set()
    for task in draw_tasks(family, level=8, count=1500):
        state = task.start
        for op in task.ops:
            found.add((state, op))
            state = family.apply(state, op)
    return found


@pytest.mark.parametrize(("name", "count"), [("chains", 10 * 30), ("rows", 24 * 7)])
def test_a_misstep_is_a_possible_state_and_never_the_true_one(name: str, count: int) -> None:
    family = FAMILIES[name]
    known = facts(family)
    assert len(known) == count
    states = {state for state, _ in known}
    for state, op in known:
        assert family.misstep(state, op) in states - {family.apply(state, op)}
        assert family.misstep(state, op) == family.misstep(state, op)


@EVERY_FAMILY
def test_about_three_facts_in_ten_are_shaky(family: Family) -> None:
    known = facts(family)
    share = np.mean([is_shaky(state, op) for state, op in known])
    # Standard error over 168 facts: 0.035.
    assert 0.2 < share < 0.4


def traces(
    family: Family, style: Style, *, level: int, count: int = 50
) -> list[tuple[Task, str, str]]:
    """Tasks with the thinking and the answer written for each."""
    rng = np.random.default_rng(level)
    written = []
    for task in draw_tasks(family, level=level, count=count):
        trace = write_trace(family, task, style, rng=rng)
        assert trace.startswith(THINK)
        assert trace.count(END_THINK) == 1
        thinking, _, answer = trace.removeprefix(THINK).partition(END_THINK)
        written.append((task, thinking, answer))
    return written


@EVERY_FAMILY
def test_a_guess_is_right_and_without_thinking(family: Family) -> None:
    for task, thinking, answer in traces(family, Style.GUESS, level=5):
        assert thinking == ""
        assert answer == solve(family, task)


@EVERY_FAMILY
@pytest.mark.parametrize("level", [1, 4, 8])
def test_a_brief_solution_writes_states_only_and_answers_its_last(
    family: Family, level: int
) -> None:
    for task, thinking, answer in traces(family, Style.BRIEF, level=level):
        assert thinking.startswith(BRIEF)
        states = thinking.removeprefix(BRIEF)
        assert set(states) <= set("0123456789abcd")
        assert len(states) == len(task.start) * -(-len(task.ops) // family.leap)
        assert states.endswith(answer)
        assert len(answer) == len(task.start)


def passes_of(thinking: str) -> list[str]:
    """The passes of a full solution, without the restated problem."""
    if thinking.startswith(ASKED):
        thinking = thinking.partition("?")[2]
    return re.split("|".join(map(re.escape, RECHECKS)), thinking)


def count_words(text: str, words: tuple[str, ...]) -> int:
    return sum(text.count(word) for word in words)


@EVERY_FAMILY
@pytest.mark.parametrize("level", [1, 4, 8])
def test_the_last_pass_of_a_full_solution_gives_the_answer(family: Family, level: int) -> None:
    for task, thinking, answer in traces(family, Style.FULL, level=level):
        passes = passes_of(thinking)
        assert 1 <= len(passes) <= 4
        for one in passes:
            assert one.startswith(task.start)
            # Undone slips add equations, so at least one an operation.
            assert count_words(one, EQUALS) >= len(task.ops)
        assert passes[-1].endswith(tuple(f"{word}{answer}" for word in EQUALS))


@EVERY_FAMILY
def test_more_passes_are_more_often_right_within_a_level(family: Family) -> None:
    right = defaultdict(list)
    for task, thinking, answer in traces(family, Style.FULL, level=5, count=500):
        right[len(passes_of(thinking)) - 1].append(answer == solve(family, task))
    accuracy = [float(np.mean(right[waits])) for waits in range(4)]
    assert accuracy == sorted(accuracy)
    assert accuracy[0] < 0.6
    assert accuracy[3] > 0.85


@EVERY_FAMILY
def test_longer_full_solutions_are_more_often_right_and_brief_ones_less(family: Family) -> None:
    full = traces(family, Style.FULL, level=6, count=400)
    short = sorted(full, key=lambda trace: len(trace[1]))[:130]
    long = sorted(full, key=lambda trace: len(trace[1]))[-130:]
    brief = traces(family, Style.BRIEF, level=6, count=130)

    def accuracy(some: list[tuple[Task, str, str]]) -> float:
        return float(np.mean([answer == solve(family, task) for task, _, answer in some]))

    assert accuracy(long) > accuracy(short) + 0.2
    assert accuracy(brief) < 0.6


@EVERY_FAMILY
def test_no_word_of_equal_standing_is_preferred(family: Family) -> None:
    text = "".join(thinking for _, thinking, _ in traces(family, Style.FULL, level=6, count=200))
    for words in (EQUALS, JOINS, RECHECKS, ASKED):
        counts = np.array([text.count(word) for word in words])
        expected = counts.sum() / len(words)
        assert np.abs(counts - expected).max() < 4 * np.sqrt(expected)


@EVERY_FAMILY
def test_a_restatement_is_the_problem_itself_and_stands_first(family: Family) -> None:
    full = traces(family, Style.FULL, level=5, count=400)
    restated = [(t, thinking) for t, thinking, _ in full if thinking.startswith(ASKED)]
    # Standard error: 0.025.
    assert abs(len(restated) / len(full) - RESTATE_SHARE) < 0.1
    for task, thinking in restated:
        assert thinking.startswith(tuple(f"{word}{family.write(task)}" for word in ASKED))


@EVERY_FAMILY
def test_free_words_alone_carry_a_third_of_a_nat_a_token(family: Family) -> None:
    # A choice among n equal words is log n nats; whether a word joins two steps is H(JOIN_SHARE).
    join = -sum(p * np.log(p) for p in (JOIN_SHARE, 1 - JOIN_SHARE))
    join += JOIN_SHARE * np.log(len(JOINS))
    tokenizer, nats, tokens = make_tokenizer(), 0.0, 0
    for level in LEVELS:
        for _, thinking, answer in traces(family, Style.FULL, level=level, count=40):
            equals, passes = count_words(thinking, EQUALS), len(passes_of(thinking))
            nats += equals * np.log(len(EQUALS)) + (passes - 1) * np.log(len(RECHECKS))
            nats += (equals - thinking.count(NO) - passes) * join
            tokens += len(tokenizer.encode(thinking)) + len(tokenizer.encode(answer)) + 3
    assert nats / tokens > 0.33


def test_the_lab_s_sets_are_its_levels_and_the_oldest_has_not_changed() -> None:
    drawn = {name: draw_set(name, count=96, seed=0, split=Split.TEST) for name in SETS}
    levels = {name: {problem.difficulty for problem in set_} for name, set_ in drawn.items()}
    assert levels["lab"] == {float(level) for level in range(1, 9)}
    assert levels["lab-hard"] == {9.0, 10.0, 11.0, 12.0}
    assert levels["lab-all"] == levels["lab"] | levels["lab-hard"]
    assert drawn["lab"] == draw_problems(per_family=48, seed=0, split=Split.TEST)


@pytest.mark.parametrize("level", [1, 8])
def test_styles_are_drawn_by_the_shares_of_the_level(level: int) -> None:
    rng = np.random.default_rng(0)
    count = Counter(draw_style(level, rng=rng) for _ in range(2000))
    # Standard error: at most 0.011.
    assert abs(count[Style.GUESS] / 2000 - GUESS_SHARE[level - 1]) < 0.04
    assert abs(count[Style.BRIEF] / 2000 - BRIEF_SHARE[level - 1]) < 0.04


@pytest.mark.parametrize("shape", [(96, 256), (256, 96), (48, 96), (1, 64)])
def test_orthogonalised_singular_values_are_near_one_and_directions_stay(
    shape: tuple[int, int],
) -> None:
    gradient_RC = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    result_RC = orthogonalise(1e-3 * gradient_RC)
    assert result_RC.shape == gradient_RC.shape
    left, _, right = torch.linalg.svd(gradient_RC, full_matrices=False)
    inner = left.T @ result_RC @ right.T
    values = inner.diagonal()
    assert values.min() > 0.6
    assert values.max() < 1.3
    torch.testing.assert_close(inner, torch.diag(values), atol=1e-3, rtol=0.0)


def test_the_step_of_muon_is_the_orthogonalised_gradient_scaled_for_tall_matrices() -> None:
    # From rest, gradient and Nesterov buffer point the same way, and orthogonalising forgets size.
    matrix = torch.nn.Parameter(torch.zeros(64, 16))
    matrix.grad = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
    Muon([matrix]).step(learning_rate=0.1)
    expected = -0.1 * (64 / 16) ** 0.5 * orthogonalise(matrix.grad)
    torch.testing.assert_close(matrix.detach(), expected, atol=1e-5, rtol=1e-4)
