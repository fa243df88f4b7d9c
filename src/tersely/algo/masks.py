"""The four cells of a group, correct or wrong and short or long, each with a value or masked."""

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from tersely.core.errors import ConfigError
from tersely.core.types import GroupView

MASKED: Final = None


class Treated(NamedTuple):
    """A group's reward, and which rollouts the loss may use."""

    reward_G: Float[np.ndarray, "... G"]
    keep_G: Bool[np.ndarray, "... G"]


@dataclass(frozen=True, slots=True)
class Cells:
    """The reward of each of the four cells, or MASKED.  Source: arXiv:2602.20945, Table 1.

    Short is ``tokens <= target``, as in ``rewards.truncation``. A rollout that was cut by the cap
    is wrong unless unfinished ones are paid; with the cap at the target it is also short.

    Raises:
        ConfigError: if every wrong cell and the long correct one are masked, or a value is not
            finite.
    """

    correct_short: float | None
    correct_long: float | None
    wrong_short: float | None
    wrong_long: float | None

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if value is not MASKED and not math.isfinite(value):
                raise ConfigError(f"cell {name} is {value}; give a finite number or mask it")
        if self.correct_long is self.wrong_short is self.wrong_long is MASKED:
            raise ConfigError(
                "all wrong rollouts and the overlong correct ones are masked: the loss would see "
                "short correct rollouts only and learn that short is correct, the trap in which "
                "entropy explodes and length collapses (arXiv:2602.20945, Section 3.2); pay "
                "wrong_long or wrong_short, with 0 for instance"
            )


# Table 1's rows. NO_WRONG and NO_LONG_CORRECT_NO_SHORT_WRONG are the two that collapsed in the
# paper after some 400 steps: whatever is negative in them is long, so short looks correct.
VANILLA: Final = Cells(1.0, 0.0, 0.0, 0.0)
NO_WRONG: Final = Cells(1.0, 0.0, MASKED, MASKED)
NO_LONG_CORRECT: Final = Cells(1.0, MASKED, 0.0, 0.0)
NO_LONG_CORRECT_NO_SHORT_WRONG: Final = Cells(1.0, MASKED, MASKED, 0.0)
NO_LONG_CORRECT_NO_LONG_WRONG: Final = Cells(1.0, MASKED, 0.0, MASKED)

STRATEGIES: Final[Mapping[str, Cells]] = MappingProxyType(
    {
        "vanilla": VANILLA,
        "no-wrong": NO_WRONG,
        "no-long-correct": NO_LONG_CORRECT,
        "no-long-correct-no-short-wrong": NO_LONG_CORRECT_NO_SHORT_WRONG,
        "no-long-correct-no-long-wrong": NO_LONG_CORRECT_NO_LONG_WRONG,
    }
)


def treat(g: GroupView, cells: Cells) -> Treated:
    """Each rollout's cell value, and whether it is kept; a masked one is paid as VANILLA pays it.

    What a masked rollout is paid matters only under ``MaskScope.LOSS_ONLY``, where it still counts
    in the group's mean and std; the paper does not say, and the vanilla row is the task's own
    reward. A group whose kept rollouts are all of one value has zero advantage.

    Raises:
        ConfigError: if the group has no target.
    """
    if np.isnan(g.target_tokens).any():
        raise ConfigError("cells need a target to tell short from long; give the recipe a target")
    cell_G = 2 * ~g.right_G + (g.tokens_G > g.target_tokens)
    values = astuple(cells)
    paid = [
        plain if value is MASKED else value
        for value, plain in zip(values, astuple(VANILLA), strict=True)
    ]
    kept = [value is not MASKED for value in values]
    return Treated(np.array(paid, dtype=np.float64)[cell_G], np.array(kept)[cell_G])
