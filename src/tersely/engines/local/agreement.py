"""Compares a sampler with a forward pass over the same tokens before a run starts.

Keys and values kept from step to step, padding, positions and fused weights may all be wrong for
an architecture that nobody has tried, and the samples look like samples all the same.
"""

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from packaging.version import Version

from tersely.core.errors import ConfigError
from tersely.core.types import Rollout, SamplingSpec
from tersely.engines.local.jobs import Job, Sampler

# Mean |sampler - forward| log-prob a token, by the precision of what is sampled from. Rounding
# gives about 1e-6 in float32, and about 1e-2 in bfloat16; a wrong rotation or scale 0.1 to 10.
BOUND_NATS = {torch.float32: 1e-3, torch.bfloat16: 0.1}
# What a model's own code raises on a cache, a mask or an argument that it does not know.
_INCOMPATIBLE = (TypeError, ValueError, AttributeError, LookupError, RuntimeError)
# The extra train's own bound.
LEAST_TRANSFORMERS = "5.19"
_SAMPLES = 2
_PROMPT_TOKENS = 64
_COMPLETION_TOKENS = 16
# Room that a check takes at most.
CHECKED_TOKENS = _PROMPT_TOKENS + _COMPLETION_TOKENS

# Prompt and completion to the log-prob of each token of the completion.
Score = Callable[[Sequence[int], Sequence[int]], Float[np.ndarray, " T"]]


def check_sampler(
    sampler: Sampler,
    scores: Sequence[Score],
    *,
    prompt_ids: Sequence[int],
    room_tokens: int,
    dtype: torch.dtype,
    model_type: str,
    temperature: float = 1.0,
) -> None:
    """Samples a few short rows of two lengths and refuses a sampler that scores them otherwise
    than any of ``scores``; it draws no random number that a run uses.

    Args:
        prompt_ids: a prompt of the run; its first 64 tokens are used.
        room_tokens: positions of the model.
        dtype: of what is sampled from and what learns, the one that rounds more; sets the bound.
        temperature: of both; 0 counts as 1.

    Raises:
        ConfigError: the two differ by more than the bound, a log-prob is not a number, or the
            model cannot be run at all.
    """
    whole = tuple(prompt_ids[: min(_PROMPT_TOKENS, max(room_tokens - _COMPLETION_TOKENS, 1))])
    # Of two lengths, because padding is what goes wrong most.
    prompts = [whole, whole[: -(-len(whole) // 2)]]
    jobs = [
        Job(number, f"check {number}", sample, ids)
        for number, ids in enumerate(prompts)
        for sample in range(_SAMPLES)
    ]
    spec = SamplingSpec(
        samples=_SAMPLES,
        cap_tokens=min(_COMPLETION_TOKENS, room_tokens - len(whole)),
        seed=0,
        temperature=temperature or 1.0,
    )
    rollouts: list[Rollout] = []
    way_out = _way_out()
    try:
        sampler.run(jobs, spec, on_rollout=rollouts.append)
        nats = max(_nats_apart(rollouts, score) for score in scores)
    except _INCOMPATIBLE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"the engine cannot run this {model_type!r} model: {reason}; {way_out}"
        ) from error
    bound = BOUND_NATS.get(dtype, BOUND_NATS[torch.bfloat16])
    if nats > bound:
        raise ConfigError(
            f"the engine samples this {model_type!r} model wrongly: its log-probs are "
            f"{nats:.2g} nats a token from the model's own forward pass, and at most {bound:g} is "
            f"rounding; {way_out}"
        )


def _way_out() -> str:
    """Where transformers is older than ours, the model is not at fault."""
    found = version("transformers")
    if Version(found) < Version(LEAST_TRANSFORMERS):
        return (
            f"transformers {found} is older than {LEAST_TRANSFORMERS}; run pip install "
            f"'transformers>={LEAST_TRANSFORMERS}', in another environment than verl's"
        )
    return "evaluate the model through a server (--endpoint)"


def _nats_apart(rollouts: Sequence[Rollout], score: Score) -> float:
    apart = [np.abs(score(r.prompt_ids, r.completion_ids) - r.logprobs) for r in rollouts]
    mean = float(np.concatenate(apart).mean(dtype=np.float64))
    return mean if np.isfinite(mean) else np.inf


def forward_score(model: Any, *, temperature: float = 1.0) -> Score:
    """Scores by one plain forward pass of a model over prompt and completion."""

    def score(prompt_ids: Sequence[int], completion_ids: Sequence[int]) -> Float[np.ndarray, " T"]:
        ids_1T = torch.tensor([[*prompt_ids, *completion_ids]], device=model.device)
        with torch.no_grad():
            logits_TV = model(input_ids=ids_1T, use_cache=False).logits[0].float()
        logp_TV = torch.log_softmax(logits_TV[len(prompt_ids) - 1 : -1] / temperature, dim=-1)
        logp_T = logp_TV.gather(1, ids_1T[0, len(prompt_ids) :, None])[:, 0]
        return np.asarray(logp_T.cpu().numpy())

    return score
