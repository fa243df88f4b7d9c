"""Which way of going on from the beginning of an answer a server takes, found out on one prefix."""

from typing import NamedTuple

from tersely.engines.http.continuing import Prefix, Way
from tersely.engines.http.reply import Said

# What the prompt's end and blanks around the prefix may differ by, in tokens, and by which share.
SLACK_TOKENS, SLACK_SHARE = 8, 0.02
# What a tokenizer may put in front of a text.
TEXT_SLACK_TOKENS = 2.0
# A reply of which so many characters are the prefix's has started over.
REPEATED_CHARS = 12


class Tried(NamedTuple):
    """One way tried: the reply, and the tokens read where it was not asked to go on."""

    prefix: Prefix
    said: Said
    control_tokens: int | None = None


def bound_tokens(tokens: int) -> float:
    """How far the server's count of prompt and prefix may be from ours."""
    return max(float(SLACK_TOKENS), SLACK_SHARE * tokens)


def fault_of(tried: Tried, *, beginning: str) -> str | None:
    """Why the server did not go on from the prefix; None if it did.

    Told by the tokens that it says it has read: the prompt's and the prefix's, and no end of a
    turn after them.

    Args:
        beginning: the text of the prefix, without the prompt.
    """
    prefix, said, read = tried.prefix, tried.said, tried.said.prompt_tokens
    text = (said.reasoning + said.content).lstrip()
    start = beginning.strip()[:REPEATED_CHARS]
    repeats = len(start) == REPEATED_CHARS and text.startswith(start)
    if read is None:
        return "it reports no usage.prompt_tokens, so that whether it went on cannot be told"
    if prefix.tokens is None:
        return "how many tokens the prefix has is not known; give --tokenizer FOLDER"
    if prefix.way is Way.CHAT and read == tried.control_tokens and read > prefix.tokens:
        return "it ignores continue_final_message"
    if repeats:
        return "its reply begins with the prefix again"
    slack = {Way.IDS: 0.0, Way.TEXT: TEXT_SLACK_TOKENS, Way.CHAT: bound_tokens(prefix.tokens)}
    if abs(read - prefix.tokens) > slack[prefix.way]:
        return f"it read {read:,} tokens where prompt and prefix are {prefix.tokens:,}"
    return None
