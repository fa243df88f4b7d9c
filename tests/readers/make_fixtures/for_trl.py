"""Two GRPO steps of TRL on lab problems with its completions logged.

trl 1.16.0, torch 2.13.0, no network.

    python tests/readers/make_fixtures/lab.py /tmp/lab
    cd /tmp/lab && HF_HUB_OFFLINE=1 python .../make_fixtures/for_trl.py

Kept: ``out_trl/completions/completions_00002.parquet``. One reward is the verdict, the other is
shaped by the length; both are columns, and so is what a reward function logs by ``log_extra``.
"""

from datasets import load_dataset
from trl import GRPOConfig, GRPOTrainer


def accuracy_reward(completions, answer, completion_ids, log_extra, **_):
    found = [text.rpartition("</think>")[2].strip() for text in completions]
    log_extra("completion_tokens", [len(ids) for ids in completion_ids])
    return [float(one == gold) for one, gold in zip(found, answer, strict=True)]


def length_reward(completion_ids, **_):
    return [-len(ids) / 100 for ids in completion_ids]


if __name__ == "__main__":
    data = load_dataset("json", data_files="ten/test.jsonl", split="train")
    data = data.map(lambda line: {"prompt": f"<user>{line['prompt']}<assistant>"})
    trainer = GRPOTrainer(
        model="model",
        reward_funcs=[accuracy_reward, length_reward],
        train_dataset=data,
        args=GRPOConfig(
            output_dir="out_trl",
            use_cpu=True,
            bf16=False,
            report_to=[],
            per_device_train_batch_size=16,
            num_generations=4,
            max_completion_length=64,
            temperature=0.9,
            max_steps=2,
            logging_steps=1,
            learning_rate=1e-6,
            log_completions=True,
            save_strategy="no",
            seed=3,
        ),
    )
    trainer.train()
