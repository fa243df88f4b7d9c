"""NeMo-RL's metrics of GRPO, 0.2 to 0.7, behind ``train/`` and ``validation/``."""

import re

# ``gen_kl_error`` is a divergence a token between the policies that sample and that learn.
NAMES = {
    "train/mean_gen_tokens_per_sample": "tokens_mean",
    "train/gen_tokens_per_sample/mean": "tokens_mean",
    "train/truncation_rate": "truncated_share",
    "train/reward": "reward_mean",
    "train/mean_total_reward": "reward_mean",
    "train/approx_entropy": "entropy_mean",
    "train/gen_kl_error": "sampler_mismatch",
    "train/kl_penalty": "kl_mean",
    "train/grad_norm": "grad_norm",
    "train/loss": "loss",
    "train/lr": "learning_rate",
}
HELD_OUT = re.compile(r"validation/(.+/)?accuracy")
