"""The shipped checkpoint is an ordinary Hugging Face model, and all our parts agree about it."""

import numpy as np
import pytest
import torch

from tersely.core.types import Finish, SamplingSpec
from tersely.engines.fallback import make_sampler
from tersely.engines.learning.learner import LocalLearner
from tersely.engines.learning.rows import TrainRow
from tersely.engines.local.decoder import Decoder
from tersely.engines.local.sampler import LocalSampler
from tersely.engines.models import LAB, Policy, lab_folder, load_policy
from tersely.lab.problems import Split, draw_problems


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policy(LAB)


def test_the_checkpoint_is_small(policy: Policy) -> None:
    assert sum(p.numel() for p in policy.model.parameters()) <= 3_000_000
    assert sum(f.stat().st_size for f in lab_folder().iterdir()) <= 8_000_000
    assert policy.model.config.model_type == "qwen3"


def test_our_decoder_gives_the_same_logits(policy: Policy) -> None:
    ids_GT = torch.randint(7, len(policy.tokenizer), (3, 40))
    decoder = Decoder(policy.model)
    with torch.inference_mode():
        ours_GTV = decoder.logits(decoder.prefill(ids_GT).hidden_GTE)
        theirs_GTV = policy.model(input_ids=ids_GT).logits
    assert float((ours_GTV - theirs_GTV).abs().max()) < 1e-4
    assert float(theirs_GTV.std()) > 1


def test_the_base_thinks_aloud_and_is_right_at_times_at_every_length(policy: Policy) -> None:
    sampler = make_sampler(policy.model, policy.tokenizer, rows=64)
    assert isinstance(sampler, LocalSampler)
    problems = draw_problems(per_family=24, seed=5, split=Split.TEST)
    groups = sampler.sample(problems, SamplingSpec(samples=4, cap_tokens=320, seed=1))
    rollouts = [rollout for group in groups for rollout in group]
    finished = [rollout for rollout in rollouts if rollout.finish is Finish.STOP]
    assert len(finished) > 0.95 * len(rollouts)
    assert all(r.text.startswith("<think>") and "</think>" in r.text for r in finished)
    lengths = np.array([rollout.tokens for rollout in finished])
    assert lengths.max() > 10 * lengths.min()


def test_learner_and_sampler_agree_about_what_was_sampled(policy: Policy) -> None:
    sampler = make_sampler(policy.model, policy.tokenizer, rows=16)
    problems = draw_problems(per_family=2, seed=6, split=Split.TRAIN)
    groups = sampler.sample(problems, SamplingSpec(samples=4, cap_tokens=64, seed=2))
    learner = LocalLearner(
        load_policy(LAB).model,
        learning_rate=1e-4,
        warmup_steps=0,
        tokens_per_micro_batch=512,
    )
    rows = [
        TrainRow(
            group=number,
            prompt_ids=rollout.prompt_ids,
            completion_ids=rollout.completion_ids,
            logprobs=rollout.logprobs,
            advantage=1.0,
        )
        for number, group in enumerate(groups)
        for rollout in group
    ]
    assert learner.step(rows, updates=1).sampler_mismatch < 1e-5
