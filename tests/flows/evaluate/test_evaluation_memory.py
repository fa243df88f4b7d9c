"""What an evaluation holds while it samples does not grow with its samples."""

import tracemalloc
from types import SimpleNamespace

import numpy as np

from tersely.core.types import Finish, Problem, Rollout, SamplingSpec
from tersely.flows.evaluate.records import evaluate

SAMPLES, TOKENS = 40, 20_000


class Sampler:
    """Makes rollouts of 0.6 MB each, and notes what is held between them."""

    codec = SimpleNamespace(jobs=lambda problems, spec, skip: [None] * SAMPLES)

    def __init__(self):
        self.held = []

    def refresh(self):
        pass

    def sample(self, problems, spec, *, skip=frozenset(), on_rollout=None):
        raise AssertionError("it would return all rollouts")

    def run(self, jobs, spec, *, on_rollout):
        for sample in range(len(jobs)):
            ids = np.arange(1000, 1000 + TOKENS).tolist()
            on_rollout(
                Rollout(
                    problem_id="p",
                    sample=sample,
                    prompt_ids=(1,),
                    completion_ids=tuple(ids),
                    logprobs=np.zeros(TOKENS, dtype=np.float32),
                    entropy=0.0,
                    finish=Finish.STOP,
                    policy_step=0,
                    text="a b " * TOKENS,
                )
            )
            del ids
            self.held.append(tracemalloc.get_traced_memory()[0])


def test_no_rollout_is_held_after_its_record_is_written(tmp_path):
    problem = Problem(id="p", prompt="1 + 1", answer="2", source="b")
    sampler, file = Sampler(), tmp_path / "eval" / "step-000000.jsonl"
    file.parent.mkdir()
    spec = SamplingSpec(samples=SAMPLES, cap_tokens=TOKENS, seed=0)
    tracemalloc.start()
    try:
        records = evaluate(
            sampler, [problem], spec, run="r", file=file, split_text=lambda ids: ("a ",) * len(ids)
        )
    finally:
        tracemalloc.stop()
    assert len(records) == SAMPLES
    # One rollout is 0.6 MB and more: of 30 nothing is left.
    assert sampler.held[-1] - sampler.held[9] < 300_000
