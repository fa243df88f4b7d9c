"""A target length that never moves."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from annotated_types import Ge

from tersely.core.types import GroupView
from tersely.targets import Target, TargetState


def fixed(
    state: TargetState, groups: Sequence[GroupView], *, tokens: Annotated[int, Ge(1)]
) -> Target:
    """``L_T = tokens`` for every group and step.  Source: arXiv:2602.20945, Section 2.1.

    Args:
        state: passed on as it is.
        groups: the graded groups of this step; only their number matters here.
        tokens: the target length.
    """
    return Target(tokens_P=np.full(len(groups), float(tokens)), state=state)
