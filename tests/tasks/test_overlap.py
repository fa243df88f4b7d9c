"""What repeats a problem, and what only looks like it."""

import random

from tersely.core.types import Problem
from tersely.tasks.overlap import find_duplicates, find_overlaps, normal_words

STORY = (
    "a farmer has seven hens and each of them lays two eggs a day for a week how many eggs does "
    "she collect in all"
)


def problem(name, prompt, answer="98", source="train"):
    return Problem(id=name, prompt=prompt, answer=answer, source=source)


def test_case_punctuation_spacing_is_no_difference_and_numbers_are():
    assert normal_words("What is 3.5 + 4?") == ["what", "is", "3.5", "+", "4", "?"]
    first = problem("a", "What is 3 + 4?", "7")
    again = problem("b", "  what IS 3\n+ 4 ?", "7")
    other = problem("c", "What is 3 + 5?", "8")
    (found,) = find_duplicates([first, again, other])
    assert (found.problem, found.other, found.shared) == ("b", "a", 1.0)


def test_the_same_words_repeat_a_problem_whatever_the_answer_says():
    (found,) = find_duplicates([problem("a", STORY), problem("b", STORY, "42")])
    assert found.problem == "b"


def test_a_long_prompt_with_a_new_beginning_repeats_it_where_the_answers_agree():
    # 23 words: 11 13-grams, all of them in the longer prompt
    longer = "Read this with care. " + STORY.capitalize() + " ?"
    (found,) = find_duplicates([problem("a", STORY), problem("b", longer, " $98$ ")])
    assert (found.problem, found.other, found.shared) == ("b", "a", 1.0)
    assert "hens" in found.text
    assert find_duplicates([problem("a", STORY), problem("b", longer, "99")]) == []


def test_a_template_filled_anew_is_no_duplicate():
    prompts = [STORY.replace("seven", number) for number in ("seven", "eight", "nine")]
    problems = [problem(f"p{i}", p, str(14 * (7 + i))) for i, p in enumerate(prompts)]
    assert find_duplicates(problems) == []


def test_overlaps_name_the_benchmark_and_the_nearest_problem():
    bench = [
        problem("far", " ".join([*STORY.split()[:15], *8 * ["x"]]), source="bench"),
        problem("near", STORY + " today", source="bench"),
    ]
    (found,) = find_overlaps([problem("a", STORY), problem("b", "2+2?")], bench)
    assert (found.problem, found.other, found.source) == ("a", "near", "bench")


def naive(left, right):
    """Share of the shorter one's 13-grams, in plain lists."""
    grams = [
        [tuple(w[i : i + 13]) for i in range(len(w) - 12)]
        for w in (normal_words(left), normal_words(right))
    ]
    short, long = sorted(map(set, grams), key=len)
    return len(short & long) / len(short) if short else 0.0


def test_random_edits_agree_with_the_naive_share():
    rng = random.Random(0)
    words = [f"{chr(97 + i)}{chr(97 + j)}" for i in range(26) for j in range(4)]
    base = [" ".join(rng.choices(words, k=40)) for _ in range(20)]
    for _ in range(100):
        edited = rng.choice(base).split()
        for _ in range(rng.randint(0, 3)):
            edited[rng.randrange(len(edited))] = "zz"
        text = " ".join(edited)
        shares = {f"p{i}": naive(text, other) for i, other in enumerate(base)}
        best = max(shares.values())
        index = [problem(f"p{i}", other) for i, other in enumerate(base)]
        found = find_overlaps([problem("q", text)], index)
        if best >= 0.8:
            assert found[0].shared == best
            assert shares[found[0].other] == best
        else:
            assert found == []
