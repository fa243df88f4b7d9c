"""The local learner: one process, one Hugging Face causal language model, AdamW.

A step takes the kept rollouts of a step in the order given, splits them by problem group into
updates, and each update into micro-batches. Nothing in here draws a random number.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel, modeling_utils

from tersely.algo.kl import token_entropy
from tersely.core.errors import ConfigError, EngineError, TerselyWarning
from tersely.engines.learning.forward import runs_lean, tree_logp
from tersely.engines.learning.memory import memory_errors
from tersely.engines.learning.objective import Objective, batch_loss
from tersely.engines.learning.rows import (
    MicroBatch,
    TrainRow,
    check_rows,
    pack,
    split_by_group,
    split_by_tokens,
)
from tersely.engines.learning.tree import TokenTree, split_by_shared_tokens, token_tree
from tersely.metrics.numbers import count


class LearnStats(NamedTuple):
    """What one step did to the policy. NaN where there was nothing to measure.

    Args:
        loss: mean over updates of loss, KL term included.
        grad_norm: mean over updates of the gradient norm before clipping.
        clip_share: of the tokens that entered the loss, the share whose gradient was clipped.
        kl_mean: the objective's estimate of KL(policy, reference) in nats a token; NaN without a
            reference.
        sampler_mismatch: mean |learner - sampler| log-prob over the first update's loss tokens,
            before the weights moved.
        update_tokens: tokens that entered the loss, over all updates.
        learning_rate: the rate of this step's updates.
        dropped_nonfinite: loss tokens left out because the sampler's log-prob was not finite.
    """

    loss: float
    grad_norm: float
    clip_share: float
    kl_mean: float
    sampler_mismatch: float
    update_tokens: int
    learning_rate: float
    dropped_nonfinite: int


@dataclass(slots=True)
class _UpdateTally:
    """Running sums of one update."""

    loss: float = 0.0
    loss_tokens: int = 0
    clipped_tokens: int = 0
    dropped_tokens: int = 0
    mismatch_sum: float = 0.0
    kl_sum: float = 0.0
    grad_norm: float = math.nan


class _ForwardPass(NamedTuple):
    """What a forward pass says of the completion tokens; 0 elsewhere."""

    logp_BT: Float[Tensor, "B T"]
    entropy_BT: Float[Tensor, "B T"] | None


class _Inputs(NamedTuple):
    """A micro-batch, and its tree where the lean forward pass runs."""

    batch: MicroBatch
    tree: TokenTree | None


class LocalLearner:
    """Trains ``model`` in place on an ``Objective`` with fused AdamW.

    The weights and the denominator of an update's loss are those of *all* its rows. Rows of zero
    advantage are not run through the model, since their gradient is zero, but they count in
    that denominator; with a KL or an entropy term they have a gradient and are run. An update in
    which no row has a gradient is not made: AdamW's momentum alone would move the weights on no
    evidence. A step without rows makes no update.

    Args:
        learning_rate: the rate after warm-up; constant from then on.
        warmup_steps: calls of ``step`` over which the rate rises linearly; 0 is none.
        max_grad_norm: the gradient is scaled down to this norm.
        objective: what is minimised; PPO-clip with the mean over tokens by default.
        tokens_per_micro_batch: of one forward pass, prompts included; a longer row goes alone.
            Where the lean pass runs, tokens that rows begin with alike count once and padding
            does not; elsewhere rows are padded to the longest.
        temperature: the one the rollouts were sampled at; log-probs are of that policy.
        gradient_checkpointing: recompute activations to save memory.
        reference: a frozen model, or None for no KL.
        half: products of bfloat16 numbers, but for the logits of the lean pass; the weights stay
            as they are. None: on a GPU only.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        learning_rate: float,
        warmup_steps: int,
        tokens_per_micro_batch: int,
        objective: Objective | None = None,
        max_grad_norm: float = 1.0,
        temperature: float = 1.0,
        gradient_checkpointing: bool = False,
        reference: PreTrainedModel | None = None,
        half: bool | None = None,
    ) -> None:
        objective = objective or Objective()
        if objective.kl_coef > 0 and reference is None:
            raise ConfigError(
                f"kl_coef is {objective.kl_coef} but there is no reference; give one or set 0"
            )
        if temperature <= 0:
            raise ConfigError(f"temperature {temperature} must be > 0: a greedy policy has no loss")
        if gradient_checkpointing:
            _refuse_dropout(model)
            _checkpoint_activations(model)
        self.model = model
        self._trained = [weight for weight in model.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self._trained, lr=learning_rate, weight_decay=0.0, fused=True
        )
        self._learning_rate = learning_rate
        self._warmup_steps = warmup_steps
        self._max_grad_norm = max_grad_norm
        self._objective = objective
        self._tokens_per_micro_batch = tokens_per_micro_batch
        self._temperature = temperature
        self._gradient_checkpointing = gradient_checkpointing
        self._half = model.device.type == "cuda" if half is None else half
        self._reference = None if reference is None else reference.eval().requires_grad_(False)
        models = [model] if reference is None else [model, reference]
        self._lean = not gradient_checkpointing and all(map(runs_lean, models))
        self._steps = 0
        self._updates = 0

    def step(self, rows: Sequence[TrainRow], *, updates: int) -> LearnStats:
        """Train on the kept rollouts of one step, in ``updates`` updates by whole groups.

        Groups go to updates in order of first appearance, in near-equal numbers; fewer groups
        than ``updates`` make fewer updates. Every update has the same old policy, the sampler's or
        with an importance cap the learner's before the first one, so from the second on the rows
        are stale and clipping is active.

        Raises:
            EngineError: if a row is malformed, memory runs out, or a loss or gradient norm is not
                finite; the weights are then as before the failing update. Or the weights are not
                finite after it.
        """
        check_rows(rows, updates=updates)
        rate = self._learning_rate
        if self._steps < self._warmup_steps:
            rate *= (self._steps + 1) / self._warmup_steps
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = rate
        # Only train mode recomputes activations; otherwise eval mode keeps dropout off.
        self.model.train(self._gradient_checkpointing)
        fix = (
            f"lower learner.micro_batch_tokens = {self._tokens_per_micro_batch} or set "
            "model.gradient_checkpointing = true"
        )
        try:
            with memory_errors("learning", fix=fix):
                parts = split_by_group(rows, parts=updates)
                if self._objective.importance_cap is not None and len(parts) > 1:
                    parts = [self._with_old_logprobs(part) for part in parts]
                tallies = [self._update(part) for part in parts]
        finally:
            self.model.eval()
        self._steps += 1
        stats = self._stats(tallies, rate=rate)
        if stats.dropped_nonfinite:
            left_out = f"{count(stats.dropped_nonfinite, 'token')} left out of the loss"
            why = "for the sampler's log-probs are not finite there"
            warnings.warn(f"step {self._steps}: {left_out}, {why}", TerselyWarning, stacklevel=2)
        return stats

    def score(
        self, prompt_ids: Sequence[int], completion_ids: Sequence[int]
    ) -> Float[np.ndarray, " T"]:
        """Log-probs of a completion as an update sees them; nothing is learned."""
        unknown_T = np.zeros(len(completion_ids), dtype=np.float32)
        row = TrainRow(
            group=0,
            prompt_ids=tuple(prompt_ids),
            completion_ids=tuple(completion_ids),
            logprobs=unknown_T,
            advantage=0.0,
        )
        with torch.no_grad():
            logp_BT = self._logp(self.model, self._inputs([row])).logp_BT
        return np.asarray(logp_BT[0, len(prompt_ids) :].cpu().numpy())

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

    def _with_old_logprobs(self, rows: Sequence[TrainRow]) -> list[TrainRow]:
        """The rows with the log-probs that the learner gives them now."""
        order = {id(row): place for place, row in enumerate(rows)}
        done = list(rows)
        for part in self._split(rows):
            with torch.no_grad():
                logp_BT = self._logp(self.model, self._inputs(part)).logp_BT.cpu().numpy()
            for row, logp_T in zip(part, logp_BT, strict=True):
                old_T = logp_T[len(row.prompt_ids) : row.tokens]
                done[order[id(row)]] = replace(row, old_logprobs=old_T)
        return done

    def _update(self, rows: Sequence[TrainRow]) -> _UpdateTally:
        aggregation = self._objective.aggregate(
            np.array([len(row.completion_ids) for row in rows]),
            np.array([row.group for row in rows]),
        )
        signal = [
            replace(row, weight=float(weight))
            for row, weight in zip(rows, aggregation.weight_B, strict=True)
            if row.teaches or self._objective.moves_without_advantage
        ]
        tally = _UpdateTally()
        self.optimizer.zero_grad(set_to_none=True)
        for part in self._split(signal):
            self._accumulate(self._inputs(part), aggregation.denominator, tally)
        if signal:
            self._apply(tally)
        return tally

    def _split(self, rows: Sequence[TrainRow]) -> list[list[TrainRow]]:
        split = split_by_shared_tokens if self._lean else split_by_tokens
        return split(rows, tokens=self._tokens_per_micro_batch)

    def _inputs(self, rows: Sequence[TrainRow]) -> _Inputs:
        device = self.model.device
        tree = token_tree(rows, device=device) if self._lean else None
        return _Inputs(pack(rows, device=device), tree)

    def _accumulate(self, inputs: _Inputs, denominator: int, tally: _UpdateTally) -> None:
        """Add the gradient of one micro-batch; its logits are gone when this returns."""
        ref_logp_BT = None
        if self._reference is not None:
            with torch.no_grad():
                ref_logp_BT = self._logp(self._reference, inputs).logp_BT
        seen = self._logp(self.model, inputs, with_entropy=self._objective.entropy_coef != 0)
        part = batch_loss(
            self._objective,
            inputs.batch,
            logp_BT=seen.logp_BT,
            entropy_BT=seen.entropy_BT,
            ref_logp_BT=ref_logp_BT,
            denominator=denominator,
        )
        part.loss.backward()
        tally.loss += float(part.loss.detach())
        tally.loss_tokens += part.loss_tokens
        tally.clipped_tokens += part.clipped_tokens
        tally.dropped_tokens += part.dropped_tokens
        tally.mismatch_sum += part.mismatch_sum
        tally.kl_sum += part.kl_sum

    def _logp(
        self, model: PreTrainedModel, inputs: _Inputs, *, with_entropy: bool = False
    ) -> _ForwardPass:
        """Log-probs of the completion tokens under the temperature-scaled policy; 0 elsewhere."""
        tree, mask_BT = inputs.tree, inputs.batch.loss_mask_BT
        if tree is not None:
            seen = tree_logp(
                model,
                tree,
                temperature=self._temperature,
                with_entropy=with_entropy,
                half=self._half,
            )
            found = [
                None if x_C is None else x_C.index_select(0, tree.prediction_L) for x_C in seen
            ]
        else:
            logits_NV = self._logits(model, inputs.batch)
            chosen_N = logits_NV.gather(1, inputs.batch.token_ids_BT[mask_BT][:, None])[:, 0]
            entropy_N = token_entropy(logits_NV) if with_entropy else None
            found = [chosen_N - logits_NV.logsumexp(dim=1), entropy_N]
        zeros_BT = torch.zeros_like(inputs.batch.sampler_logp_BT)
        return _ForwardPass(
            *(None if x_N is None else zeros_BT.masked_scatter(mask_BT, x_N) for x_N in found)
        )

    def _logits(self, model: PreTrainedModel, batch: MicroBatch) -> Float[Tensor, "N V"]:
        """Temperature-scaled logits of the model's own forward pass, at completion tokens only.

        No attention mask: with padding on the right no real token can see a pad, and without a
        mask the fused causal kernels apply. Positions run on through the padding, because a
        restart would read as packed sequences.
        """
        ids_BT = batch.token_ids_BT
        positions_BT = torch.arange(ids_BT.shape[1], device=ids_BT.device).expand_as(ids_BT)
        predicts_BT = batch.loss_mask_BT.roll(-1, dims=1)  # never wraps: a row starts with a prompt
        with torch.autocast(ids_BT.device.type, torch.bfloat16, enabled=self._half):
            logits_NV = _logits_where(
                model, predicts_BT, input_ids=ids_BT, position_ids=positions_BT, use_cache=False
            ).float()
        return logits_NV if self._temperature == 1 else logits_NV / self._temperature

    def _apply(self, tally: _UpdateTally) -> None:
        norm = torch.nn.utils.clip_grad_norm_(self._trained, self._max_grad_norm)
        tally.grad_norm = float(norm)
        for name, value in (("loss", tally.loss), ("gradient norm", tally.grad_norm)):
            if not math.isfinite(value):
                self.optimizer.zero_grad(set_to_none=True)
                raise EngineError(
                    f"{name} is {value} in update {self._updates}; the weights are as before it"
                )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        # One answer for all of them: a GPU is waited for once.
        if not torch.stack([weight.isfinite().all() for weight in self._trained]).all():
            raise EngineError(f"weights are not finite numbers after update {self._updates}")
        self._updates += 1

    def _stats(self, tallies: Sequence[_UpdateTally], *, rate: float) -> LearnStats:
        made = [tally for tally in tallies if not math.isnan(tally.grad_norm)]
        tokens = sum(tally.loss_tokens for tally in made)
        dropped = sum(tally.dropped_tokens for tally in made)
        kl_sum = sum(tally.kl_sum for tally in made)
        has_kl = self._reference is not None
        first = tallies[0] if tallies else _UpdateTally()
        return LearnStats(
            loss=_ratio(sum(tally.loss for tally in made), len(made)),
            grad_norm=_ratio(sum(tally.grad_norm for tally in made), len(made)),
            clip_share=_ratio(sum(tally.clipped_tokens for tally in made), tokens),
            kl_mean=_ratio(kl_sum, tokens + dropped) if has_kl else math.nan,
            sampler_mismatch=_ratio(first.mismatch_sum, first.loss_tokens),
            update_tokens=tokens,
            learning_rate=rate,
            dropped_nonfinite=dropped,
        )


# Without it (transformers before 5.23), a model makes logits of whole columns only.
_BY_ROW = hasattr(modeling_utils, "slice_logits_to_keep")


def _logits_where(model: PreTrainedModel, keep_BT: Tensor, **inputs: Any) -> Tensor:
    """The logits of the positions that are marked, row by row; of as few others as can be."""
    if _BY_ROW:
        logits_NV: Tensor = model(**inputs, logits_to_keep=keep_BT).logits
        return logits_NV
    columns_K = keep_BT.any(dim=0).nonzero()[:, 0]
    logits_BKV: Tensor = model(**inputs, logits_to_keep=columns_K).logits
    return logits_BKV[keep_BT[:, columns_K]]


def _ratio(total: int | float, count: int) -> float:
    return total / count if count else math.nan


def _checkpoint_activations(model: PreTrainedModel) -> None:
    """By the name that this version of transformers has for it: the second one is before 5.23."""
    for name in ("activation_checkpointing_enable", "gradient_checkpointing_enable"):
        if hasattr(model, name):
            getattr(model, name)({"use_reentrant": False})
            return
    raise ConfigError("this model knows no gradient checkpointing; leave it out")


def _refuse_dropout(model: PreTrainedModel) -> None:
    """Gradient checkpointing needs train mode, in which dropout would make the loss random."""
    for key, value in model.config.to_dict().items():
        if "dropout" in key and isinstance(value, float) and value > 0:
            raise ConfigError(
                f"the model has {key} {value}, which gradient checkpointing would switch on; "
                f"set {key} to 0 in its config.json"
            )
