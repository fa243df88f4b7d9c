"""Floor 1: one published length-aware reward a file; pure numpy functions of a ``GroupView``.

A reward is found by its file: ``rewards/truncation.py`` holds ``truncation`` and a recipe says
``truncation``. Its keyword-only arguments are what a recipe may set.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from tersely.core import found

Reward: TypeAlias = Callable[..., Float[np.ndarray, " G"]]


def available() -> list[str]:
    """The names of all rewards, sorted: the files of this folder."""
    return found.names(__name__)


def load(name: str) -> Reward:
    """The reward function of the file ``name``; ConfigError if there is none."""
    return found.load(__name__, name)


def check(name: str, settings: Mapping[str, object]) -> None:
    """ConfigError unless the reward ``name`` takes exactly these ``settings``."""
    found.check(__name__, name, settings)
