"""The letter of a multiple choice must be the gold one.

A letter is stated in a box or ``[[B]]``, after "answer:" or ``####``, in a sentence ("the answer is
C because", "I choose D", "(B) is correct", "so B."), on a last line of its own or, where none of
these is there, as the only label of the answer ("B. forty-two") or after "this is option". The
last statement counts. Two letters at once ("A and C", ``AC``) choose nothing and are wrong. A box
of something else states nothing, nor does what is denied, asked or supposed; an "A" before a word
is an article unless that word is one such as "because".
"""

import re
import unicodedata
from typing import NamedTuple

from tersely.core.types import Grade, Verdict
from tersely.tasks.grading.answer import all_boxed, answer_part

# Of a longer answer the end is looked at, and of its letters so many.
MOST_CHARS, MOST_LETTERS = 10_000, 100
_NEAR_CHARS = 90

_MARKS = re.compile(
    r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathsf|bf|rm|displaystyle|left|right|quad|qquad)"
    r"(?![A-Za-z])|\\[(){}\[\],;:! ]|[{}$*`\"“”]|(?<!\w)[_'‘’]+|[_'‘’]+(?!\w)"
    r"|</?(?:b|i|em|strong|u)>"
)
_ONE = (
    r"(?:\(\s?[A-Za-z]\s?\)|\[\s?[A-Z]\s?\]|‹[A-Z]+›"
    r"|(?<![\w'’(\\^=<>/-])[A-Z](?![\w'’(^#]|\+\+|-\w|\.[A-Z]\b|\s*[=<>≤≥]))"
)
# Judges' "[[B]]" is as good as a box.
_DOUBLY = re.compile(r"\[\[\s?([A-Z])\s?\]\]")
_NOUN = r"(?:option|choice|answer|letter|statement)s?"
_JOIN = (
    r"(?:\s*(?:,\s*(?:and\b|or\b)?|;|/|&|\+|\||\(?\band\b|\(?\bor\b|\bthen\b"
    r"|[、と和或及와과및]|および|または|(?:и|или|або|та|y|et|und|oder|ou|e)(?=\s)"
    r"|\s[-–](?=\s[A-J]\b))\s*(?:(?:maybe|possibly|perhaps|even)\s+)?"
    rf"(?:(?i:{_NOUN})\s+)?| ?(?=[(‹][A-Z]+[)›])| (?=[A-J]\b))"
)
# Another letter of a list: "B, C is wrong" and "B and I think" go on otherwise.
_NEXT = rf"{_ONE}(?!\s+(?!and\b|or\b|are\b|both\b)[a-z])"
_MENTION = re.compile(
    rf"(?<!\w)[A-Z](?:/[A-Z]){{1,9}}(?!\w)|{_ONE}(?:{_JOIN}{_NEXT}){{0,9}}"
    r"|(?<!\w)[A-J]{2,6}(?=[.!]?\s*(?:\n|\Z))",
    # "故选B": letters of other scripts are no part of a word here.
    re.ASCII,
)
_LETTER = re.compile("[A-Za-z]")
_ARTICLE = re.compile(
    r"\s+(?!(?:because|since|as|for|which|and|or|but|with|due|given|from|by|is|was|are|if|when|where"
    r"|so|thus|hence|therefore|although|though|not|rather|instead|whereas|while|based|according|per"
    r"|only|here|that|in|on|at|then|the|would|it|we|this|must|has|seems|remains)\b)[a-z]"
)
_ENDS = r"\s*(?:[.!;]?\s*(?:\n|\Z)|[.!;](?=\s)|,?\s*(?:because|since|as|for|by|due)\b)"

_IS = (
    r"(?:\s*(?::|=>|=|->|→|⇒)"
    r"|\s+(?:is|are|was|would be|must be|should be|has to be|will be|remains)\b\s*:?)"
)
_ADVERBS = (
    r"(?:\s*\b(?:therefore|thus|then|hence|clearly|indeed|definitely|most likely|likely|probably"
    r"|simply|just|actually|also|still|now|both|either|all of|the)\b,?){0,3}"
)
_GOOD = r"(?:correct|right|best|final|proper|appropriate|accurate|true|valid)"
_LEAD = rf"{_ADVERBS}\s*(?:{_NOUN}\s*:?\s*)?\Z"
# What stands right before a stated letter.
_BEFORE = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\banswers?\b(?:\s+[\w']+){{0,6}}?(?:,[^,\n]{{0,40}},)?(?:{_IS}|\s*[-–—]\s){_LEAD}",
        rf"\bi\s+(?:think|believe|guess)(?:\s+(?:that\s+)?it(?:'s|\s+is))?{_LEAD}",
        r"(?:答案|选项|应选|故选|选择|选)\s*(?:是|为)?\s*:?\s*\Z",
        rf"\b(?:option|choice|letter|selection|pick)\b(?:\s+(?:here|for this))?{_IS}{_LEAD}",
        rf"\b{_GOOD}\s+(?:one|options|choices|statements?|letters){_IS}{_LEAD}",
        rf"\b(?:choose|chose|pick|picked|select|selected|opt for|go with|going with|settle on"
        rf"|i(?:\s+would|'d|\s+will|'ll)?\s+(?:say|answer)){_LEAD}",
        rf"####{_LEAD}",
        r"\bnone of (?:the above|these)\s*\Z",
        r"\b(?:respuesta|réponse|antwort|risposta|resposta)"
        r"(?:\s+(?:correcta|correcte|corretta|correta|final|finale)){0,2}"
        r"(?:\s*:|\s+(?:es|est|ist|lautet|è|é))\s*(?:(?:la\s+)?(?:opción|option|lettre)\s+)?\Z",
        r"(?<!неправильный )(?<!неверный )\b(?:ответ|відповідь|cevap|odpowiedź|odpověď|antwoord"
        r"|svar|jawaban|đáp án|răspuns|απάντηση|الإجابة|الجواب|תשובה|उत्तर|คำตอบ)\s*[:–—-]\s*\Z",
        r"(?<!不)(?:正解|正答|答え|解答|回答)\s*(?:は|:)\s*[、,]?\s*(?:選択肢)?\s*\Z|(?<!오)답(?:은|:)?\s*:?\s*\Z",
        rf"\bnot\s+(?:{_NOUN}\s+)?\(?[a-z]\)?,?\s+but\s+(?:rather\s+|instead\s+)?(?:{_NOUN}\s+)?\Z",
    )
)
_CONCLUDED = re.compile(
    rf"(?:,\s*but\s+(?:it|that)(?:'s|\s+is){_LEAD}"
    rf"|\A(?!.*\b(?:if|unless|when|suppose)\b).*(?:\bnot|n['’]t|\bcannot)\b[^;,]{{0,40}}[;,]\s*(?:it|that)(?:['’]s|\s+is){_LEAD}"
    rf"|\A\s*(?:=>|->|→|⇒|∴|(?:final|solution|correct|result|conclusion|choice)\s*:){_LEAD}"
    rf"|\A\s*(?:it|that)(?:'s|\s+is|\s+must be){_LEAD}"
    rf"|(?:\A|[,;:.!\n-]\s*|\b(?:and|but)\s+)(?:i mean|so|thus|hence|therefore|∴|actually"
    r"|no|wait|rather|instead|correction|finally|then|answer)\b[,:]?(?:\s*(?:no|wait)\b[,:]?)?"
    rf"(?:\s*(?:it|that|this)(?:'s|\s+is|\s+must be|\s+has to be))?{_LEAD})",
    re.IGNORECASE,
)
_AFTER = re.compile(
    rf"[.):]?\s+(?:is|are|was|must be|has to be|would be|seems|remains)\s+(?:(?:therefore|thus|then"
    rf"|hence|clearly|indeed|definitely|the|my|our|most|only|both|{_GOOD})\s+){{0,4}}"
    rf"(?:{_GOOD}|answers?|one)\b(?!\s+(?:only\s+)?(?:if|about|that|to)\b)(?!\s*\?)"
    rf"|[.):]?\s+as\s+(?:the|my|our)\s+(?:{_GOOD}\s+){{0,2}}(?:answer|choice|option)\b(?!\s*\?)",
    re.IGNORECASE,
)
_LED_ALONE = re.compile(rf"\s*(?:(?:both|either|{_NOUN})\s*:?)?\s*", re.IGNORECASE)
_WEAK_BEFORE = re.compile(
    r"\b(?:is|matches|means|gives|(?:corresponds|equal|equals|leads|points) to)"
    rf"\s+{_NOUN}\s*\Z",
    re.IGNORECASE,
)
_DENIED_BEFORE = re.compile(
    r"\b(?:not|nor|neither|isn't|than|if|whether|suppose|eliminate|exclude|reject)"
    rf"\s+(?:{_NOUN}\s+)?\Z"
    r"|(?:\b(?:if|suppose|supposing|assume|assuming|whether|unless)"
    r"|(?:\bnot|n't|n’t|\bnever|\bdoubt)(?:\s+(?:think|believe|true|sure|certain|clear|say|mean"
    r"|necessarily|likely|be|the case)){0,2})"
    r"(?:\s+that)?\s+(?:\w+\s+){0,2}(?:choose|pick|select|go with|"
    rf"{_NOUN}\b.*)\Z",
    re.IGNORECASE,
)
_DENIED_AFTER = re.compile(
    r"\s*\?|[.):]?,?\s*(?:(?:which\s+|but\s+(?:that|this|it)\s+)?(?:is|was|are|seems|looks|must be"
    r"|would be|can(?:not)? be)"
    r"\s+(?:\w+ly\s+)?(?:wrong|incorrect|false|not\b|invalid|impossible|eliminated|out\b|excluded"
    r"|ruled)|\s*(?:では|じゃ|ですか|가\s*아|이\s*아|는\s*아|입니까|不|吗)"
    r"|(?:isn|aren|wasn|can|doesn|does not|cannot)\b)",
    re.IGNORECASE,
)
_SMALL = re.compile(
    r"(?:\b(?i:answer|option|choice)\s*(?::|(?i:is)\s*:?)?\s*(?i:(?:option|choice)\s+)?|\A[\s.)]*)([a-z])\s*[.)]?\s*(?=\n|\Z)"
)
_TICK = r"[✅✓✔☑]\ufe0f?"
_TICKED = re.compile(
    rf"^ *(?:{_TICK} ?\(?([A-J])(?:[).][^\n✅✓✔☑]{{0,200}}?)?"
    rf"|\(?([A-J])(?:[).:][^\n✅✓✔☑]{{0,200}}?)? ?{_TICK})"
    r"[.! ]*$",
    re.MULTILINE,
)
_FITS = re.compile(
    r"(?:\A|[.!?,;]\s|\n|\b(?:so|thus|hence|therefore)\s)\s*(only\s+)?(?:option|choice)"
    r"\s+\(?(?-i:([A-J]))\)?\s+(?:matches|fits|works)"
    r"(?(1)(?!\s+(?:if|when|in|no|none|neither|nothing|part)\b)[^.?\n]{0,60}"
    r"|(?:\s+(?:best|exactly|perfectly))?)(?:[.!](?=\s)|[.!]?\s*(?:\n|\Z))",
    re.IGNORECASE,
)
# A line of its own, before the text of its choice.
_FIRST = re.compile(
    r"\A\s*\(?([A-HJ])[).]*\s*\n(?!(?:is|was|can|does)|.*^\s*\(?[A-J](?:[).:]|\s*$))",
    re.DOTALL | re.MULTILINE,
)
# "Vitamin A is the best" speaks of no letter.
_LED = re.compile(
    rf"(?:\A|[,;:)]|\b(?:{_NOUN}|and|but|so|thus|hence|therefore|then|that|think|believe|only|both"
    r"|because|since|as|while))\s*\Z",
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"^[ \t]*(?:\(([A-Za-z])\)|([A-Z])[).]|([B-Z]):|([A-Z])\s+[-–])(?=\s|\w\w)", re.MULTILINE
)
_SMALL_LIST = rf"\(?[A-Za-z]\)?(?:(?:{_JOIN}|\s+)\(?[A-Za-z]\)?){{1,9}}(?=\s*[.)]?\s*\Z)"
_IN_BOX = re.compile(
    r"\s*(?:(?i:both|either|all of)\s+)?"
    rf"(?:(?i:the\s+)?(?i:{_GOOD}\s+)?(?i:{_NOUN})\s*(?:(?i:is)\b)?\s*:?\s*)?"
    rf"(?P<letters>[A-J]{{2,6}}(?=\s*\Z)|{_SMALL_LIST}"
    r"|\(\s*[A-Za-z]\s*\)|[A-Za-z](?=[).:]|\s*\Z)|[A-Z](?=\s*\n|\s+[-–]))(?P<text>.*)",
    re.DOTALL,
)
_SECOND_LABEL = re.compile(r"(?:,|;|\band\b|\bor\b|&)\s*(?:\(([A-J])\)|([A-J])[).:])\s*\S")


class _Said(NamedTuple):
    """The letters of a statement, and where it ends."""

    end: int
    letters: str


def _letters(mention: str) -> str:
    """The letters of a mention in capitals, each once."""
    alone = re.sub(rf"(?i)\b(?:{_NOUN}|and|or)\b", " ", mention)
    return "".join(dict.fromkeys(letter.upper() for letter in _LETTER.findall(alone)))


def _plain(text: str) -> str:
    """Without the marks of Markdown and LaTeX, and in plain letters."""
    return _MARKS.sub(" ", unicodedata.normalize("NFKC", text))


def _boxed_letters(content: str) -> str | None:
    match = _IN_BOX.match(_plain(content))
    if match is None:
        return None
    second = _SECOND_LABEL.search(match["text"])
    return _letters(match["letters"]) + (second[second.lastindex or 0] if second else "")


def _prepared(part: str) -> str:
    """The end of the answer in plain letters, each box replaced by the letters that it holds."""
    part = part.translate({0x2039: "<", 0x203A: ">"})
    pieces, at = [], max(0, len(part) - MOST_CHARS)
    for box in all_boxed(part)[-MOST_LETTERS:]:
        if box.start < at:
            continue
        letters = _boxed_letters(part[box.begin : box.end][:MOST_CHARS])
        pieces += [_plain(part[at : box.start]), f" ‹{letters}› " if letters else " "]
        at = box.stop
    text = _DOUBLY.sub(r"‹\1›", "".join([*pieces, _plain(part[at:])]))
    # A letter may stand on the line after "Answer:".
    return re.sub(r"(?<=[:=])[ \t]*\n\s*", " ", re.sub(r"[ \t\xa0]+", " ", text))


def _find(part: str) -> str | None:
    text = _prepared(part)
    mentions = list(_MENTION.finditer(text))[-MOST_LETTERS:]
    said = [_Said(m.end(), m[1].upper()) for m in list(_SMALL.finditer(text))[-1:]]
    said += [_Said(m.end(), _letters(m[0])) for m in mentions if _is_stated(text, m)]
    if said:
        return max(said).letters
    for mention in reversed(mentions):
        before = text[max(0, mention.start() - _NEAR_CHARS) : mention.start()]
        if _WEAK_BEFORE.search(before) and not _is_denied(text, mention):
            return _letters(mention[0])
    for hint in (_TICKED, _FITS, _FIRST):
        hinted = {found[found.lastindex or 0] for found in hint.finditer(text)}
        if hinted:
            return hinted.pop() if len(hinted) == 1 else None
    labels = _LABEL.findall(text)
    only = _LABEL.search(text)
    if only is None or len(labels) > 1 or _DENIED_AFTER.match(text, only.end()):
        return None
    first = not text[: only.start()].strip()
    last = "\n" not in text[only.end() :].strip()
    return "".join(labels[0]).upper() if first or last else None


def _is_stated(text: str, mention: re.Match[str]) -> bool:
    begin, end = mention.span()
    before = re.split(r"[.!?]\s|\n", text[max(0, begin - _NEAR_CHARS) : begin])[-1]
    if _is_denied(text, mention):
        return False
    if mention[0].startswith("‹"):
        return True
    if not mention[0].startswith("(") and _ARTICLE.match(text, end) and not _AFTER.match(text, end):
        return False
    if _lists(text, mention):
        return False
    if any(pattern.search(before) for pattern in _BEFORE):
        return True
    if _AFTER.match(text, end) and (mention[0].startswith("(") or _LED.search(before)):
        return True
    if _CONCLUDED.search(before) and re.match(_ENDS, text[end : end + _NEAR_CHARS]):
        return True
    if not text[:begin].strip() and re.match(r",?\s*(?:because|since)\b", text[end:]):
        return True
    # A last line of its own.
    return _LED_ALONE.fullmatch(before) is not None and not text[end:].strip(" .)!\n\t")


def _is_denied(text: str, mention: re.Match[str]) -> bool:
    before = re.split(
        r"[.!?;]\s|\n|,", text[max(0, mention.start() - _NEAR_CHARS) : mention.start()]
    )[-1]
    return bool(_DENIED_BEFORE.search(before) or _DENIED_AFTER.match(text, mention.end()))


def _lists(text: str, mention: re.Match[str]) -> bool:
    """Whether it is the label of the first of several options, as in the question."""
    letters = _letters(mention[0])
    after = text[mention.end() - 1 : mention.end() + 4 * _NEAR_CHARS]
    following = re.escape(chr(ord(letters[-1]) + 1))
    return bool(
        re.match(r".?[).:][ \t]*\S", after) and re.search(rf"[\s(]{following}[).:]\s", after)
    )


def grade(text: str, answer: str) -> Verdict:
    """CORRECT if the letter found is the gold one; UNPARSED if none is found.

    A gold answer that is not one letter, alone or with its mark, cannot be graded: UNGRADED.
    """
    gold = answer.strip().strip("().: ")
    if not (len(gold) == 1 and gold.isascii() and gold.isalpha()):
        return Verdict(grade=Grade.UNGRADED)
    part = answer_part(text)
    found = _find(part) if part else None
    if found is None:
        return Verdict(grade=Grade.UNPARSED)
    return Verdict(
        grade=Grade.CORRECT if found == gold.upper() else Grade.WRONG, extracted=", ".join(found)
    )
