"""A dump of rollouts that verl 0.9.1 wrote: its reward loop grades the lab model's samples, and its
trainer's own ``_log_rollout_data`` decodes and dumps them. No Ray, no engine, no training.

    python tests/readers/make_fixtures/lab.py /tmp/lab
    cd /tmp/lab && HF_HUB_OFFLINE=1 VERL/bin/python .../make_fixtures/for_verl.py

The first in this project's own environment, the second in verl's (``make test-verl`` makes it).
Kept: ``10.jsonl``. The reward is DAPO's with its overlong penalty.
"""

import asyncio
import json
from pathlib import Path

import numpy as np
import torch
from omegaconf import OmegaConf
from transformers import AutoModelForCausalLM, AutoTokenizer
from verl import DataProto
from verl.experimental.reward_loop.reward_manager.dapo import DAPORewardManager
from verl.trainer.ppo.ray_trainer import RayPPOTrainer

CAP, BUFFER, REPEATS, STEP = 64, 16, 3, 10
REWARD = {
    "max_resp_len": CAP,
    "overlong_buffer_cfg": {"enable": True, "len": BUFFER, "penalty_factor": 1.0, "log": True},
}


def compute_score(data_source, solution_str, ground_truth, extra_info):
    """The answer after the thinking, graded as verl's math_dapo does: 1, else -1."""
    answer = solution_str.rpartition("</think>")[2].strip()
    right = answer == ground_truth
    return {"score": 1.0 if right else -1.0, "acc": right, "pred": answer}


def padded(rows, *, left, pad):
    width = max(map(len, rows))
    return torch.tensor(
        [[pad] * (width - len(r)) * left + r + [pad] * (width - len(r)) * (not left) for r in rows]
    )


def sampled(problems, model, tokenizer):
    """A batch as verl's rollout gives it: prompts padded on the left, responses on the right."""
    torch.manual_seed(0)
    prompts, responses, answers = [], [], []
    for problem in problems:
        ids = tokenizer(f"<user>{problem['prompt']}<assistant>", return_tensors="pt")
        for _ in range(REPEATS):
            out = model.generate(**ids, max_new_tokens=CAP)[0].tolist()
            prompts.append(ids["input_ids"][0].tolist())
            responses.append(out[len(prompts[-1]) :])
            answers.append({"ground_truth": problem["answer"], "style": "rule"})
    masks = (
        padded([[1] * len(r) for r in prompts], left=True, pad=0),
        padded([[1] * len(r) for r in responses], left=False, pad=0),
    )
    return DataProto.from_dict(
        tensors={
            "prompts": padded(prompts, left=True, pad=tokenizer.pad_token_id),
            "responses": padded(responses, left=False, pad=tokenizer.pad_token_id),
            "attention_mask": torch.cat(masks, dim=1),
        },
        non_tensors={
            "reward_model": np.array(answers, dtype=object),
            "data_source": np.array(["lab"] * len(answers), dtype=object),
        },
    )


async def graded(batch, tokenizer):
    """Scores and what else the reward loop gives, as arrays, which the agent loop makes of it."""
    config = OmegaConf.create({"reward": {"reward_kwargs": REWARD}})
    manager = DAPORewardManager(config, tokenizer, compute_score)
    results = [await manager.run_single(batch[i : i + 1]) for i in range(len(batch))]
    infos = [result["reward_extra_info"] for result in results]
    extra = {key: np.array([info[key] for info in infos]) for key in infos[0]}
    return manager.assemble_rm_scores(batch, [result["reward_score"] for result in results]), extra


def dump(batch, extra, tokenizer, *, folder):
    trainer = object.__new__(RayPPOTrainer)
    trainer.tokenizer, trainer.global_steps = tokenizer, STEP
    trainer._init_dump_executor()
    trainer._log_rollout_data(batch, extra, {}, str(folder))
    trainer._shutdown_dump_executor()


if __name__ == "__main__":
    model = AutoModelForCausalLM.from_pretrained("model")
    tokenizer = AutoTokenizer.from_pretrained("model")
    lines = Path("ten/test.jsonl").read_text(encoding="utf-8").splitlines()[:8]
    batch = sampled([json.loads(line) for line in lines], model, tokenizer)
    scores, extra = asyncio.run(graded(batch, tokenizer))
    batch.batch["token_level_scores"] = scores
    dump(batch, extra, tokenizer, folder=".")
