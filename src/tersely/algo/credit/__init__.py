"""Floor 1: which tokens of a rollout its advantage reaches; one rule a file.

A rule is found by its file, as a loss is: ``credit/after_right.py`` holds ``after_right`` and a
recipe says ``after_right``. It gives every token an advantage of its own, ``(step, *, ...) ->
Credit``, over all groups of a step. Weights, masks and denominators of the loss stay as they are:
a token without an advantage still counts in a mean over tokens.

Rules treat a rollout's *excess* otherwise than the rest: what it writes after its right answer
first stands. See ``excess_of``. A file may declare beside its function:

``FROM_VERDICTS: bool``
    It makes the advantages from verdicts itself, whatever the recipe's reward and advantage. No
    declaration: it changes those that the recipe makes.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int

from tersely.algo.ragged import Ragged
from tersely.core import lookup


class Excess(NamedTuple):
    """The tokens ``begin <= t < end`` of each rollout; none where both are equal."""

    begin_N: Int[np.ndarray, " N"]
    end_N: Int[np.ndarray, " N"]


class CreditStep(NamedTuple):
    """A step's rollouts, group after group, as a rule sees them.

    Args:
        advantage_N: each rollout's, 0 where it is masked.
        right_N: right by the verifier.
        keep_N: kept by the loss.
        tokens_N: completion tokens, stop token included; 0 where a rollout is ungraded.
        cap_tokens: the sampling cap L_R.
    """

    advantage_N: Float[np.ndarray, " N"]
    right_N: Bool[np.ndarray, " N"]
    keep_N: Bool[np.ndarray, " N"]
    tokens_N: Int[np.ndarray, " N"]
    excess: Excess
    layout: Ragged
    cap_tokens: float


class Credit(NamedTuple):
    """What a rule makes of a step.

    Args:
        advantage_N: for records, and 0 where no token of the rollout has one.
        tokens: one array a rollout, of its tokens' advantages.
    """

    advantage_N: Float[np.ndarray, " N"]
    tokens: tuple[np.ndarray, ...]


CreditRule: TypeAlias = Callable[..., Credit]


def available() -> list[str]:
    """The names of all rules, sorted: the files of this folder."""
    return lookup.names(__name__)


def load(name: str) -> CreditRule:
    """The rule of the file ``name``; ConfigError if there is none."""
    return lookup.load(__name__, name)


def from_verdicts(name: str) -> bool:
    """Whether the rule makes the advantages from verdicts itself; ConfigError if unknown."""
    return bool(lookup.declared(__name__, name, "FROM_VERDICTS", False))


def check(name: str, settings: Mapping[str, object]) -> dict[str, object]:
    """The settings as the rule ``name`` takes them; ConfigError if one is unknown or too far."""
    return lookup.check(__name__, name, settings)


def excess_of(
    *,
    right_N: Bool[np.ndarray, " N"],
    finished_N: Bool[np.ndarray, " N"],
    tokens_N: Int[np.ndarray, " N"],
    thinking_N: Int[np.ndarray, " N"],
    first_right_N: Int[np.ndarray, " N"],
) -> Excess:
    """Where each right rollout goes on although its answer stands.

    From the token after a right answer first stood to the end of the thinking, or of the rollout if
    it stood in the reply. The mark that ends the thinking and the stop token are no excess: they
    are what ends it; nor is a reply after the thinking, without which nothing is graded. A
    rollout that is not right has none.

    Args:
        thinking_N: tokens up to the end of the thinking, its mark of one token included; 0 without
            any.
        first_right_N: tokens until a right answer first stands.
    """
    limit_N = np.where(first_right_N < thinking_N, thinking_N, tokens_N)
    end_N = limit_N - ((limit_N < tokens_N) | finished_N)
    end_N = np.where(right_N, end_N, 0)
    return Excess(begin_N=np.minimum(first_right_N, end_N), end_N=end_N)
