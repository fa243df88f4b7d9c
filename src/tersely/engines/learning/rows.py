"""The rollouts of a step as the loss sees them: cut into updates and padded micro-batches."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tersely.core.errors import ConfigError, EngineError


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRow:
    """One kept rollout as the loss sees it.

    Args:
        group: any number that rollouts of one problem share.
        completion_ids: with the stop token when there is one.
        logprobs: the sampler's.
        advantage: of every token, unless ``token_advantages`` are given.
        token_advantages: each token's own; None: all have the row's.
        weight: of the row in its update's loss; the learner fills it in.
        old_logprobs: the learner's own before the step's first update, which it fills in where
            the objective corrects for the sampler; None: it does not, or there is one update only.
    """

    group: int
    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    logprobs: Float[np.ndarray, " T"]
    advantage: float
    weight: float = 1.0
    old_logprobs: Float[np.ndarray, " T"] | None = None
    token_advantages: Float[np.ndarray, " _"] | None = None

    @property
    def teaches(self) -> bool:
        """Whether a token has an advantage."""
        if self.token_advantages is None:
            return self.advantage != 0
        return bool(self.token_advantages.any())

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens."""
        return len(self.prompt_ids) + len(self.completion_ids)


class MicroBatch(NamedTuple):
    """Right-padded rows of one forward pass; the mask is True on completion tokens.

    Args:
        adv_BT: each token's advantage; None: all have their row's.
    """

    token_ids_BT: Int[Tensor, "B T"]
    loss_mask_BT: Bool[Tensor, "B T"]
    sampler_logp_BT: Float[Tensor, "B T"]
    old_logp_BT: Float[Tensor, "B T"] | None
    adv_B: Float[Tensor, " B"]
    weight_B: Float[Tensor, " B"]
    adv_BT: Float[Tensor, "B T"] | None = None


def split_by_group(rows: Sequence[TrainRow], *, parts: int) -> list[list[TrainRow]]:
    """Cut ``rows`` into at most ``parts`` non-empty parts that never divide a group."""
    groups: dict[int, list[TrainRow]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    members = list(groups.values())
    parts = min(parts, len(members))
    edges = [len(members) * i // max(parts, 1) for i in range(parts + 1)]
    return [
        [row for group in members[start:stop] for row in group] for start, stop in pairwise(edges)
    ]


def split_by_tokens(rows: Sequence[TrainRow], *, tokens: int) -> list[list[TrainRow]]:
    """Cut ``rows``, longest first, so that rows * longest <= ``tokens``; a longer row goes alone.

    Longest first: a step that does not fit into memory fails at its start.
    """
    parts: list[list[TrainRow]] = []
    for row in sorted(rows, key=lambda row: -row.tokens):
        if parts and (len(parts[-1]) + 1) * parts[-1][0].tokens <= tokens:
            parts[-1].append(row)
        else:
            parts.append([row])
    return parts


def pack(rows: Sequence[TrainRow], *, device: torch.device) -> MicroBatch:
    """Pad ``rows`` on the right to the longest of them."""
    shape = (len(rows), max(row.tokens for row in rows))
    token_ids_BT = np.zeros(shape, dtype=np.int64)
    loss_mask_BT = np.zeros(shape, dtype=np.bool_)
    sampler_logp_BT = np.zeros(shape, dtype=np.float32)
    old_logp_BT = np.zeros(shape, dtype=np.float32)
    for i, row in enumerate(rows):
        start, stop = len(row.prompt_ids), row.tokens
        token_ids_BT[i, :stop] = row.prompt_ids + row.completion_ids
        loss_mask_BT[i, start:stop] = True
        sampler_logp_BT[i, start:stop] = row.logprobs
        if row.old_logprobs is not None:
            old_logp_BT[i, start:stop] = row.old_logprobs
    recomputed = rows[0].old_logprobs is not None
    return MicroBatch(
        token_ids_BT=torch.from_numpy(token_ids_BT).to(device),
        loss_mask_BT=torch.from_numpy(loss_mask_BT).to(device),
        sampler_logp_BT=torch.from_numpy(sampler_logp_BT).to(device),
        old_logp_BT=torch.from_numpy(old_logp_BT).to(device) if recomputed else None,
        adv_B=torch.tensor([row.advantage for row in rows], dtype=torch.float32, device=device),
        weight_B=torch.tensor([row.weight for row in rows], dtype=torch.float32, device=device),
        adv_BT=_token_advantages(rows, shape, device=device),
    )


def _token_advantages(
    rows: Sequence[TrainRow], shape: tuple[int, int], *, device: torch.device
) -> Float[Tensor, "B T"] | None:
    """Every token's advantage, the row's where it has none of its own; None if none has any."""
    if all(row.token_advantages is None for row in rows):
        return None
    adv_BT = np.zeros(shape, dtype=np.float32)
    for i, row in enumerate(rows):
        own = row.advantage if row.token_advantages is None else row.token_advantages
        adv_BT[i, len(row.prompt_ids) : row.tokens] = own
    return torch.from_numpy(adv_BT).to(device)


def check_rows(rows: Sequence[TrainRow], *, updates: int) -> None:
    """Refuses rows that cannot be learned from.

    Raises:
        ConfigError: ``updates`` is below 1.
        EngineError: a row is empty, or its log-probs or advantage are not as they must be.
    """
    if updates < 1:
        raise ConfigError(f"{updates} updates a step is below 1; 1 is on-policy")
    for i, row in enumerate(rows):
        if not row.prompt_ids or not row.completion_ids:
            raise EngineError(f"row {i} (group {row.group}) has an empty prompt or completion")
        if len(row.logprobs) != len(row.completion_ids):
            raise EngineError(
                f"row {i} (group {row.group}) has {len(row.logprobs)} log-probs for "
                f"{len(row.completion_ids)} completion tokens; the sampler must give one for each"
            )
        credited = row.token_advantages
        if credited is not None and len(credited) != len(row.completion_ids):
            raise EngineError(
                f"row {i} (group {row.group}) has {len(credited)} token advantages for "
                f"{len(row.completion_ids)} completion tokens; give one for each"
            )
        if credited is not None and not np.isfinite(credited).all():
            raise EngineError(
                f"row {i} (group {row.group}) has a token advantage that is no number"
            )
        if not math.isfinite(row.advantage):
            raise EngineError(f"row {i} (group {row.group}) has advantage {row.advantage}")
