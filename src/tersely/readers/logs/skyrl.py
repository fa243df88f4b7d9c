"""SkyRL's metrics (0.2 to August 2026)."""

import re

NAMES = {
    "generate/avg_num_tokens": "tokens_mean",
    "generate/avg_tokens_non_zero_rewards": "positive_tokens_mean",
    "generate/avg_tokens_zero_rewards": "negative_tokens_mean",
    "reward/avg_raw_reward": "reward_mean",
    "reward/avg_pass_at_*": "solved_share",
    "policy/policy_entropy": "entropy_mean",
    "policy/policy_kl": "kl_mean",
    "loss/avg_kl": "kl_mean",
    "policy/rollout_train_logprobs_abs_diff_mean": "sampler_mismatch",
    "policy/clip_ratio": "clip_share",
    "policy/ppo_clip_ratio": "clip_share",
    "policy/grad_norm": "grad_norm",
    "policy/raw_grad_norm": "grad_norm",
    "policy/final_loss": "loss",
    "policy/policy_loss": "loss",
    "policy/policy_lr": "learning_rate",
}
HELD_OUT = re.compile(r"eval/.+/avg_score")
