"""prime-rl's metrics: the trainer's, and the orchestrator's by agent (0.2 to August 2026)."""

import re

# A * stands for an agent's name; below, the names of 0.5 and 0.6, and of 0.2 to 0.4.
_POOLS = ("train/effective", "train/all", "train/agg/effective", "train/agg/all")
_AGENTS = (*_POOLS, "train/agg/effective/*", "train/agg/all/*")
NAMES = {
    **{f"{pool}/num_output_tokens/mean": "tokens_mean" for pool in _AGENTS},
    **{f"{agent}/is_truncated/mean": "truncated_share" for agent in _AGENTS},
    **{f"{agent}/reward/mean": "reward_mean" for agent in _AGENTS},
    "progress/rollouts": "rollouts",
    "progress/tasks": "prompts",
    "entropy/all/mean": "entropy_mean",
    "mismatch_kl/all/mean": "sampler_mismatch",
    "optim/grad_norm": "grad_norm",
    "optim/lr": "learning_rate",
    "loss/mean": "loss",
    "decode_len/all/mean": "tokens_mean",
    "is_truncated/all/mean": "truncated_share",
    "reward/all/mean": "reward_mean",
    "progress/samples": "rollouts",
    "progress/problems": "prompts",
    "completion_len/mean": "tokens_mean",
    "decode_len/mean": "tokens_mean",
    "seq_len/all/mean": "tokens_mean",
    "seq_len/mean": "tokens_mean",
    "is_truncated/mean": "truncated_share",
    "reward/mean": "reward_mean",
    "entropy/mean": "entropy_mean",
    "mismatch_kl/mean": "sampler_mismatch",
}
HELD_OUT = re.compile(r"eval/.+/avg@\d+|val/reward/all/mean|val_reward/mean")
_WITH_PROMPT = "tokens_mean is read from {}, which counts the tokens of the prompt as well."
CAUTIONS = {name: _WITH_PROMPT.format(name) for name in ("seq_len/all/mean", "seq_len/mean")}
