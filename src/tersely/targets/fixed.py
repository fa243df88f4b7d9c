"""A target length that never moves."""

from collections.abc import Sequence

import numpy as np

from tersely.core.errors import ConfigError
from tersely.core.types import GroupView
from tersely.targets import Target, TargetState


def fixed(state: TargetState, groups: Sequence[GroupView], *, tokens: int) -> Target:
    """``L_T = tokens`` for every group and step.  Source: arXiv:2602.20945, Section 2.1.

    Args:
        state: passed on as it is.
        groups: the graded groups of this step; only their number matters here.
        tokens: the target length, >= 1.
    Raises:
        ConfigError: if ``tokens`` is below 1.
    """
    if tokens < 1:
        raise ConfigError(f"target.tokens = {tokens} is below 1; set it to 1 or more")
    return Target(tokens_P=np.full(len(groups), float(tokens)), state=state)
