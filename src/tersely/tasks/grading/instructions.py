"""IFEval's 25 instructions, checked one by one; right is that all of them are followed.

Source: arXiv:2311.07911 and its published checkers; this is the strict reading, on the text after
the thinking. Two things differ: sentences are split by punctuation instead of nltk's model, and
words in capitals are runs of letters and digits. ``score`` is the share that is followed.
"""

import re
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from tersely.core.extras import missing
from tersely.core.parsing import parse_json
from tersely.core.types import Grade, Verdict
from tersely.tasks.grading.answer import reply

if find_spec("langdetect") is None:
    raise missing("langdetect", what="grader instructions")

Check = Callable[[str, Mapping[str, Any]], bool]
_CONSTRAINED = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
# What every check of a gold answer is tried on.
_TRIED = "One, two.\n\nThree."
_SENTENCE = re.compile(r"[^.!?]*[^.!?\s][^.!?]*(?:[.!?]+|$)")


def grade(text: str, answer: str) -> Verdict:
    """CORRECT if every instruction of the gold answer is followed; UNPARSED without an answer."""
    part = reply(text)
    if not part:
        return Verdict(grade=Grade.UNPARSED)
    wanted = parse_json(answer)
    pairs = zip(wanted["instruction_id_list"], wanted["kwargs"], strict=True)
    followed = [CHECKS[name](part, given) for name, given in pairs]
    return Verdict(
        grade=Grade.CORRECT if all(followed) else Grade.WRONG,
        extracted=part[:200],
        score=sum(followed) / len(followed),
    )


def gold_problem(answer: str) -> str | None:
    """What is wrong with a gold answer: an instruction that is not known."""
    try:
        wanted = parse_json(answer)
        unknown = [name for name in wanted["instruction_id_list"] if name not in CHECKS]
        lengths = len(wanted["instruction_id_list"]), len(wanted["kwargs"])
    except (ValueError, KeyError, TypeError) as error:
        return f"no list of instructions: {error}"
    if unknown or lengths[0] != lengths[1] or not lengths[0]:
        return f"unknown instructions {unknown}, or settings for {lengths[1]} of {lengths[0]}"
    for name, given in zip(wanted["instruction_id_list"], wanted["kwargs"], strict=True):
        try:
            CHECKS[name](_TRIED, given)
        except (ValueError, LookupError, TypeError, AttributeError, re.error) as error:
            return f"{name} cannot be checked with {given!r:.80}: {error!r:.80}"
    return None


def _holds(count: int, relation: str, bound: int) -> bool:
    return count < bound if relation == "less than" else count >= bound


def _existence(text: str, given: Mapping[str, Any]) -> bool:
    return all(re.search(word, text, re.IGNORECASE) for word in given["keywords"])


def _frequency(text: str, given: Mapping[str, Any]) -> bool:
    found = re.findall(given["keyword"], text, re.IGNORECASE)
    return _holds(len(found), given["relation"], given["frequency"])


def _forbidden(text: str, given: Mapping[str, Any]) -> bool:
    words = given["forbidden_words"]
    return not any(re.search(rf"\b{word}\b", text, re.IGNORECASE) for word in words)


def _letters(text: str, given: Mapping[str, Any]) -> bool:
    count = text.lower().count(given["letter"].lower())
    return _holds(count, given["let_relation"], given["let_frequency"])


def _language_of(text: str) -> str | None:
    from langdetect import DetectorFactory, LangDetectException, detect

    # It guesses at random unless told where to begin.
    DetectorFactory.seed = 0
    try:
        return str(detect(text))
    except LangDetectException:
        return None


def _is_language(text: str, language: str) -> bool:
    """What cannot be told counts as followed, as in the published checkers."""
    return _language_of(text) in (None, language)


def _sentences(text: str, given: Mapping[str, Any]) -> bool:
    return _holds(len(_SENTENCE.findall(text)), given["relation"], given["num_sentences"])


def _paragraphs(text: str, given: Mapping[str, Any]) -> bool:
    parts = re.split(r"\s?\*\*\*\s?", text)
    if any(not part.strip() for part in parts[1:-1]):
        return False
    return bool(sum(bool(part.strip()) for part in parts) == given["num_paragraphs"])


def _words(text: str, given: Mapping[str, Any]) -> bool:
    return _holds(len(re.findall(r"\w+", text)), given["relation"], given["num_words"])


def _first_word(text: str, given: Mapping[str, Any]) -> bool:
    parts = [part for part in re.split(r"\n\n", text) if part.strip()]
    nth = given["nth_paragraph"]
    if nth > len(parts):
        return False
    first = parts[nth - 1].split()[0].lstrip("'\"")
    word = re.split(r"[.,?!'\"]", first)[0].lower()
    return bool(len(parts) == given["num_paragraphs"] and word == given["first_word"].lower())


def _postscript(text: str, given: Mapping[str, Any]) -> bool:
    marks = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}
    marker = given["postscript_marker"]
    return bool(re.search(marks.get(marker, re.escape(marker.lower())), text.lower()))


def _bullets(text: str, given: Mapping[str, Any]) -> bool:
    found = re.findall(r"^\s*(?:\*[^*\n].*|-.*)$", text, re.MULTILINE)
    return bool(len(found) == given["num_bullets"])


def _highlights(text: str, given: Mapping[str, Any]) -> bool:
    single = [part for part in re.findall(r"\*[^\n*]*\*", text) if part.strip("*").strip()]
    double = [part for part in re.findall(r"\*\*[^\n*]*\*\*", text) if part.strip("*").strip()]
    return bool(len(single) + len(double) >= given["num_highlights"])


def _sections(text: str, given: Mapping[str, Any]) -> bool:
    pattern = rf"\s?{given['section_spliter']}\s?\d+\s?"
    return bool(len(re.split(pattern, text)) - 1 >= given["num_sections"])


def _is_json(text: str, given: Mapping[str, Any]) -> bool:
    inner = re.sub(r"^```(?:json|JSON|Json)?|```$", "", text.strip()).strip()
    try:
        parse_json(inner)
    except ValueError:
        return False
    return True


def _two_responses(text: str, given: Mapping[str, Any]) -> bool:
    parts = text.split("******")
    if any(not part.strip() for part in parts[1:-1]):
        return False
    kept = [part.strip() for part in parts if part.strip()]
    return len(kept) == 2 and kept[0] != kept[1]


def _repeats(text: str, given: Mapping[str, Any]) -> bool:
    return text.strip().lower().startswith(str(given["prompt_to_repeat"]).strip().lower())


def _ends(text: str, given: Mapping[str, Any]) -> bool:
    return text.strip().strip('"').lower().endswith(str(given["end_phrase"]).strip().lower())


def _quoted(text: str, given: Mapping[str, Any]) -> bool:
    text = text.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'


def _capitals(text: str, given: Mapping[str, Any]) -> bool:
    words = [word for word in re.findall(r"\w+", text) if word.isupper()]
    return _holds(len(words), given["capital_relation"], given["capital_frequency"])


CHECKS: dict[str, Check] = {
    "keywords:existence": _existence,
    "keywords:frequency": _frequency,
    "keywords:forbidden_words": _forbidden,
    "keywords:letter_frequency": _letters,
    "language:response_language": lambda text, given: _is_language(text, given["language"]),
    "length_constraints:number_sentences": _sentences,
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:number_words": _words,
    "length_constraints:nth_paragraph_first_word": _first_word,
    "detectable_content:number_placeholders": lambda text, given: bool(
        len(re.findall(r"\[.*?\]", text)) >= given["num_placeholders"]
    ),
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:constrained_response": lambda text, given: any(
        option in text for option in _CONSTRAINED
    ),
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:json_format": _is_json,
    "detectable_format:title": lambda text, given: any(
        title.strip() for title in re.findall(r"<<([^\n]+?)>>", text)
    ),
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": _repeats,
    "startend:end_checker": _ends,
    "startend:quotation": _quoted,
    "change_case:capital_word_frequency": _capitals,
    "change_case:english_capital": lambda text, given: text.isupper() and _is_language(text, "en"),
    "change_case:english_lowercase": lambda text, given: (
        text.islower() and _is_language(text, "en")
    ),
    "punctuation:no_comma": lambda text, given: "," not in text,
}
