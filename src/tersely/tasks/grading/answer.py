"""Finding the final answer in a completion, outside its thinking."""

END_THINK, THINK, BOXED = "</think>", "<think>", "\\boxed{"


def answer_part(text: str) -> str | None:
    """What follows the last ``</think>``; the whole text if no thinking was opened; None if the
    thinking never closed."""
    before, mark, after = text.rpartition(END_THINK)
    if mark:
        return after.strip()
    return None if THINK in text else text.strip()


def last_boxed(text: str) -> str | None:
    """The content of the last closed ``\\boxed{...}``, nested braces kept; None without one."""
    start = text.rfind(BOXED)
    while start >= 0:
        depth, begin = 1, start + len(BOXED)
        for place in range(begin, len(text)):
            depth += {"{": 1, "}": -1}.get(text[place], 0)
            if depth == 0:
                return text[begin:place].strip()
        start = text.rfind(BOXED, 0, start)
    return None
