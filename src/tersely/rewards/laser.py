"""Laser: a right answer gets a fixed bonus below the target length."""

from typing import Annotated

import numpy as np
from annotated_types import Ge
from jaxtyping import Float

from tersely.core.types import GroupView
from tersely.rewards import Trait, require

NEEDS: frozenset[str] = frozenset({"target_tokens"})
TRAITS: frozenset[Trait] = frozenset({Trait.FEW_KINDS})


def laser(g: GroupView, *, alpha: Annotated[float, Ge(0)] = 0.4) -> Float[np.ndarray, "... G"]:
    """``1[right_i] * (1 + alpha * 1[L_i < target])``.  Source: arXiv:2602.20945, Eq. 5.

    The boundary is exclusive, as printed; the Laser authors' code (hkust-nlp/Laser) includes it
    and adds 0.5 to 1 / -0.5 / -1, which is ``laser_d`` under a fixed target. A long right answer
    keeps its 1, unlike under ``truncation``. All wrong: zeros.

    Args:
        alpha: bonus for a right answer below the target, >= 0.
    """
    require(g, NEEDS)
    return np.where(g.right_G, 1.0 + alpha * (g.tokens_G < g.target_tokens), 0.0)
