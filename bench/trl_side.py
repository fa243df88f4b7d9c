"""TRL's half of ``rl_step.py``: a recipe's steps in TRL's GRPOTrainer; run by ``.venv-trl``.

Prompts and their order, grading and the truncation reward are this package's own; all else is TRL.
One JSON object goes to stdout.
"""

import argparse
import json
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

import torch
import transformers
import trl
from datasets import Dataset
from transformers import TrainerCallback

from tersely.core.types import Grade
from tersely.engines.models import load_policy
from tersely.flows.recipe.problems import load_problems
from tersely.flows.recipe.recipe import Recipe, read_recipe
from tersely.flows.train.step import step_problems
from tersely.tasks import grading


class Rewarded(NamedTuple):
    """What the reward function saw of one step, rollout by rollout."""

    problems: list[str]
    tokens: list[int]
    correct: list[bool]
    rewards: list[float]


class Stopwatch(TrainerCallback):
    """A step is all that lies between the ends of two steps; ``parts`` are within it."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = defaultdict(float)
        self.steps: list[dict[str, float]] = []
        self._end = self._update_began = perf_counter()

    def on_pre_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """The trainer forces the signature."""
        self._update_began = perf_counter()

    def on_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """The trainer forces the signature."""
        self.parts["learn_s"] += perf_counter() - self._update_began

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """The trainer forces the signature."""
        end = perf_counter()
        print(f"TRL step {len(self.steps) + 1}: {end - self._end:.2f} s", file=sys.stderr)
        self.steps.append({"seconds": end - self._end, **self.parts})
        self.parts.clear()
        self._end = end

    def time(self, owner: object, method: str, part: str) -> None:
        """From now on the method's time is added to a part."""
        inner: Callable[..., Any] = getattr(owner, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            began = perf_counter()
            result = inner(*args, **kwargs)
            self.parts[part] += perf_counter() - began
            return result

        setattr(owner, method, timed)


def make_reward(recipe: Recipe, tokenizer: Any, log: list[Rewarded]) -> Callable[..., list[float]]:
    """The recipe's truncation reward as TRL calls it, with a record of what it was given."""
    target = float(recipe.target.parameters["tokens"])

    def truncation(
        completion_ids: list[list[int]],
        problem: list[str],
        answer: list[str],
        grader: list[str],
        **_: Any,
    ) -> list[float]:
        # TRL's own text has lost the thinking marks, which are special tokens.
        texts = tokenizer.batch_decode(
            [[i for i in ids if i != tokenizer.eos_token_id] for ids in completion_ids],
            skip_special_tokens=False,
        )
        grades = [
            grading.load(name)(text, gold).grade
            for name, text, gold in zip(grader, texts, answer, strict=True)
        ]
        finished = [ids[-1] == tokenizer.eos_token_id for ids in completion_ids]
        tokens = [len(ids) for ids in completion_ids]
        correct = [g is Grade.CORRECT and f for g, f in zip(grades, finished, strict=True)]
        rewards = [float(c and t <= target) for c, t in zip(correct, tokens, strict=True)]
        log.append(Rewarded(problem, tokens, correct, rewards))
        return rewards

    return truncation


def make_config(recipe: Recipe, args: argparse.Namespace, folder: str) -> trl.GRPOConfig:
    """The recipe in TRL's words: one optimizer step is one step's rollouts, on-policy."""
    sampling, learner = recipe.sampling, recipe.learner
    rollouts = sampling.prompts_per_step * sampling.samples_per_prompt
    return trl.GRPOConfig(
        output_dir=folder,
        use_cpu=True,
        bf16=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        logging_steps=1000,
        gradient_checkpointing=False,
        per_device_train_batch_size=args.micro_rows,
        gradient_accumulation_steps=rollouts // args.micro_rows,
        num_generations=sampling.samples_per_prompt,
        max_completion_length=sampling.cap_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        use_transformers_continuous_batching=args.continuous_batching,
        shuffle_dataset=False,
        beta=0.0,
        num_iterations=1,
        scale_rewards="group",
        loss_type="dapo",  # a token mean over the whole step
        epsilon=recipe.loss.clip_low,
        epsilon_high=recipe.loss.clip_high,
        mask_truncated_completions=False,
        optim="adamw_torch_fused",
        learning_rate=learner.learning_rate,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=learner.max_grad_norm,
        max_steps=args.warm_up + args.steps,
        seed=recipe.seed,
    )


def run(recipe: Recipe, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Trains for the warm-up and the timed steps; returns one dictionary a step."""
    steps, count = args.warm_up + args.steps, recipe.sampling.prompts_per_step
    problems, _ = load_problems(recipe)
    chosen = [
        problem
        for step in range(steps)
        for problem in step_problems(problems, step, count=count, seed=recipe.seed)
    ]
    rows = Dataset.from_list(
        [
            {
                "prompt": [{"role": "user", "content": p.prompt}],
                "problem": p.id,
                "answer": p.answer,
                "grader": p.grader,
            }
            for p in chosen
        ]
    )
    policy, log, watch = load_policy(recipe.model.path), [], Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        trainer = trl.GRPOTrainer(
            model=policy.model,
            processing_class=policy.tokenizer,
            reward_funcs=make_reward(recipe, policy.tokenizer, log),
            args=make_config(recipe, args, folder),
            train_dataset=rows,
            callbacks=[watch],
        )
        watch.time(trainer, "_generate", "sample_s")
        watch.time(trainer, "_calculate_rewards", "grade_s")
        watch.time(trainer, "_prepare_inputs", "prepare_s")
        watch.time(trainer, "training_step", "step_s")
        trainer.train()
    return [merge(seen, timed) for seen, timed in zip(log, watch.steps, strict=True)]


def merge(seen: Rewarded, timed: dict[str, float]) -> dict[str, Any]:
    """One step's numbers; learning is forward, backward and update, other is what is left."""
    sample_s, grade_s = timed["sample_s"], timed["grade_s"]
    learn_s = timed["learn_s"] + timed["step_s"] - timed["prepare_s"]
    return {
        "seconds": timed["seconds"],
        "sample_s": sample_s,
        "grade_s": grade_s,
        "learn_s": learn_s,
        "other_s": timed["seconds"] - sample_s - grade_s - learn_s,
        **seen._asdict(),
    }


def main() -> None:
    """Reads the recipe, runs it, prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", type=Path, required=True)
    parser.add_argument("--warm-up", type=int, default=1)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--micro-rows", type=int, default=64)
    parser.add_argument("--continuous-batching", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    result = {
        "versions": f"trl {trl.__version__}, transformers {transformers.__version__}, "
        f"torch {torch.__version__}",
        "threads": torch.get_num_threads(),
    }
    stdout, sys.stdout = sys.stdout, sys.stderr
    result["steps"] = run(read_recipe(args.recipe), args)
    print(json.dumps(result), file=stdout)


if __name__ == "__main__":
    main()
