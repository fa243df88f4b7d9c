"""A target length of each problem's own, which its prompt states."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Annotated

import numpy as np
from annotated_types import Ge

from tersely.core.errors import ConfigError
from tersely.core.types import GroupView
from tersely.targets import Target, TargetState

NEEDS = frozenset({"problem"})
PHRASE = " Think for {tokens} tokens."


def prompt_budget(
    state: TargetState,
    groups: Sequence[GroupView],
    *,
    low_tokens: Annotated[int, Ge(1)] = 100,
    high_tokens: Annotated[int, Ge(1)] = 4000,
    phrase: str = PHRASE,
) -> Target:
    """``L_T`` ~ uniform on ``[low_tokens, high_tokens]``, drawn once for each problem.

    The draw is a function of the problem's id, so it is the same in every epoch and process, and
    there is no state. Source: arXiv:2503.04697 (L1), which draws from 100 to 4,000 and states
    "Think for n tokens."; for its second method "Think for maximum n tokens.".

    Args:
        state: passed on as it is.
        low_tokens: least budget.
        high_tokens: greatest, >= ``low_tokens``.
        phrase: what is put after the prompt; ``{tokens}`` stands for the budget.
    Raises:
        ConfigError: ``high_tokens`` is too low, or the phrase does not state the budget.
    """
    if high_tokens < low_tokens:
        raise ConfigError(
            f"target.high_tokens = {high_tokens} is below target.low_tokens = {low_tokens}; "
            f"set it to {low_tokens} or more"
        )
    if "{tokens}" not in phrase:
        raise ConfigError(
            f"target.phrase = {phrase!r} does not state the budget; put {{tokens}} into it"
        )
    drawn = [budget_of(g.problem, low_tokens=low_tokens, high_tokens=high_tokens) for g in groups]
    return Target(np.array(drawn, dtype=np.float64), state)


def budget_of(problem: str, *, low_tokens: int, high_tokens: int) -> int:
    """The budget in tokens of the problem with this id."""
    drawn = int.from_bytes(blake2b(problem.encode(), digest_size=8).digest(), "big")
    return low_tokens + drawn % (high_tokens - low_tokens + 1)


def announced(
    prompt: str,
    problem: str,
    *,
    low_tokens: int = 100,
    high_tokens: int = 4000,
    phrase: str = PHRASE,
) -> str:
    """The prompt with its budget stated; ``problem`` is its id."""
    budget = budget_of(problem, low_tokens=low_tokens, high_tokens=high_tokens)
    return prompt + phrase.replace("{tokens}", str(budget))
