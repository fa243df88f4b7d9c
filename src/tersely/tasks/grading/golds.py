"""Gold answers that are none: missing values written as words, lists, worked solutions."""

import re

from tersely.core.types import Problem

# What pandas, numpy, Python and JSON write where there is no value.
_MISSING = re.compile(r"(?i:nan|-nan|<na>|nat|null|n/a|#n/a)|None")
_LISTED = re.compile(r"\s*(?:\[\s*['\"]|array\(|\{\s*['\"]).*[\])}]\s*", re.DOTALL)
_BOXED = re.compile(r"\\(?:boxed|fbox)\b")
_SENTENCES = re.compile(r"[a-z]{2}[)}\"']?[.!?]\s+[A-Z]|\n\s*\n")
_WORD = re.compile(r"(?<![\\\w])[A-Za-z]{2,}")
# So many words, in sentences, make no answer of a mathematical problem.
_MOST_WORDS = 12
# A heading of Markdown asks for nothing.
_ASKED = re.compile(
    r"\b(?:after|behind|following|with|by|using|form|format|as|like|write|use|put)\b[^\n#]{0,40}"
    r"(?<!#)####(?!#)",
    re.IGNORECASE,
)
_MATHEMATICAL = ("math", "number", "ordered")


def no_answer(problem: Problem) -> str | None:
    """Why no model would write the gold answer; None where it may."""
    answer = problem.answer.strip()
    if not answer:
        return "it is empty"
    if _MISSING.fullmatch(answer):
        return "a missing value; if the word is meant, write it in other letters"
    if problem.grader != "ordered" and _LISTED.fullmatch(answer):
        return "the text of a list; write its one answer"
    if "####" in answer:
        return "a worked solution; keep what follows its last ####"
    if _BOXED.search(answer):
        return "a box; keep what it holds"
    words = len(_WORD.findall(answer))
    if problem.grader in _MATHEMATICAL and words > _MOST_WORDS and _SENTENCES.search(answer):
        return f"{words} words in sentences: a worked solution; keep its final answer"
    return None


def asks_for_hashes(prompt: str) -> bool:
    """Whether the prompt wants the answer after ``####``, and in no box."""
    return "\\boxed" not in prompt and _ASKED.search(prompt) is not None
