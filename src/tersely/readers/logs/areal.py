"""AReaL's metrics of PPO and GRPO (0.3 to 1.0)."""

import re

NAMES = {
    f"{actor}/{theirs}": ours
    for actor in ("ppo_actor", "grpo_actor")
    for theirs, ours in {
        "seq_len/avg": "tokens_mean",
        "no_eos_ratios/avg": "truncated_share",
        "task_reward/avg": "reward_mean",
        "n_seqs": "rollouts",
        "update/entropy/avg": "entropy_mean",
        "update/clip_ratio/avg": "clip_share",
        "update/grad_norm": "grad_norm",
        "update/actor_loss/avg": "loss",
        "update/lr": "learning_rate",
    }.items()
} | {"rollout/reward": "reward_mean"}
HELD_OUT = re.compile(r"eval-rollout/(task_)?reward(/avg)?")
CAUTIONS = {
    "ppo_actor/seq_len/avg": (
        "tokens_mean is read from ppo_actor/seq_len/avg, which counts the tokens of the prompt as "
        "well."
    ),
    "ppo_actor/no_eos_ratios/avg": (
        "truncated_share is read from ppo_actor/no_eos_ratios/avg, which counts the longest "
        "rollouts of a batch: it is never 0."
    ),
}
