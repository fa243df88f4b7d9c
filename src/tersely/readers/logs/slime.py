"""slime's metrics, of its rollouts and of its learner (August 2026)."""

import re

NAMES = {
    "rollout/response_len/mean": "tokens_mean",
    "rollout/truncated_ratio": "truncated_share",
    "rollout/repetition_frac": "looping_share",
    "rollout/raw_reward": "reward_mean",
    "train/entropy_loss": "entropy_mean",
    "train/kl_loss": "kl_mean",
    "train/train_rollout_logprob_abs_diff": "sampler_mismatch",
    "train/pg_clipfrac": "clip_share",
    "train/grad_norm": "grad_norm",
    "train/loss": "loss",
    "train/lr-pg_0": "learning_rate",
}
# eval/DATASET is the mean reward; its other figures have one more part.
HELD_OUT = re.compile(r"eval/(?!step$|epoch$|global_step$|loss$)[^/]+")
