"""From a step's advantages to those of its tokens, where the recipe credits tokens apart."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Shaped

from tersely.algo import credit
from tersely.core.errors import EngineError
from tersely.flows.recipe.shaping import GradedView, ShapedStep, Shaping


def credited(
    shaping: Shaping, graded_views: Sequence[GradedView], shaped: ShapedStep
) -> ShapedStep:
    """The step with an advantage for each token; as it is where the recipe has no ``[credit]``.

    Raises:
        EngineError: it is not known where a rollout's answer stands.
    """
    if shaping.credit is None:
        return shaped
    right_N = _spread(graded_views, "right_G", np.bool_)
    tokens_N = _spread(graded_views, "tokens_G", np.int64)
    step = credit.CreditStep(
        advantage_N=np.where(shaped.keep_N, shaped.advantage_N, 0.0),
        right_N=right_N,
        keep_N=shaped.keep_N,
        tokens_N=tokens_N,
        excess=credit.excess_of(
            right_N=right_N,
            finished_N=_spread(graded_views, "finished_G", np.bool_),
            tokens_N=tokens_N,
            thinking_N=_spread(graded_views, "thinking_G", np.int64),
            first_right_N=_spread(graded_views, "first_right_G", np.int64),
        ),
        layout=shaped.layout,
        cap_tokens=shaping.cap_tokens,
    )
    made = credit.load(shaping.credit)(step, **shaping.credit_parameters)
    return shaped._replace(advantage_N=made.advantage_N, token_advantages=made.tokens)


def _spread(
    graded_views: Sequence[GradedView], field: str, kind: type[np.generic]
) -> Shaped[np.ndarray, " N"]:
    """A field of all groups, group after group; 0 for ungraded rollouts."""
    parts = []
    for each in graded_views:
        known_G = getattr(each.view, field)
        if known_G is None:
            raise EngineError(
                f"credit needs {field} of problem {each.view.problem!r}, which was not counted: "
                "the engine does not tell the tokens' texts; leave [credit] out"
            )
        part_G = np.zeros(len(each.graded_G), dtype=kind)
        part_G[each.graded_G] = known_G
        parts.append(part_G)
    return np.concatenate(parts)
