"""The local learner: one process, one Hugging Face causal language model, AdamW.

A step takes the kept rollouts of a step in the order given, splits them by problem group into
updates, and each update into micro-batches. Nothing in here draws a random number.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from tersely.algo.kl import kl_k3
from tersely.algo.losses import ppo_clip_loss
from tersely.core.errors import ConfigError, EngineError


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRow:
    """One kept rollout as the loss sees it; ``logprobs`` are the sampler's, the old policy's.

    ``group`` is any number that rollouts of one problem share. ``completion_ids`` includes the
    stop token when there is one.
    """

    group: int
    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    logprobs: Float[np.ndarray, " T"]
    advantage: float

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens."""
        return len(self.prompt_ids) + len(self.completion_ids)


class LearnStats(NamedTuple):
    """What one step did to the policy. NaN where there was nothing to measure.

    Args:
        loss: mean over updates of loss, KL term included.
        grad_norm: mean over updates of the gradient norm before clipping.
        clip_share: of the tokens that entered the loss, the share whose gradient was clipped.
        kl_mean: k3 estimate of KL(policy, reference) in nats a token; NaN without a reference.
        sampler_mismatch: mean |learner - sampler| log-prob over the first update's loss tokens,
            before the weights moved.
        update_tokens: tokens that entered the loss, over all updates.
        learning_rate: the rate of this step's updates.
        dropped_nonfinite: loss tokens left out because the sampler's log-prob was not finite.
        updates: optimizer updates made.
    """

    loss: float
    grad_norm: float
    clip_share: float
    kl_mean: float
    sampler_mismatch: float
    update_tokens: int
    learning_rate: float
    dropped_nonfinite: int
    updates: int


class MicroBatch(NamedTuple):
    """Right-padded rows of one forward pass; the mask is True on completion tokens."""

    token_ids_BT: Int[Tensor, "B T"]
    loss_mask_BT: Bool[Tensor, "B T"]
    old_logp_BT: Float[Tensor, "B T"]
    adv_B: Float[Tensor, " B"]


@dataclass(slots=True)
class _Tally:
    """Running sums of one update."""

    loss: float = 0.0
    loss_tokens: int = 0
    clipped_tokens: int = 0
    dropped_tokens: int = 0
    mismatch_sum: float = 0.0
    kl_sum: float = 0.0
    grad_norm: float = math.nan


class LocalLearner:
    """Trains ``model`` in place with the clipped policy loss and fused AdamW.

    The loss of an update is the sum over its completion tokens, stop tokens included, divided
    by the number of completion tokens of *all* its rows. Rows of zero advantage are not run
    through the model, since their gradient is zero, but they count in that denominator; with a
    KL term they have a gradient and are run. An update in which no row has a gradient is not
    made: AdamW's momentum alone would move the weights on no evidence. A step without rows makes
    no update.

    Args:
        learning_rate: the rate after warm-up; constant from then on.
        warmup_steps: calls of ``step`` over which the rate rises linearly; 0 is none.
        max_grad_norm: the gradient is scaled down to this norm.
        clip_low: the probability ratio is clipped below ``1 - clip_low``.
        clip_high: and above ``1 + clip_high``.
        kl_coef: weight of the KL term against ``reference``; 0 only reports it.
        tokens_per_micro_batch: padded tokens, prompt included, of one forward pass; a longer
            row goes alone.
        temperature: the one the rollouts were sampled at; log-probs are of that policy.
        gradient_checkpointing: recompute activations to save memory.
        reference: a frozen model, or None for no KL.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        learning_rate: float,
        warmup_steps: int,
        clip_low: float,
        clip_high: float,
        tokens_per_micro_batch: int,
        max_grad_norm: float = 1.0,
        kl_coef: float = 0.0,
        temperature: float = 1.0,
        weight_decay: float = 0.0,
        gradient_checkpointing: bool = False,
        reference: PreTrainedModel | None = None,
    ) -> None:
        if kl_coef > 0 and reference is None:
            raise ConfigError(f"kl_coef is {kl_coef} but there is no reference; give one or set 0")
        if temperature <= 0:
            raise ConfigError(f"temperature {temperature} must be > 0: a greedy policy has no loss")
        if gradient_checkpointing:
            _refuse_dropout(model)
            model.activation_checkpointing_enable({"use_reentrant": False})
        self.model = model
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=True
        )
        self._learning_rate = learning_rate
        self._warmup_steps = warmup_steps
        self._max_grad_norm = max_grad_norm
        self._clip_low = clip_low
        self._clip_high = clip_high
        self._kl_coef = kl_coef
        self._tokens_per_micro_batch = tokens_per_micro_batch
        self._temperature = temperature
        self._gradient_checkpointing = gradient_checkpointing
        self._reference = None if reference is None else reference.eval().requires_grad_(False)
        self._steps = 0
        self._updates = 0

    def step(self, rows: Sequence[TrainRow], *, updates: int) -> LearnStats:
        """Train on the kept rollouts of one step, in ``updates`` updates by whole groups.

        Groups go to updates in order of first appearance, in near-equal numbers; fewer groups
        than ``updates`` make fewer updates. Every update uses the sampler's log-probs as the old
        policy's, so from the second on the rows are stale and clipping is active.

        Raises:
            EngineError: if a row is malformed, or a loss or gradient norm is not finite; the
                weights are then as before the failing update.
        """
        _check_rows(rows, updates=updates)
        rate = self._learning_rate
        if self._steps < self._warmup_steps:
            rate *= (self._steps + 1) / self._warmup_steps
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = rate
        # Only train mode recomputes activations; otherwise eval mode keeps dropout off.
        self.model.train(self._gradient_checkpointing)
        try:
            tallies = [self._update(part) for part in split_by_group(rows, parts=updates)]
        finally:
            self.model.eval()
        self._steps += 1
        return self._stats(tallies, rate=rate)

    def state_dict(self) -> dict[str, Any]:
        """All that a restart needs besides the weights."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "steps": self._steps,
            "updates": self._updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where the learner that gave ``state`` was."""
        self.optimizer.load_state_dict(state["optimizer"])
        self._steps = state["steps"]
        self._updates = state["updates"]

    def _update(self, rows: Sequence[TrainRow]) -> _Tally:
        denominator = sum(len(row.completion_ids) for row in rows)
        signal = [row for row in rows if row.advantage != 0 or self._kl_coef > 0]
        tally = _Tally()
        self.optimizer.zero_grad(set_to_none=True)
        for part in split_by_tokens(signal, tokens=self._tokens_per_micro_batch):
            self._accumulate(pack(part, device=self.model.device), denominator, tally)
        if signal:
            self._apply(tally)
        return tally

    def _accumulate(self, batch: MicroBatch, denominator: int, tally: _Tally) -> None:
        """Add the gradient of one micro-batch; its logits are gone when this returns."""
        mask_BT = batch.loss_mask_BT
        ref_logp_BT = None
        if self._reference is not None:
            with torch.no_grad():
                ref_logp_BT = self._logp(self._reference, batch)
        logp_BT = self._logp(self.model, batch)
        policy = ppo_clip_loss(
            logp_BT,
            batch.old_logp_BT,
            batch.adv_B,
            mask_BT,
            clip_low=self._clip_low,
            clip_high=self._clip_high,
            denominator=denominator,
        )
        loss = policy.loss
        if ref_logp_BT is not None:
            kl = kl_k3(logp_BT, ref_logp_BT, mask_BT)
            loss = loss + self._kl_coef * kl / denominator
            tally.kl_sum += float(kl.detach())
        loss.backward()
        tally.loss += float(loss.detach())
        tally.loss_tokens += policy.loss_tokens
        tally.clipped_tokens += policy.clipped_tokens
        tally.dropped_tokens += policy.dropped_tokens
        tally.mismatch_sum += policy.mismatch_sum

    def _logp(self, model: PreTrainedModel, batch: MicroBatch) -> Float[Tensor, "B T"]:
        """Log-probs of the completion tokens under the temperature-scaled policy; 0 elsewhere.

        No attention mask: with padding on the right no real token can see a pad, and without a
        mask the fused causal kernels apply. Positions run on through the padding, because a
        restart would read as packed sequences. Logits are made at completion positions only.
        """
        ids_BT, mask_BT = batch.token_ids_BT, batch.loss_mask_BT
        positions_BT = torch.arange(ids_BT.shape[1], device=ids_BT.device).expand_as(ids_BT)
        predicts_BT = mask_BT.roll(-1, dims=1)  # never wraps: every row starts with a prompt
        with torch.autocast(ids_BT.device.type, torch.bfloat16, enabled=ids_BT.is_cuda):
            logits_NV = model(
                input_ids=ids_BT,
                position_ids=positions_BT,
                logits_to_keep=predicts_BT,
                use_cache=False,
            ).logits.float()
        if self._temperature != 1:
            logits_NV = logits_NV / self._temperature
        chosen_N = logits_NV.gather(1, ids_BT[mask_BT][:, None])[:, 0]
        logp_N = chosen_N - logits_NV.logsumexp(dim=1)
        return logp_N.new_zeros(ids_BT.shape).masked_scatter(mask_BT, logp_N)

    def _apply(self, tally: _Tally) -> None:
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._max_grad_norm)
        tally.grad_norm = float(norm)
        for name, value in (("loss", tally.loss), ("gradient norm", tally.grad_norm)):
            if not math.isfinite(value):
                self.optimizer.zero_grad(set_to_none=True)
                raise EngineError(
                    f"{name} is {value} in update {self._updates}; the weights are as before it"
                )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._updates += 1

    def _stats(self, tallies: Sequence[_Tally], *, rate: float) -> LearnStats:
        made = [tally for tally in tallies if not math.isnan(tally.grad_norm)]
        tokens = sum(tally.loss_tokens for tally in made)
        dropped = sum(tally.dropped_tokens for tally in made)
        kl_sum = sum(tally.kl_sum for tally in made)
        has_kl = self._reference is not None
        first = tallies[0] if tallies else _Tally()
        return LearnStats(
            loss=_ratio(sum(tally.loss for tally in made), len(made)),
            grad_norm=_ratio(sum(tally.grad_norm for tally in made), len(made)),
            clip_share=_ratio(sum(tally.clipped_tokens for tally in made), tokens),
            kl_mean=_ratio(kl_sum, tokens + dropped) if has_kl else math.nan,
            sampler_mismatch=_ratio(first.mismatch_sum, first.loss_tokens),
            update_tokens=tokens,
            learning_rate=rate,
            dropped_nonfinite=dropped,
            updates=len(made),
        )


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
    old_logp_BT = np.zeros(shape, dtype=np.float32)
    for i, row in enumerate(rows):
        start, stop = len(row.prompt_ids), row.tokens
        token_ids_BT[i, :stop] = row.prompt_ids + row.completion_ids
        loss_mask_BT[i, start:stop] = True
        old_logp_BT[i, start:stop] = row.logprobs
    adv_B = np.array([row.advantage for row in rows], dtype=np.float32)
    return MicroBatch(
        token_ids_BT=torch.from_numpy(token_ids_BT).to(device),
        loss_mask_BT=torch.from_numpy(loss_mask_BT).to(device),
        old_logp_BT=torch.from_numpy(old_logp_BT).to(device),
        adv_B=torch.from_numpy(adv_B).to(device),
    )


def _ratio(total: int | float, count: int) -> float:
    return total / count if count else math.nan


def _check_rows(rows: Sequence[TrainRow], *, updates: int) -> None:
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
        if not math.isfinite(row.advantage):
            raise EngineError(f"row {i} (group {row.group}) has advantage {row.advantage}")


def _refuse_dropout(model: PreTrainedModel) -> None:
    """Gradient checkpointing needs train mode, in which dropout would make the loss random."""
    for key, value in model.config.to_dict().items():
        if "dropout" in key and isinstance(value, float) and value > 0:
            raise ConfigError(
                f"the model has {key} {value}, which gradient checkpointing would switch on; "
                f"set {key} to 0 in its config.json"
            )
