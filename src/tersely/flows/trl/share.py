"""What one process of TRL's learns from: its part of a shaped step, put where TRL's loss reads."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from tersely.algo.aggregations import Aggregate
from tersely.core.errors import EngineError
from tersely.flows.recipe.shaping import ShapedStep, weigh
from tersely.flows.train.groups import Gathered, in_batch_order, unpad


class ProcessShare(NamedTuple):
    """What one process gets of a shaped step, its own rows in its own order.

    Args:
        advantage_B: times the row's weight in the loss.
        denominator: of the whole step, all processes together.
        silent: no row of the step, on whatever process, has an advantage.
        token_advantages: each token's, times the row's weight; None: all have their row's.
    """

    completion_ids: list[tuple[int, ...]]
    reward_B: Float[np.ndarray, " B"]
    advantage_B: Float[np.ndarray, " B"]
    keep_B: Bool[np.ndarray, " B"]
    denominator: float
    silent: bool
    token_advantages: list[np.ndarray] | None = None


def share_of(
    every: Gathered, places: Sequence[np.ndarray], shaped: ShapedStep, aggregate: Aggregate
) -> ProcessShare:
    """The weight and the denominator are of all kept rows of the step, whoever holds them."""
    tokens_N = np.array([len(row.completion_ids) for row in every.rows])[np.concatenate(places)]
    made = weigh(shaped, tokens_N, aggregate)
    adv_N = shaped.advantage_N * made.weight_B
    credited = None
    if shaped.token_advantages is not None:
        credited = [np.zeros(0)] * len(tokens_N)
        weighted = zip(shaped.token_advantages, made.weight_B, strict=True)
        for place, (advantage_T, weight) in zip(np.concatenate(places), weighted, strict=True):
            credited[place] = advantage_T * weight
    return ProcessShare(
        completion_ids=[row.completion_ids for row in every.rows[every.own]],
        reward_B=in_batch_order(shaped.reward_N, places)[every.own],
        advantage_B=in_batch_order(adv_N, places)[every.own],
        keep_B=in_batch_order(shaped.keep_N, places)[every.own],
        denominator=float(made.denominator),
        silent=not adv_N.any(),
        token_advantages=credited and credited[every.own],
    )


def overwrite(output: dict[str, Any], share: ProcessShare | None) -> None:
    """Puts our own advantages, mask and denominator where TRL's loss reads them.

    Raises:
        EngineError: TRL learns from other rows than were shaped.
    """
    import torch

    ids_BT, mask_BT = output["completion_ids"], output["completion_mask"]
    own_BT = mask_BT.bool().cpu().numpy()
    if share is None or unpad(ids_BT.cpu().numpy(), own_BT) != share.completion_ids:
        raise EngineError(
            "TRL learns from other rows than the reward was asked about; give the trainer the "
            "attached reward as its only reward function"
        )
    device, advantages = ids_BT.device, share.advantage_B
    if share.token_advantages is not None:
        advantages = np.zeros(own_BT.shape)
        for row, advantage_T in enumerate(share.token_advantages):
            # An ungraded row has none; it is masked.
            advantages[row, own_BT[row]] = advantage_T if len(advantage_T) else 0.0
    output["advantages"] = torch.tensor(advantages, dtype=torch.float32, device=device)
    keep_B1 = torch.tensor(share.keep_B, dtype=mask_BT.dtype, device=device)[:, None]
    # TRL multiplies this onto the completion mask for the loss only: attention is as sampled.
    output["tool_mask"] = keep_B1.expand_as(mask_BT).contiguous()
    output["num_items_in_batch"] = torch.tensor(share.denominator, device=device)
