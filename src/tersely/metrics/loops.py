"""Whether a completion ends in a loop: its last part is one passage over and over."""

REPEATS = 3
LEAST_CHARACTERS = 200
ANCHOR_CHARACTERS = 50
PROBE_CHARACTERS = 1000


def loops(text: str) -> bool:
    """The text ends in one passage written 3 times or more, in all over 200 characters or more.

    The repeats are exact and follow on each other; the last may be cut anywhere. A list whose
    counter moves on is no loop, nor is a passage that comes back with other text between.

    Source: vLLM's ``check_sequence_repetition`` (vllm/v1/core/sched/utils.py), which stops a
    sequence whose tail is ``min_count`` equal patterns of a stated size. Here characters stand for
    tokens, so that every engine and every file is judged alike; a pattern may be as long as a
    third of the text; and 200 characters are asked for, which runs of digits and rules fall short
    of. These two numbers are our own.

    A whole repeat ends as the text does, so that only the distances at which the last 50
    characters stand again are tried: linear in the length but for texts made to be slow.
    """
    backwards = text[::-1]
    most = len(text) // REPEATS
    if len(text) < LEAST_CHARACTERS:
        return False
    anchor, end = backwards[:ANCHOR_CHARACTERS], most + ANCHOR_CHARACTERS
    period = backwards.find(anchor, 1, end)
    while period != -1:
        same = max(REPEATS * period, LEAST_CHARACTERS) - period
        # Most other distances fail soon: a long piece is not copied for them.
        if all(
            backwards[:size] == backwards[period : period + size]
            for size in (min(same, PROBE_CHARACTERS), same)
        ):
            return True
        period = backwards.find(anchor, period + 1, end)
    return False
