"""The parts of a completion's length, by hand and against a naive count."""

import numpy as np
import pytest

from tersely.core.types import Grade, Problem
from tersely.tasks.grading.answer import answer_part, opened
from tersely.tasks.grading.parts import (
    answer_tokens,
    length_parts,
    thinking_tokens,
    told_thinking,
)

PROBLEM = Problem(id="p", prompt="3 + 4", answer="7", source="sums", grader="number")


@pytest.mark.parametrize(
    ("pieces", "thinking_open", "tokens"),
    [
        (["<think>", "a", "b", "</think>", "7", "<eos>"], False, 4),
        (["a", "b", "</think>", "7", "<eos>"], True, 3),
        # Files of other tools do not say that the prompt opened it.
        (["a", "b", "</think>", "7"], False, 3),
        (["7", "<eos>"], False, 0),
        # It skipped the mark and stopped: all of it is thinking.
        (["\\boxed{", "7", "}", "<eos>"], True, 4),
        (["<think>", "a", "b"], False, 3),
        # The mark over several tokens, one that adds nothing among them.
        (["a", "</", "thi", "", "nk", ">", "7"], True, 6),
        # The mark shares its tokens with other text.
        (["<think>", "a</th", "ink>\n\n7", "8"], False, 3),
        # A token that ends inside a character adds nothing, before the mark or after it.
        (["<think>", "", "é", "</think>", "", "é"], False, 4),
        # Several blocks count up to the last end; a block that is opened again has not ended.
        (["<think>", "a", "</think>", "b", "<think>", "c", "</think>", "7"], False, 7),
        (["<think>", "a", "</think>", "b", "<think>", "c"], False, 6),
        ([], False, 0),
        ([], True, 0),
    ],
)
def test_thinking_is_counted_up_to_its_last_end(
    pieces: list[str], thinking_open: bool, tokens: int
) -> None:
    assert thinking_tokens(pieces, thinking_open=thinking_open) == tokens


def _naive(pieces: list[str], *, thinking_open: bool) -> int:
    """The fewest tokens after which the same answer part follows, tried one by one."""
    text = "".join(pieces)
    if answer_part(opened(text, thinking_open=thinking_open)) is None:
        return len(pieces)
    if "</think>" not in text:
        return 0
    ends = [
        n
        for n in range(len(pieces) + 1)
        if "</think>" not in "".join(pieces[n:])
        and "".join(pieces[:n]).count("</think>") == text.count("</think>")
    ]
    return min(ends)


@pytest.mark.parametrize("seed", range(20))
def test_counting_agrees_with_trying_every_cut(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(50):
        marks = rng.choice(["<think>", "</think>", "a", "\n", "é", "7"], size=rng.integers(0, 9))
        text = "".join(marks)
        cuts = np.sort(rng.integers(0, len(text) + 1, size=rng.integers(0, 12)))
        pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        for thinking_open in (False, True):
            counted = thinking_tokens(pieces, thinking_open=thinking_open)
            assert counted == _naive(pieces, thinking_open=thinking_open), (pieces, thinking_open)
            assert 0 <= counted <= len(pieces)


def test_a_right_answer_is_looked_for_in_right_completions_only() -> None:
    pieces = ["The", " answer", " is", " 7", ".", " Wait", ",", " \\boxed{8}"]
    assert answer_tokens(PROBLEM, pieces, Grade.WRONG, tokens=8) is None
    # It stands with the token " 7", the fourth.
    assert answer_tokens(PROBLEM, pieces, Grade.CORRECT, tokens=8) == 4


def test_a_right_answer_that_nothing_marks_stands_at_the_end() -> None:
    assert answer_tokens(PROBLEM, ["7", "<eos>"], Grade.CORRECT, tokens=2) == 2


def test_parts_never_exceed_the_whole() -> None:
    pieces = ["<think>", "= 7", " wait", "</think>", "\\boxed{7}", "<eos>"]
    parts = length_parts(PROBLEM, pieces, Grade.CORRECT, thinking_open=False)
    assert parts == (4, 2)


def count(text: str) -> int:
    """A tokenizer whose tokens are words."""
    return len(text.split())


TEXT = "<think> " + "then 5 apples " * 30 + "</think> It is 35 ."


@pytest.mark.parametrize(
    ("reasoning", "thinking"),
    [
        (94, 94),
        (120, None),  # more than all
        (0, None),  # and yet thinking arrived
        (9, None),  # for 60 words and numbers
        (-1, None),
        (None, None),
    ],
)
def test_a_servers_count_of_thinking_is_believed_where_nothing_contradicts_it(
    reasoning: int | None, thinking: int | None
) -> None:
    assert told_thinking(TEXT, tokens=103, reasoning=reasoning) == thinking


def test_a_count_of_thinking_that_leaves_no_room_for_the_reply_is_not_believed() -> None:
    assert told_thinking(TEXT + " and so on" * 20, tokens=163, reasoning=103) == 103
    assert told_thinking(TEXT + " and so on" * 20, tokens=103, reasoning=103) is None


def test_thinking_that_no_server_counted_is_counted_with_the_tokenizer() -> None:
    # "<think>", 90 words, "</think>"; a count of a tokenizer of our own is never more than all.
    assert told_thinking(TEXT, tokens=96, count=count) == 92
    assert told_thinking(TEXT, tokens=90, count=count) == 90
    assert told_thinking(TEXT, tokens=96, reasoning=3, count=count) == 92


def test_thinking_that_never_ended_is_all_tokens_whatever_is_counted() -> None:
    assert told_thinking("<think> then 5", tokens=70, reasoning=3) == 70
    assert told_thinking("then \\boxed{5}", tokens=70, thinking_open=True) == 70


def test_a_text_without_marks_has_no_thinking_only_where_it_is_all_there_is() -> None:
    words = "so " * 100
    assert told_thinking(words, tokens=100, count=count) == 0
    assert told_thinking(words, tokens=400, count=count) is None  # thinking was kept back
    assert told_thinking(words, tokens=100) is None
    assert told_thinking(words, tokens=100, reasoning=0) == 0
    assert told_thinking(words, tokens=400, reasoning=290) == 290
