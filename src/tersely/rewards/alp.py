"""ALP: each token costs more on prompts that the group solves more often."""

from typing import Annotated

import numpy as np
from annotated_types import Ge
from jaxtyping import Float

from tersely.core.types import GroupView
from tersely.rewards import share_right


def alp(g: GroupView, *, beta: Annotated[float, Ge(0)] = 1e-7) -> Float[np.ndarray, "... G"]:
    """``r_i = 1[right_i] - beta * max(solved, 1 / G) * L_i``, solved = the group's share right.

    Source: arXiv:2506.05256, from summaries that do not agree on the constant N beside beta;
    here beta holds the whole factor. Wrong answers pay for their tokens too, at least at the
    rate 1 / G.

    Dividing advantages by the group's std undoes beta where all are right or all are wrong: any
    beta above 0 then acts alike, and lengths have been reported to collapse. A group of one pays
    beta for each token.

    Args:
        beta: penalty per token on a prompt that is always solved, >= 0; 1e-7 is the value that
            summaries report.
    """
    right_G = g.right_G
    solved = np.maximum(share_right(g), 1.0 / right_G.shape[-1])
    return np.asarray(np.where(right_G, 1.0, 0.0) - beta * solved * g.tokens_G)
