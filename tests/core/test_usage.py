"""Counting a completion's tokens from what a server says, by the numbers alone."""

from itertools import product

import pytest

from tersely.core.usage import Received, Usage, completion_tokens, least_tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), (" \n", 0), ("+", 1), ("don't", 2), ("x = 41.5", 3), ("二加二等于四啊啊", 3)],
)
def test_a_text_has_at_least_as_many_tokens_as_runs_of_letters_and_of_digits(text, tokens) -> None:
    # Eight characters without a space are one run and two fours.
    assert least_tokens(text) == tokens


def _ways(thinking: int, answer: int, prompt: int) -> list[Usage]:
    """All the ways in which servers report these."""
    ways = []
    for inside, in_total, said in product((True, False), repeat=3):
        completion = answer + thinking * inside
        total = prompt + answer + thinking * (inside or in_total)
        usage = Usage(completion, prompt, total, thinking if said else None)
        if inside or in_total or said:
            ways.append(usage)
        if inside or said:
            ways.append(usage._replace(total=None))
            ways.append(usage._replace(prompt=None))
    return ways


@pytest.mark.parametrize("thinking", [0, 40, 900])
@pytest.mark.parametrize("answer", [12, 300])
@pytest.mark.parametrize("words_a_token", [0.5, 0.8, 1.0])
def test_every_way_of_reporting_gives_the_same_count(thinking, answer, words_a_token) -> None:
    least_answer = int(answer * words_a_token)
    shown = Received(least_answer + int(thinking * words_a_token), least_answer)
    for usage in _ways(thinking, answer, prompt=57):
        found = completion_tokens(usage, received=shown)
        beside = usage.reasoning and usage.completion == answer
        if found.tokens != thinking + answer:
            # Few thinking tokens said beside a long answer of long words may be in its count.
            assert beside
            assert thinking + least_answer / 1.25 <= answer * 1.05
            assert usage.total is None or usage.prompt is None or usage.total == 57 + answer


def test_a_count_is_refused_only_with_its_reason() -> None:
    for completion, prompt, total in product((None, -3, 0, 9, 500), (None, 0, 50), (None, 0, 59)):
        found = completion_tokens(Usage(completion, prompt, total), received=Received(60, 5))
        assert found.tokens is None or found.tokens >= 60 / 1.25
        assert found.tokens is not None or found.how


def test_a_cached_prompt_longer_than_the_prompt_is_beside_it() -> None:
    # 300 cached and 280 fresh tokens, 3 of answer and 258 of thinking.
    usage = Usage(3, 280, 841, cached=300)
    assert completion_tokens(usage, received=Received(241, 2)).tokens == 261


def test_the_cached_prompt_is_no_thinking() -> None:
    for cached in (0, 16, 40):
        for prompt in (50, 50 - cached):
            usage = Usage(9, prompt, 59, cached=cached)
            assert completion_tokens(usage, received=Received(4, 4)) == (9, "")
