"""Dumps in the documented shape of verl and slime, which do not run without their engines.

The keys are those that the source writes, the samples are the lab model's:
- verl 0.9.1, verl/trainer/ppo/ray_trainer.py, ``_dump_generations`` and ``_validate``: input,
  output, gts, score, step and what the reward function returns; here DAPO's reward manager
  (verl/workers/reward_manager/dapo.py) with its overlong penalty: acc, overlong_reward, overlong.
- slime at 624b824, slime/observability/rollout_data_utils.py, ``save_debug_rollout_data``, and
  slime/utils/types.py, ``Sample.to_dict``; finish reasons from its ``append_response_tokens``.

    python tests/readers/make_fixtures/lab.py /tmp/lab
    cd /tmp/lab && HF_HUB_OFFLINE=1 python .../make_fixtures/for_verl_and_slime.py

In this project's own environment, torch 2.13.0. Kept: ``10.jsonl``, ``eval_3.pt``.
"""

import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

CAP, BUFFER, REPEATS = 64, 16, 3


def sample_all(problems):
    model = AutoModelForCausalLM.from_pretrained("model")
    tokenizer = AutoTokenizer.from_pretrained("model")
    torch.manual_seed(0)
    for problem in problems:
        prompt = f"<user>{problem['prompt']}<assistant>"
        ids = tokenizer(prompt, return_tensors="pt")
        for _ in range(REPEATS):
            out = model.generate(**ids, max_new_tokens=CAP)[0].tolist()
            new = out[ids["input_ids"].shape[1] :]
            text = tokenizer.decode(new, skip_special_tokens=True)
            right = text.rpartition("</think>")[2].strip() == problem["answer"]
            yield problem, prompt, out, new, text, right


def verl_line(problem, tokens, text, right):
    penalty = min(-(len(tokens) - (CAP - BUFFER)) / BUFFER, 0)
    score = 1.0 if right else -1.0
    line = {
        "input": f"user\n{problem['prompt']}\nassistant\n",
        "output": text,
        "gts": problem["answer"],
        "score": score + penalty,
        "step": 10,
        "reward": score + penalty,
        "acc": right,
        "pred": text.rpartition("</think>")[2] if "</think>" in text else None,
        "overlong_reward": penalty,
        "overlong": penalty < 0,
    }
    return json.dumps(line, ensure_ascii=False)


def slime_sample(index, problem, prompt, ids, tokens, text, right):
    stopped = tokens[-1] == 1
    return {
        "group_index": None,
        "index": index,
        "rollout_id": None,
        "prompt": prompt,
        "tokens": ids,
        "response": text,
        "response_length": len(tokens),
        "label": problem["answer"],
        "reward": float(right),
        "loss_mask": None,
        "weight_versions": ["3"],
        "rollout_log_probs": [0.0] * len(tokens),
        "rollout_top_p_token_ids": torch.zeros(2, dtype=torch.int32),
        "remove_sample": False,
        "status": "completed" if stopped else "truncated",
        "metadata": {},
        "spec_info": {"completion_token_num": 0},
        "prefix_cache_info": {"cached_tokens": 0, "total_prompt_tokens": 0},
    }


if __name__ == "__main__":
    lines = Path("ten/test.jsonl").read_text(encoding="utf-8").splitlines()[:8]
    verl, slime = [], []
    for problem, prompt, ids, tokens, text, right in sample_all([json.loads(x) for x in lines]):
        verl.append(verl_line(problem, tokens, text, right))
        slime.append(slime_sample(len(slime), problem, prompt, ids, tokens, text, right))
    Path("10.jsonl").write_text("\n".join(verl) + "\n", encoding="utf-8")
    torch.save({"rollout_id": 3, "samples": slime}, "eval_3.pt")
