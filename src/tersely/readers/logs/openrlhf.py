"""OpenRLHF's metrics, as its loggers write them behind ``train/`` (0.5 to August 2026)."""

import re

NAMES = {
    "rollout/response_length_mean": "tokens_mean",
    "rollout/truncated_rate": "truncated_share",
    "rollout/reward_mean": "reward_mean",
    "rollout/num_samples": "rollouts",
    "response_clip_ratio": "truncated_share",
    "response_length": "tokens_mean",
    "reward": "reward_mean",
    "entropy_loss": "entropy_mean",
    "kl": "kl_mean",
    "vllm_kl": "sampler_mismatch",
    "ppo_clip_ratio": "clip_share",
    "actor_grad_norm": "grad_norm",
    "policy_loss": "loss",
    "actor_lr": "learning_rate",
}
# Mean reward of the first tries of an evaluation, by data set.
HELD_OUT = re.compile(r"(eval/)?eval_.+_pass1")
