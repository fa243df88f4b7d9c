"""prime-rl's metrics: the trainer's, and the orchestrator's by agent (August 2026)."""

import re

_AGENTS = ("train/effective", "train/all", "train/agg/effective", "train/agg/all")
NAMES = {
    **{f"{agents}/num_output_tokens/mean": "tokens_mean" for agents in _AGENTS},
    **{f"{agents}/is_truncated/mean": "truncated_share" for agents in _AGENTS},
    **{f"{agents}/reward/mean": "reward_mean" for agents in _AGENTS},
    "progress/rollouts": "rollouts",
    "progress/tasks": "prompts",
    "entropy/all/mean": "entropy_mean",
    "mismatch_kl/all/mean": "sampler_mismatch",
    "optim/grad_norm": "grad_norm",
    "optim/lr": "learning_rate",
    "loss/mean": "loss",
}
HELD_OUT = re.compile(r"eval/.+/avg@\d+")
