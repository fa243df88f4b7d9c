"""open-instruct's metrics of GRPO (0.1 to August 2026); ``val`` is of its training rollouts."""

import re

NAMES = {
    "val/sequence_lengths": "tokens_mean",
    "val/sequence_lengths_solved": "correct_tokens_mean",
    "val/sequence_lengths_unsolved": "wrong_tokens_mean",
    "scores": "reward_mean",
    "objective/scores": "reward_mean",
    "policy/entropy_avg": "entropy_mean",
    "objective/kl_avg": "kl_mean",
    "loss/kl_avg": "kl_mean",
    "policy/clipfrac_avg": "clip_share",
    "optim/grad_norm": "grad_norm",
    "loss/total_avg": "loss",
    "loss/policy_avg": "loss",
    "lr": "learning_rate",
}
ACCURACY = re.compile(r"objective/verifiable_correct_rate")
HELD_OUT = re.compile(r"eval/(objective/verifiable_correct_rate|scores)")
