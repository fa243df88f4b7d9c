"""IFEval's instructions: one text that follows each and one that does not."""

import json

import pytest

from tersely.core.errors import ConfigError
from tersely.core.types import Grade
from tersely.tasks import grading
from tersely.tasks.grading import instructions

ENGLISH = "the quick brown fox jumps over the lazy dog and then it sleeps in the warm sun"
CASES = {
    "keywords:existence": ({"keywords": ["Sea", "salt"]}, "salt of the sea", "salt only"),
    "keywords:frequency": (
        {"keyword": "sea", "frequency": 2, "relation": "at least"},
        "Sea and sea",
        "one sea",
    ),
    "keywords:forbidden_words": ({"forbidden_words": ["sea"]}, "no seaside", "the Sea"),
    "keywords:letter_frequency": (
        {"letter": "q", "let_frequency": 2, "let_relation": "less than"},
        "Quit",
        "quiz q",
    ),
    "language:response_language": (
        {"language": "de"},
        "Das ist ein ganz normaler deutscher Satz über das Wetter.",
        "This is a perfectly normal English sentence about the weather.",
    ),
    "length_constraints:number_sentences": (
        {"num_sentences": 3, "relation": "less than"},
        "One. Two!",
        "One. Two! Three?",
    ),
    "length_constraints:number_paragraphs": ({"num_paragraphs": 2}, "a\n***\nb", "a b"),
    "length_constraints:number_words": (
        {"num_words": 3, "relation": "at least"},
        "a b c",
        "a b",
    ),
    "length_constraints:nth_paragraph_first_word": (
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "firstly"},
        "a\n\nFirstly, b",
        "a\n\nthen b",
    ),
    "detectable_content:number_placeholders": ({"num_placeholders": 2}, "[a] [b]", "[a]"),
    "detectable_content:postscript": ({"postscript_marker": "P.S."}, "bye P. S. x", "bye"),
    "detectable_format:number_bullet_lists": ({"num_bullets": 2}, "* a\n- b", "* a\n- b\n* c"),
    "detectable_format:constrained_response": ({}, "My answer is no.", "No."),
    "detectable_format:number_highlighted_sections": ({"num_highlights": 2}, "*a* *b*", "*a* **"),
    "detectable_format:multiple_sections": (
        {"section_spliter": "SECTION", "num_sections": 2},
        "SECTION 1 a SECTION 2 b",
        "SECTION 1 a",
    ),
    "detectable_format:json_format": ({}, '```json\n{"a": 1}\n```', "{a: 1}"),
    "detectable_format:title": ({}, "<<a title>> text", "<< >> text"),
    "combination:two_responses": ({}, "a ****** b", "a ****** a"),
    "combination:repeat_prompt": ({"prompt_to_repeat": "Say it"}, "say it. Done", "done"),
    "startend:end_checker": ({"end_phrase": "The end."}, 'so. the end."', "the end. More"),
    "startend:quotation": ({}, '"a"', '"a'),
    "change_case:capital_word_frequency": (
        {"capital_frequency": 2, "capital_relation": "at least"},
        "AB and CD",
        "AB and cd",
    ),
    "change_case:english_capital": ({}, ENGLISH.upper(), ENGLISH.title()),
    "change_case:english_lowercase": ({}, ENGLISH, ENGLISH.title()),
    "punctuation:no_comma": ({}, "a b", "a, b"),
}


def gold(*names: str) -> str:
    kwargs = [CASES[name][0] for name in names]
    return json.dumps({"instruction_id_list": list(names), "kwargs": kwargs})


def test_every_instruction_is_in_this_table() -> None:
    assert set(CASES) == set(instructions.CHECKS)
    assert len(CASES) == 25


@pytest.mark.parametrize("name", CASES)
def test_what_follows_an_instruction_is_right_and_what_does_not_is_wrong(name: str) -> None:
    _, follows, breaks = CASES[name]
    assert instructions.gold_problem(gold(name)) is None
    assert instructions.grade(f"<think>x, y</think>{follows}", gold(name)).grade is Grade.CORRECT
    assert instructions.grade(breaks, gold(name)).grade is Grade.WRONG


def test_all_have_to_be_followed_and_the_share_is_kept() -> None:
    both = gold("punctuation:no_comma", "detectable_format:title")
    verdict = instructions.grade("<<a>>, b", both)
    assert (verdict.grade, verdict.score) == (Grade.WRONG, 0.5)
    assert instructions.grade("<think>so", both).grade is Grade.UNPARSED


def test_a_gold_answer_of_unknown_instructions_is_told() -> None:
    unknown = json.dumps({"instruction_id_list": ["a:b"], "kwargs": [{}]})
    assert "a:b" in str(instructions.gold_problem(unknown))
    assert "no list" in str(instructions.gold_problem("7"))
    with pytest.raises(ConfigError):
        grading.load("instruction")
