"""What a reward pays over length, in a stated group."""

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tersely import rewards
from tersely.core import lookup
from tersely.core.errors import ConfigError
from tersely.core.types import GroupView

# Lengths at which a curve is drawn, up to the cap.
POINTS = 160
_MEMBER = re.compile(r"([rw])([0-9]{1,12})")


class RewardFacts(NamedTuple):
    """The facts about a reward that ``tersely rewards`` lists."""

    name: str
    formula: str
    source: str
    parameters: str
    needs: str


class CurvePoint(NamedTuple):
    """The reward of one more rollout of that length in the group."""

    tokens: int
    right: bool
    reward: float


def describe_rewards() -> list[RewardFacts]:
    """Every reward by name, as its docstring, its signature and its declarations tell."""
    facts = []
    for name in rewards.available():
        function = rewards.load(name)
        text = " ".join((inspect.getdoc(function) or "").split())
        # A full stop before a capital ends it: "Eq. 2" does not.
        source = re.search(r"Source: (.*?)(?:;|\. (?=[A-Z])|\.?$)", text)
        facts.append(
            RewardFacts(
                name=name,
                formula=re.split(r"\.? +Source:|\. ", text)[0].replace("``", ""),
                source=source[1] if source else "",
                parameters=", ".join(map(lookup.describe, lookup.parameters(function).values())),
                needs=", ".join(
                    sorted(rewards.needs(name))
                    + [f"{field} where given" for field in sorted(rewards.takes(name))]
                ),
            )
        )
    return facts


def read_group(text: str) -> list[tuple[bool, int]]:
    """The members of a group written like ``r20 r60 w40``: right or wrong, and tokens.

    Raises:
        ConfigError: a member is not written like that.
    """
    members = []
    for word in text.replace(",", " ").split():
        match = _MEMBER.fullmatch(word)
        if not match:
            raise ConfigError(f"group member {word!r} is not r or w and a length; write r20 w40")
        members.append((match[1] == "r", int(match[2])))
    return members


def trace_reward(
    name: str,
    parameters: Mapping[str, object],
    members: Sequence[tuple[bool, int]],
    *,
    target_tokens: float,
    cap_tokens: int,
) -> list[CurvePoint]:
    """The reward of a right and of a wrong rollout of each length, beside the stated members.

    A rollout as long as the cap was cut by it. Lengths of a reference and the price of length, for
    rewards that need them, are those of a typical run: half the cap, half right, 1 / cap.

    Raises:
        ConfigError: the reward or a setting is unknown or out of bounds.
    """
    rewards.check(name, parameters)
    parameters = rewards.typed(name, parameters)
    lengths = np.unique(np.linspace(1, cap_tokens, POINTS).round().astype(np.int64))
    curve = []
    for right in (True, False):
        for tokens in lengths.tolist():
            rows = [*members, (right, tokens)]
            tokens_G = np.array([row[1] for row in rows])
            finished_G = tokens_G < cap_tokens
            g = GroupView(
                correct_G=np.array([row[0] for row in rows]) & finished_G,
                tokens_G=tokens_G,
                finished_G=finished_G,
                formatted_G=finished_G,
                target_tokens=target_tokens,
                cap_tokens=float(cap_tokens),
                weight=1.0 / cap_tokens,
                reference_tokens=cap_tokens / 2,
                reference_accuracy=0.5,
                thought_G=np.ones(len(rows), dtype=bool),
                thinking_G=tokens_G,
                first_right_G=tokens_G,
            )
            curve.append(CurvePoint(tokens, right, float(rewards.load(name)(g, **parameters)[-1])))
    return curve
