"""The vLLM sampler against a stand-in with vLLM's call signatures; test_vllm_real.py runs vLLM.

The stand-in's names, arguments and outputs are those of vLLM 0.32 (EngineArgs, LLMEngine,
SamplingParams, RequestOutput, CompletionOutput, Logprob); it samples with the first lab's model.
"""

import builtins
import json
import sys
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from tersely.core.errors import ConfigError, EngineError
from tersely.core.types import Finish, SamplingSpec
from tersely.engines.local.jobs import Engine, Sampler
from tersely.engines.models import lab_folder, load_policy, load_tokenizer
from tersely.engines.vllm import VLLMSampler
from tersely.flows.evaluate.plan import Plan
from tersely.flows.evaluate.session import load_benchmark, run_evaluation
from tersely.flows.observer import QUIET
from tersely.metrics.budgets import Protocol

EOS = json.loads((lab_folder("lab-v1") / "config.json").read_text())["eos_token_id"]
SPEC = SamplingSpec(samples=3, cap_tokens=25, seed=3, temperature=0.8)


@dataclass(kw_only=True)
class EngineArgs:
    model: str
    max_num_seqs: int | None = None
    logprobs_mode: str = "raw_logprobs"
    disable_log_stats: bool = False
    max_model_len: int | None = None
    dtype: str = "auto"
    gpu_memory_utilization: float = 0.9
    enforce_eager: bool = False
    enable_chunked_prefill: bool | None = None


@dataclass(kw_only=True)
class SamplingParams:
    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    max_tokens: int | None = 16
    stop_token_ids: list[int] | None = None
    logprobs: int | None = None
    detokenize: bool = True


class Logprob(NamedTuple):
    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


@dataclass
class Request:
    prompt_ids: list[int]
    params: SamplingParams
    generator: torch.Generator
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[dict[int, Logprob]] = field(default_factory=list)


class LLMEngine:
    """One token of every running request a step; intermediate outputs are given too, as vLLM."""

    last: "LLMEngine"

    def __init__(self, args):
        assert args.logprobs_mode == "processed_logprobs"
        self.args, self.requests, self.aborted = args, {}, []
        self.model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
        LLMEngine.last = self

    @classmethod
    def from_engine_args(cls, engine_args):
        return cls(engine_args)

    def add_request(self, request_id, prompt, params):
        assert request_id not in self.requests
        generator = torch.Generator().manual_seed(params.seed)
        self.requests[request_id] = Request(prompt["prompt_token_ids"], params, generator)

    def abort_request(self, request_ids):
        self.aborted += request_ids
        for name in request_ids:
            self.requests.pop(name, None)

    def step(self):
        outputs = []
        for name in list(self.requests)[: self.args.max_num_seqs]:
            request = self.requests[name]
            reason = self.advance(request)
            said = SimpleNamespace(
                index=0,
                text="",
                token_ids=request.token_ids,
                logprobs=request.logprobs,
                finish_reason=reason,
                stop_reason=None,
            )
            outputs.append(
                SimpleNamespace(request_id=name, outputs=[said], finished=reason is not None)
            )
            if reason is not None:
                del self.requests[name]
        return outputs

    @torch.no_grad()
    def advance(self, request):
        params = request.params
        ids = torch.tensor([request.prompt_ids + request.token_ids])
        logp = (self.model(ids).logits[0, -1] / params.temperature).log_softmax(-1)
        token = int(torch.multinomial(logp.exp(), 1, generator=request.generator))
        request.token_ids.append(token)
        request.logprobs.append({token: Logprob(float(logp[token]), 1)})
        if token in params.stop_token_ids:
            return "stop"
        return "length" if len(request.token_ids) == params.max_tokens else None


@pytest.fixture(autouse=True)
def vllm(monkeypatch):
    module = ModuleType("vllm")
    module.EngineArgs, module.LLMEngine, module.SamplingParams = (
        EngineArgs, LLMEngine, SamplingParams
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "vllm", module)
    return module


@pytest.fixture
def sampler():
    return VLLMSampler(lab_folder("lab-v1"), load_tokenizer("lab-v1"), rows=8)


PROBLEMS = load_benchmark("lab", limit=6)


def flat(groups):
    return [rollout for group in groups for rollout in group]


def test_rollouts_are_whole_and_their_logprobs_are_a_forward_pass(sampler):
    assert isinstance(sampler, Sampler)
    seen = []
    rollouts = flat(sampler.sample(PROBLEMS, SPEC, on_rollout=seen.append))
    assert [(r.problem_id, r.sample) for r in rollouts] == [
        (p.id, s) for p in PROBLEMS for s in range(3)
    ]
    assert sorted(map(id, seen)) == sorted(map(id, rollouts))
    assert {r.finish for r in rollouts} == {Finish.STOP, Finish.LENGTH}
    model = LLMEngine.last.model
    for r in rollouts:
        assert (r.completion_ids[-1] == EOS) == (r.finish is Finish.STOP)
        assert r.tokens <= 25
        assert np.isnan(r.entropy)
        ids = torch.tensor([r.prompt_ids + r.completion_ids])
        with torch.no_grad():
            logp = (model(ids).logits[0, len(r.prompt_ids) - 1 : -1] / 0.8).log_softmax(-1)
        picked = logp[torch.arange(r.tokens), list(r.completion_ids)].numpy()
        np.testing.assert_allclose(r.logprobs, picked, atol=1e-4)


def test_a_sample_depends_on_its_problem_and_number_and_not_on_its_company(sampler):
    together = flat(sampler.sample(PROBLEMS, SPEC))
    alone = flat(sampler.sample(PROBLEMS[2:3], SPEC))
    assert [r.completion_ids for r in alone] == [r.completion_ids for r in together[6:9]]
    assert len({r.completion_ids for r in alone}) > 1
    skip = {(p.id, s) for p in PROBLEMS for s in range(3)} - {(PROBLEMS[4].id, 1)}
    (rest,) = flat(sampler.sample(PROBLEMS, SPEC, skip=skip))
    assert rest.completion_ids == together[13].completion_ids


def test_logprobs_of_a_truncated_policy_are_not_passed_off_as_the_policys(sampler):
    spec = SamplingSpec(samples=1, cap_tokens=5, seed=3, top_k=4)
    assert all(np.isnan(r.logprobs).all() for r in flat(sampler.sample(PROBLEMS[:2], spec)))


def test_what_had_ended_before_a_failure_is_kept_and_the_rest_called_off(sampler, monkeypatch):
    kept, calls = [], []
    advance = LLMEngine.advance

    def fail_late(self, request):
        calls.append(1)
        if len(calls) > 250:
            raise KeyboardInterrupt
        return advance(self, request)

    with monkeypatch.context() as patch:
        patch.setattr(LLMEngine, "advance", fail_late)
        with pytest.raises(KeyboardInterrupt):
            sampler.sample(PROBLEMS, SPEC, on_rollout=kept.append)
    assert 0 < len(kept) < 18
    assert len(kept) + len(set(LLMEngine.last.aborted)) == 18
    have = {(r.problem_id, r.sample) for r in kept}
    rest = flat(sampler.sample(PROBLEMS, SPEC, skip=have))
    assert have | {(r.problem_id, r.sample) for r in rest} == {
        (p.id, s) for p in PROBLEMS for s in range(3)
    }


@pytest.mark.parametrize(
    ("reason", "message"),
    [("abort", "with 'abort' after 1 tokens"), ("stop", r"set eos_token_id in generation_config")],
)
def test_an_end_that_is_no_end_is_an_error(sampler, reason, message, monkeypatch):
    def end(self, request):
        request.token_ids.append(EOS + 1)
        request.logprobs.append({EOS + 1: Logprob(-1.0)})
        return reason

    monkeypatch.setattr(LLMEngine, "advance", end)
    with pytest.raises(EngineError, match=message):
        sampler.sample(PROBLEMS[:1], SPEC)


def test_it_cannot_follow_a_policy_in_training(sampler):
    with pytest.raises(EngineError, match="follows no weights"):
        sampler.refresh()


@pytest.mark.parametrize("emptied", [True, False])
def test_what_vllm_made_with_the_old_weights_must_go_with_them(monkeypatch, emptied):
    policy, tokenizer = load_policy("lab-v1")
    given = dict[str, torch.Tensor]()

    def take(self, method, kwargs):
        assert method == "reload_weights"
        given.update(kwargs["weights_iterator"])

    monkeypatch.setattr(LLMEngine, "collective_rpc", take, raising=False)
    monkeypatch.setattr(LLMEngine, "reset_prefix_cache", lambda self: emptied, raising=False)
    follower = VLLMSampler(lab_folder("lab-v1"), tokenizer, rows=8, policy=policy)
    if emptied:
        follower.refresh()
    else:
        with pytest.raises(EngineError, match="vLLM keeps what it made with the old weights"):
            follower.refresh()
    for name, weight in policy.named_parameters():
        assert torch.equal(given[name], weight)


def test_without_vllm_the_error_names_the_extra(monkeypatch):
    monkeypatch.delitem(sys.modules, "vllm")
    real = builtins.__import__

    def missing(name, *rest):
        if name == "vllm":
            raise ImportError("No module named 'vllm'")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError, match=r"install tersely\[vllm\] in an environment of its own"):
        VLLMSampler(lab_folder("lab-v1"), load_tokenizer("lab-v1"))


def test_a_model_that_vllm_refuses_is_said_in_one_line(monkeypatch):
    def refuse(self, args):
        raise ValueError("No available memory for the cache blocks.\nmore")

    monkeypatch.setattr(LLMEngine, "__init__", refuse)
    with pytest.raises(EngineError, match=r"No available memory for the cache blocks; its own"):
        VLLMSampler(lab_folder("lab-v1"), load_tokenizer("lab-v1"))


def test_an_evaluation_through_another_engine_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("tersely.core.manifest.version", lambda name: "0")
    plan = Plan(
        model="lab-v1",
        benchmark="lab",
        out=tmp_path / "run",
        spec=SPEC,
        budgets=(10, 25),
        protocol=Protocol.FINISHED,
        limit=3,
        engine=Engine.VLLM,
    )
    run_evaluation(plan, observer=QUIET)
    assert len((plan.out / "records.jsonl").read_text().splitlines()) == 9
    assert json.loads((plan.out / "manifest.json").read_text())["engine"] == "vllm"
