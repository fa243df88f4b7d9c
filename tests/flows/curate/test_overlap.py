"""What repeats a problem, and what only looks like it."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from tersely.core.types import Message, Problem
from tersely.flows.curate.overlap import (
    find_duplicates,
    find_overlaps,
    normal_words,
)
from tersely.tasks.repeats import normal_answer

STORY = (
    "a farmer has seven hens and each of them lays two eggs a day for a week how many eggs does "
    "she collect in all and how many boxes of a dozen can she fill"
)


def problem(name, prompt, answer="98", source="train"):
    return Problem(id=name, prompt=prompt, answer=answer, source=source)


def test_case_punctuation_spacing_is_no_difference_and_numbers_and_signs_are():
    assert normal_words("What is 3.5 + 4_a?") == ["what", "is", "3.5", "+", "4", "_", "a", "?"]
    first = problem("a", "What is 3 + 4?", "7")
    again = problem("b", "  what IS 3\n+ 4 ?", "7")
    other = problem("c", "What is 3 + 5?", "8")
    (found,) = find_duplicates([first, again, other])
    assert (found.problem, found.other, found.shared) == ("b", "a", 1.0)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (" $98$.", "98"),
        (r"\frac{6}{4}", "1.5"),
        (r"\dfrac{1}{2}", "2/4"),
        ("1,234,567", "1234567"),
        (r"\left( 1, 2 \right)", "(1,2)"),
        ("Blue", "blue"),
    ],
)
def test_answers_that_are_written_otherwise_are_the_same(left, right):
    assert normal_answer(left) == normal_answer(right)


@pytest.mark.parametrize(
    ("left", "right"), [("1,2", "12"), ("1/0", "0"), ("5/000", "5"), ("-3", "3"), ("x", "y")]
)
def test_other_answers_stay_others(left, right):
    assert normal_answer(left) != normal_answer(right)


def test_a_giant_answer_is_compared_as_it_stands():
    assert normal_answer("1e999999999") == "1e999999999"
    assert normal_answer("9" * 100_000) == "9" * 100_000


def test_the_same_words_repeat_a_problem_whatever_the_answer_says():
    (found,) = find_duplicates([problem("a", STORY), problem("b", STORY, "42")])
    assert found.problem == "b"


def test_a_long_prompt_with_a_new_beginning_repeats_it_where_the_answers_agree():
    longer = "Read this with care. " + STORY.capitalize() + " ?"
    (found,) = find_duplicates([problem("a", STORY), problem("b", longer, " $98$ ")])
    assert (found.problem, found.other, found.shared) == ("b", "a", 1.0)
    assert found.text.startswith("a farmer has seven hens")
    assert find_duplicates([problem("a", STORY), problem("b", longer, "99")]) == []


def test_a_short_prompt_with_a_new_ending_repeats_it_where_the_numbers_agree():
    ask = "find the greatest common divisor of 12 and 18"
    (found,) = find_duplicates([problem("a", ask, "6"), problem("b", ask + " please", "6")])
    # 9 words and 10: all 5 5-grams of the shorter one
    assert (found.problem, found.shared) == ("b", 1.0)
    # 4 of 5 5-grams, the same answer, and another question
    assert find_duplicates([problem("a", ask, "6"), problem("b", ask[:-2] + "30", "6")]) == []


def test_a_template_filled_anew_is_no_duplicate():
    prompts = [STORY.replace("seven", number) for number in ("seven", "eight", "nine")]
    problems = [problem(f"p{i}", p, str(14 * (7 + i))) for i, p in enumerate(prompts)]
    assert find_duplicates(problems) == []


def test_words_that_go_with_several_answers_are_no_evidence():
    # 46 words of rules and 3 of the problem: any two share more than 0.8 of their 13-grams
    rules = " ".join(f"rule{chr(97 + i)}" for i in range(20)) + " " + STORY[:120]
    asked = [problem(f"p{i}", f"{rules} now {word} {word}", "yes") for i, word in enumerate("abcd")]
    other = problem("no", f"{rules} now z y", "no")
    assert [f.problem for f in find_duplicates(asked)] == ["p1", "p2", "p3"]
    assert find_duplicates([*asked, other]) == []
    again = problem("again", f"{rules} now a a really", "yes")
    assert [f.other for f in find_duplicates([*asked, other, again])] == ["p0"]


def test_words_of_many_prompts_are_no_evidence_either():
    asked = [problem(f"p{i}", f"{STORY} {'q' * (i + 1)}") for i in range(21)]
    assert find_duplicates(asked) == []
    assert len(find_duplicates(asked[:20])) == 19


def test_a_copy_of_a_copy_goes_with_the_first():
    texts = [STORY, STORY + " x", STORY + " x y", STORY + " x"]
    found = find_duplicates([problem(f"p{i}", text) for i, text in enumerate(texts)])
    assert [(f.problem, f.other) for f in found] == [("p1", "p0"), ("p2", "p0"), ("p3", "p0")]


def words_from(first, n, letter="w"):
    return " ".join(f"{letter}{'a' * at}" for at in range(first, first + n))


def test_what_is_near_to_a_dropped_one_only_stays():
    # 40 words, 28 13-grams; 4 words on: 24 of 28 shared; 8 words on: 20 of 28
    moved = [problem(f"p{at}", words_from(at, 40)) for at in (1, 5, 9)]
    assert [(f.problem, f.other) for f in find_duplicates(moved)] == [("p5", "p1")]


def test_known_parts_that_differ_are_differences():
    # of 98 13-grams 68 are shared, 0.69; of the 80 that tell, 0.85: 18 also go with another answer
    left, right, same = words_from(1, 30, "l"), words_from(1, 30, "r"), words_from(1, 80)
    problems = [
        problem("left", left, "no"),
        problem("right", right, "no"),
        problem("a", f"{left} {same}"),
        problem("b", f"{right} {same}"),
    ]
    assert find_duplicates(problems) == []


def test_overlaps_name_the_benchmark_and_the_nearest_problem():
    bench = [
        problem("far", " ".join([*STORY.split()[:26], *6 * ["x"]]), source="bench"),
        problem("near", " ".join(STORY.split()[2:]) + " today", source="bench"),
    ]
    (found,) = find_overlaps([problem("a", STORY), problem("b", "2+2?")], bench)
    assert (found.problem, found.other, found.source) == ("a", "near", "bench")
    # the second copy in the pool overlaps as well, and not with the first
    twice = find_overlaps([problem("a", STORY), problem("b", STORY)], bench)
    assert [(f.problem, f.other) for f in twice] == [("a", "near"), ("b", "near")]
    assert find_overlaps([problem("a", STORY)], []) == []


def test_only_the_same_messages_before_the_question_make_a_duplicate():
    longer = STORY + " and sell at the market"
    pool = [
        replace(problem(f"{name}{system}", text), earlier=(Message(role="system", content=system),))
        for name, text in (("a", STORY), ("b", STORY), ("c", longer))
        for system in ("Be brief.", "Be kind.")
    ]
    found = find_duplicates([problem("plain", STORY), *pool])
    assert [(f.problem, f.other) for f in found] == [
        ("bBe brief.", "aBe brief."),
        ("bBe kind.", "aBe kind."),
        ("cBe brief.", "aBe brief."),
        ("cBe kind.", "aBe kind."),
    ]
    # A benchmark's question is one whatever stands before it.
    assert len(find_overlaps(pool, [problem("q", STORY, source="bench")])) == len(pool)


@pytest.mark.parametrize("prompts", [[], [""], ["?"], ["", " "], ["a b", "c d e f g"]])
def test_tiny_prompts_are_compared_as_a_whole(prompts):
    problems = [problem(f"p{i}", prompt) for i, prompt in enumerate(prompts)]
    repeats = len(prompts) - len({prompt.strip() for prompt in prompts})
    assert len(find_duplicates(problems)) == repeats


def naive(left, right):
    """Share of the shorter one's grams, in plain lists."""
    words = sorted((normal_words(left), normal_words(right)), key=len)
    n = 13 if len(words[0]) >= 26 else 5
    short, long = (Counter(tuple(w[i : i + n]) for i in range(len(w) - n + 1)) for w in words)
    return sum(min(count, long[gram]) for gram, count in short.items()) / short.total()


@pytest.mark.parametrize("length", [12, 25, 26, 60])
def test_random_edits_agree_with_the_naive_share(length):
    rng = random.Random(length)
    words = [f"{chr(97 + i)}{chr(97 + j)}" for i in range(26) for j in range(4)]
    base = [" ".join(rng.choices(words, k=length)) for _ in range(20)]
    index = [problem(f"p{i}", other) for i, other in enumerate(base)]
    near = 0
    for _ in range(60):
        edited = rng.choice(base).split()
        for _ in range(rng.randint(0, 2)):
            edited[rng.randrange(len(edited))] = "zz"
        del edited[: rng.randint(0, 2)]
        text = " ".join(edited)
        shares = {f"p{i}": naive(text, other) for i, other in enumerate(base)}
        best = max(shares.values())
        found = find_overlaps([problem("q", text)], index)
        near += best >= 0.8
        if best >= 0.8:
            assert found[0].shared == best
            assert shares[found[0].other] == best
        else:
            assert found == []
    assert near > 10
