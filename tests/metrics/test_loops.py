import random

import pytest

from tersely.metrics.loops import LEAST_CHARACTERS, REPEATS, loops

# Two of them are longer than 200 characters.
PASSAGE = (
    "Alternatively, perhaps I need to consider the distance from A to the centre of the circle. "
    "Wait, no, that is the radius. "
)


def slow(text: str) -> bool:
    """Every period in turn, character by character."""
    for period in range(1, len(text) // REPEATS + 1):
        length = max(REPEATS * period, LEAST_CHARACTERS)
        if length <= len(text) and all(
            text[-1 - at] == text[-1 - at - period] for at in range(length - period)
        ):
            return True
    return False


def test_a_passage_three_times_over_is_a_loop_and_twice_is_none():
    start = "Let x be the side of the square. "
    assert loops(start + PASSAGE * 3)
    assert not loops(start + PASSAGE * 2)


def test_the_last_repeat_may_be_cut_anywhere():
    for cut in range(len(PASSAGE)):
        assert loops("Now. " + PASSAGE * 4 + PASSAGE[:cut])


def test_a_loop_that_was_left_again_is_none():
    assert not loops(PASSAGE * 20 + "So the answer is 12.")


def test_a_list_whose_counter_moves_on_is_no_loop():
    assert not loops("".join(f"- n = {n}: Bob wins.\n" for n in range(100, 400)))


@pytest.mark.parametrize(("length", "looped"), [(199, False), (200, True)])
def test_short_runs_are_no_loops(length, looped):
    # A rule of dashes below a heading is shorter than 200 characters.
    assert loops("-" * length) is looped


def test_a_period_longer_than_the_anchor_and_as_long_as_a_third_of_the_text_is_found():
    rng = random.Random(0)
    passage = "".join(rng.choice("abcdefgh ") for _ in range(5000))
    assert loops(passage * 3)
    assert not loops(passage * 2 + passage[:4990])
    # The same but for one character: no exact repeat.
    assert not loops(passage * 2 + passage[:2500] + "#" + passage[2501:])


@pytest.mark.parametrize("seed", range(40))
def test_it_agrees_with_trying_every_period(seed):
    rng = random.Random(seed)
    letters = "ab" if seed % 2 else "abcdef "
    passage = "".join(rng.choice(letters) for _ in range(rng.randint(1, 120)))
    text = "".join(rng.choice(letters) for _ in range(rng.randint(0, 80)))
    text += passage * rng.randint(1, 6) + passage[: rng.randint(0, len(passage))]
    assert loops(text) == slow(text)


@pytest.mark.parametrize("text", ["", "a", "12"])
def test_an_answer_without_room_for_a_loop_is_none(text):
    assert not loops(text)
