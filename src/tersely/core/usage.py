"""How many tokens a completion has, from what its server says it used and what arrived of it.

Servers differ in whether ``completion_tokens`` counts the thinking. Nothing is believed that the
other counts or the text itself contradict.
"""

import re
from typing import NamedTuple

# A token holds at most one run of letters or of digits, in nearly all vocabularies: not in those
# that join words, which hold up to a quarter fewer tokens than runs.
_RUN = re.compile(r"[^\W\d_]+|\d+")
# These write words without spaces between them; a token holds few characters of them.
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
UNSPACED_CHARS = 4
JOINED_WORDS = 1.25
# So many tokens are within what templates, stop tokens and another splitting of a text explain.
SLACK_TOKENS = 8
SLACK_SHARE = 0.05


class Usage(NamedTuple):
    """The token counts that a server reports; None where it reports none.

    Args:
        completion: of the completions; with the thinking at most servers, without it at others.
        prompt: of the prompt.
        total: of everything.
        reasoning: of the thinking, by itself.
        cached: of the prompt, read from or written to a cache; in ``prompt`` or beside it.
    """

    completion: int | None
    prompt: int | None = None
    total: int | None = None
    reasoning: int | None = None
    cached: int = 0


class Received(NamedTuple):
    """What arrived, as numbers of tokens.

    Args:
        least: fewest that thinking and answer can be, as :func:`least_tokens` says.
        least_answer: the same of the answer alone.
        own: by a tokenizer of our own; None without one, or where thinking was kept back.
    """

    least: int
    least_answer: int
    own: int | None = None


class Counted(NamedTuple):
    """A count and how it was found, empty if it is the server's; or None and why there is none."""

    tokens: int | None
    how: str = ""


def least_tokens(text: str) -> int:
    """A number of tokens that the text cannot be much below: its runs of letters and of digits.

    Scripts without spaces count one for every four characters. At least 1 for a text that is not
    empty.
    """
    runs = len(_RUN.findall(text)) + len(_UNSPACED.findall(text)) // UNSPACED_CHARS
    return runs or bool(text.strip())


def completion_tokens(usage: Usage, *, received: Received) -> Counted:
    """The tokens of thinking and answer together.

    Where prompt + completion is below the total, the difference is thinking that was left out,
    unless it is the cached prompt. Thinking that is counted by itself, and for which the
    completion's count has no room beside the answer, is added. A count that is far too small for
    what arrived, or that the total contradicts, gives way to ``received.own``; without that there
    is none.
    """
    stated = _stated(usage, least_answer=received.least_answer)
    if stated.tokens is not None and not _is_too_small(stated.tokens, received):
        return stated
    if received.own is not None:
        return Counted(received.own, "counted with the tokenizer")
    if stated.tokens is None:
        return stated
    return Counted(
        None,
        f"{stated.tokens} tokens for a text of {received.least} words and numbers or more: "
        "thinking is left out of the count",
    )


def thinking_tokens(
    reasoning: int | None, *, tokens: int, least: int, least_reply: int, own: int | None = None
) -> int | None:
    """The tokens of the thinking alone, of ``tokens`` in all; None where they cannot be told.

    The server's count of them is believed where it is no more than all, leaves room for what
    follows the thinking, and is not far too small for the thinking that arrived. It may leave out
    the marks around it. Otherwise ``own`` stands.

    Args:
        least: fewest that the thinking that arrived can be, as :func:`least_tokens` says.
        least_reply: the same of what follows it.
        own: by a tokenizer of our own, where all of the thinking arrived.
    """
    if reasoning is not None and 0 <= reasoning <= tokens + 2:
        room = tokens - reasoning + max(2, int(tokens * SLACK_SHARE))
        if least_reply / JOINED_WORDS <= room and not _is_too_small(
            reasoning, Received(least=least, least_answer=0, own=own)
        ):
            return min(reasoning, tokens)
    return None if own is None else min(own, tokens)


def _is_too_small(tokens: int, received: Received) -> bool:
    """A tokenizer of our own splits a text almost as the server's did."""
    least, own = received.least, received.own
    if own is not None and tokens + SLACK_TOKENS < own * (1 - SLACK_SHARE):
        return True
    too_few = tokens + SLACK_TOKENS < least and tokens * JOINED_WORDS < least
    return too_few or (tokens == 0 < least)


def is_too_small_for(own: int, *, tokens: int) -> bool:
    """Whether a text of ``own`` tokens by a tokenizer of our own cannot be all of ``tokens``."""
    return own + SLACK_TOKENS < tokens * (1 - SLACK_SHARE)


def _stated(usage: Usage, *, least_answer: int) -> Counted:
    """What the counts say by themselves."""
    completion, prompt, total, reasoning, _ = usage
    counts = {"completion": completion, "prompt": prompt, "total": total, "reasoning": reasoning}
    for name, count in counts.items():
        if count is not None and count < 0:
            return Counted(None, f"it counts {count} {name} tokens")
    if not total or prompt is None:  # 0 stands for what was never filled in
        if completion is None:
            return Counted(None, "it has no usage.completion_tokens")
        return _with_reasoning(completion, reasoning or 0, least_answer=least_answer)
    if usage.cached > prompt:  # then it is beside it
        prompt += usage.cached
    spent = total - prompt
    if completion is None:
        how = "total less prompt tokens" if spent >= 0 else "a total below the prompt's"
        return Counted(spent if spent >= 0 else None, how)
    return _by_total(usage, completion, spent, least_answer=least_answer)


def _with_reasoning(completion: int, reasoning: int, *, least_answer: int) -> Counted:
    """The completion's count, and the thinking's where it has no room beside the answer."""
    slack = max(2, int(completion * SLACK_SHARE))
    if reasoning + least_answer / JOINED_WORDS <= completion + slack:
        return Counted(completion)
    return Counted(completion + reasoning, "completion and reasoning tokens")


def _by_total(usage: Usage, completion: int, spent: int, *, least_answer: int) -> Counted:
    """The completion's count beside ``spent``, the total without the prompt."""
    reasoning = usage.reasoning or 0
    left = spent - completion
    # The prompt may be without its cached part, or the total may be.
    for unexplained in (left, left - usage.cached, left + usage.cached):
        if unexplained == 0:
            return _with_reasoning(completion, reasoning, least_answer=least_answer)
        if unexplained == reasoning:
            return Counted(completion + reasoning, "completion and reasoning tokens")
    slack = max(SLACK_TOKENS, int(reasoning * SLACK_SHARE))
    if left > 0 and (reasoning == 0 or 0 <= left - reasoning <= slack):
        return Counted(spent, "total less prompt tokens")
    parts = f"prompt {usage.prompt} + completion {completion}"
    if reasoning:
        parts += f", reasoning {reasoning}"
    return Counted(None, f"its counts do not add up: {parts}, total {usage.total}")
