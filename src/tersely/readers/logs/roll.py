"""ROLL's metrics of its RLVR pipeline (0.1 to August 2026)."""

import re

NAMES = {
    "token/response_length/mean": "tokens_mean",
    "tokens/response_length/mean": "tokens_mean",
    "token/total_response_length/clip": "truncated_share",
    "token/right_response_length/mean": "correct_tokens_mean",
    "token/error_response_length/mean": "wrong_tokens_mean",
    "critic/correct/mean": "accuracy",
    "critic/score/mean": "reward_mean",
    "critic/rewards/mean": "reward_mean",
    "critic/entropy/mean": "entropy_mean",
    "actor/kl_loss": "kl_mean",
    "critic/kl": "kl_mean",
    "actor/ppo_ratio_clipfrac": "clip_share",
    "actor/clipfrac": "clip_share",
    "actor_train/grad_norm": "grad_norm",
    "actor/total_loss": "loss",
    "actor/pg_loss": "loss",
    "actor/lr": "learning_rate",
}
HELD_OUT = re.compile(r"val_correct/.+/mean")
