from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tersely.core.types import Grade
from tersely.tasks.grading.choice import grade


def said(text: str) -> str | None:
    """The letters found; the gold one is none of them."""
    return grade(text, "Z").extracted


@pytest.mark.parametrize(
    "text",
    [
        "The answer is {} because the others are too large.",
        "The correct option is ({}).",
        "So the right choice is **{}**.",
        "Hence the correct answer must be ({}), since it is even.",
        r"Answer: \({}\)",
        "Answer: `{}`",
        "Answer: ${}$",
        "**Answer:** {}",
        "**Answer:**\n\n{}",
        "Final answer: ({}) a triangle",
        "I choose {}",
        "I would go with option {}.",
        "Option {} is correct.",
        "Out of all four, ({}) is the right one.",
        "Therefore, {}.",
        "It has to be large, so {}.",
        "None of the others fits.\n\n{}",
        "None of the others fits.\n\n**({})**",
        "{}. seventeen",
        "({}) seventeen",
        "{}) seventeen\n\nFor 20 - 3 is 17.",
        "#### {}",
        "答案：{}",
        "故选{}",
        r"\boxed{{{}}}",
        r"\boxed{{\text{{{}}}}}",
        r"\boxed{{\textbf{{({})}}\ 17}}",
        r"\boxed{{\text{{Option {}}}}}",
        r"We get \boxed{{17}}, and this is option {}.",
        "The sum is \\boxed{{\\sum_k a_k}}.\n\n**Answer: {}**",
        "A. ten\nB. twelve\nC. thirteen\nD. seventeen\n\nThe answer is {}.",
    ],
)
@pytest.mark.parametrize("letter", ["A", "B", "D"])
def test_a_letter_is_read_where_it_is_stated(text: str, letter: str) -> None:
    assert said(text.format(letter)) == letter
    assert grade(text.format(letter), letter).grade is Grade.CORRECT
    assert grade(text.format(letter), f"({letter.lower()})").grade is Grade.CORRECT


@pytest.mark.parametrize("gold", ["B", "b", "(B)", "B.", "B)"])
def test_a_gold_letter_may_have_its_mark(gold: str) -> None:
    assert grade("B", gold).grade is Grade.CORRECT
    assert grade("C", gold).grade is Grade.WRONG


@pytest.mark.parametrize("gold", ["", "2", "AB", "A, B", "red"])
def test_a_gold_answer_that_is_no_letter_leaves_ungraded(gold: str) -> None:
    assert grade("B", gold).grade is Grade.UNGRADED


@pytest.mark.parametrize("letter", ["Ｂ", "Ⓑ", "\U0001d401", "\U0001d4d1"])
def test_other_shapes_of_a_letter_are_the_letter(letter: str) -> None:
    assert said(f"\\boxed{{{letter}}}") == "B"
    assert said(f"Answer: {letter}") == "B"


@pytest.mark.parametrize(
    "text",
    [
        *("A, C", "A and C", "both A and C", "AC", "Answer: A, C", "Answer: AC", "Answer: A/C"),
        *("The answer is A or C.", "The answers are (A) and (C).", "Answer: A C", "Answer: A+C"),
        *(r"\boxed{A, C}", r"\boxed{AC}", r"\boxed{A \text{ and } C}", r"\boxed{\{A, C\}}"),
        *(r"\boxed{A}, \boxed{C}", r"\boxed{A} and \boxed{C}", r"\boxed{(A), (C)}"),
        *(r"\boxed{\text{A. ten, C. two}}", "Both A and C are correct.", "I pick either A or C."),
    ],
)
def test_two_letters_at_once_are_neither(text: str) -> None:
    assert said(text) == "A, C"
    for letter in "AC":
        assert grade(text, letter).grade is Grade.WRONG


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("The answer is A. Wait, I misread the table. The answer is B.", "B"),
        ("The answer is A.\nActually, it's B.", "B"),
        (r"\boxed{A}. That was wrong: \boxed{B}", "B"),
        (r"\boxed{A}. On a second look the answer is B.", "B"),
        ("Answer: A\n\nAnswer: B", "B"),
        ("A is wrong, so B.", "B"),
        ("A and C are wrong. B is right.", "B"),
        ("The answer is not A but B.", "B"),
        ("The answer is B, not A.", "B"),
        ("Answer: B.\n\nA is wrong because it is too small.", "B"),
        (r"\boxed{B}" + "\n\nA is not the answer, as 3 is odd.", "B"),
        ("The answer is B, C is too large.", "B"),
    ],
)
def test_the_last_statement_counts_and_a_denial_is_none(text: str, letter: str) -> None:
    assert said(text) == letter


@pytest.mark.parametrize(
    "text",
    [
        *("The answer is A number below ten.", "The answer is a number.", "A quick check gives 5."),
        *("The answer is not A.", "I don't think the answer is A.", "If the answer is A, x is 3."),
        *("Is A correct?", "Neither A nor B is correct.", "A is wrong.", "Answer: A is incorrect."),
        *("Vitamin A is the best.", "The matrix A is correct", "It is taught at A-level."),
        *(
            "The answer is A = 5.",
            r"\boxed{A = 5}",
            r"\boxed{A \cap B}",
            r"\boxed{42}",
            r"\boxed{}",
        ),
        *("The answer is DNA.", "The answer is T cells.", "Answer: none of these", "Answer: A cat"),
        "The answer choices are:\nA. one\nB. two\nC. three",
        "Choose the correct answer: A. one B. two C. three",
        "A. That is wrong.\nB. That is right.",
        "<think>The answer is A.",
        "<think>The answer is A.</think>",
    ],
)
def test_a_letter_that_is_not_stated_is_not_found(text: str) -> None:
    assert said(text) is None
    assert grade(text, "A").grade is Grade.UNPARSED


@given(st.text(max_size=300))
def test_any_text_is_graded(text: str) -> None:
    grade(text, "A")
    grade(f"\\boxed{{{text}}}", "A")


HOSTILE = {
    "letters": "A " * 50_000,
    "lists": "A and " * 20_000,
    "boxes": r"\boxed{A}" * 10_000,
    "a long list in a box": r"\boxed{" + "A, " * 30_000 + "}",
    "labels": "A. x\n" * 20_000,
    "statements": "the answer is A? " * 6_000,
    "words": "answer " + "w " * 50_000,
    "hashes": "#### " * 20_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_answer_costs_less_than_fifty_milliseconds(text: str) -> None:
    def cost_s() -> float:
        start = process_time()
        grade(text, "B")
        return process_time() - start

    assert min(cost_s() for _ in range(5)) < 0.05


@pytest.mark.parametrize("letter", ["A", "C"])
def test_short_sentences_and_what_is_left_state_a_letter(letter: str) -> None:
    for text in ("It's {}.", "That's {}.", "That leaves option {} as the answer."):
        assert said(text.format(letter)) == letter
    for text in ("It's not {}.", "We reject option {} as the answer.", "It's {} or B?"):
        assert grade(text.format(letter), letter).grade is not Grade.CORRECT


def test_the_last_letter_has_no_next_one() -> None:
    assert grade("The answer is Z. It ends there.", "Z").grade is Grade.CORRECT
    assert grade("Z) last (and [ nothing", "Z").grade is not Grade.UNGRADED


@pytest.mark.parametrize(
    "text",
    [
        *(
            "Ответ: {}",
            "Правильный ответ: {}.",
            "Ответ — {}",
            "正解は{}です。",
            "答えは{}です",
            "答えは、({})です。",
        ),
        *(
            "正答は{}。",
            "정답은 {}입니다",
            "정답: {}",
            "답은 ({})입니다.",
            "答案是{}。",
            "Đáp án: {}",
            "Resposta: {}",
        ),
        *("{}\nParis", "{}\n\nParis is the capital of France.", "({})\nParis"),
        *("✅ {}", "{} ✓", "{} ✅", "✔ {}", "**{}** ✔️", "The others fail.\n✅ {}"),
        *(
            "The answer isn't E; it's {}.",
            "The answer is not E, it is {}.",
            "It can't be E; it's {}.",
        ),
        *("Option {} matches.", "Option {} fits.", "Only option {} matches the data."),
    ],
)
@pytest.mark.parametrize("letter", ["A", "B", "D"])
def test_a_letter_is_read_in_other_languages_beside_a_tick_and_where_it_fits(
    text: str, letter: str
) -> None:
    assert said(text.format(letter)) == letter


@pytest.mark.parametrize(
    "text",
    [
        *("Option C does not match.", "Option C doesn't fit.", "Option C never matches."),
        *("Does option C match?", "Option C matches?", "If option C matches, x is 3."),
        *(
            "Option C matches only in part",
            "Option C matches if x is 3.",
            "Option C hardly matches.",
        ),
        *("Option C matches nothing.", "Option C fits none of them.", "Option C matches neither."),
        *("❌ C", "C ✗", "C ❌", "✅ A\n✅ C", "A ✓\nC ✓", "✅ A cat"),
        *(
            "Ответ: не C",
            "正解はCではありません。",
            "答えはCではない",
            "정답은 C가 아닙니다",
            "Ответ: C?",
            "答えはCですか？",
        ),
        *(
            "C\nD\nE",
            "C\nParis\nD\nRome",
            "The answer isn't C; it's unknown.",
            "It isn't C; is it D?",
        ),
        *("The answer isn't A; it's not C.", "A\nB\nC ✗"),
        *(
            "答えはAとCです",
            "答えはC、Aです",
            "정답은 C와 A입니다",
            "Ответ: C и A",
            "答案是A和C",
            "Ответ: C или A",
        ),
        *("Respuesta: C y A", "Antwort: C und A", "Réponse : C et A", "Неправильный ответ: C"),
        *("不正解はCです", "오답: C", "If it isn't A, it's C.", "C\nis wrong", "C\ncannot be it"),
        *("Option A matches. Option C matches.", "Is it so that option C matches?"),
    ],
)
def test_a_letter_that_is_denied_or_one_of_several_is_not_paid(text: str) -> None:
    assert grade(text, "C").grade is not Grade.CORRECT
