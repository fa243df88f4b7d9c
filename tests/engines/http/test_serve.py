"""Sampling through a server that is not ours: `transformers serve` with the first lab's model."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from transformers import AutoTokenizer

from tersely.core.errors import EngineError
from tersely.core.types import Completion, Finish, SamplingSpec
from tersely.engines.http.sampler import Endpoint, HTTPSampler
from tersely.engines.models import lab_folder
from tersely.lab.problems import Split, draw_problems

NEEDED = ("accelerate", "fastapi", "openai", "uvicorn")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"transformers serve needs {MISSING}")
START_S = 120.0
# The server is greedy at any temperature unless the model's generation config says otherwise.
DRAWING = json.dumps({"do_sample": True, "top_k": 0, "eos_token_id": 1, "pad_token_id": 0})


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """The address of a server that lives as long as this module's tests."""
    folder = tmp_path_factory.mktemp("serve")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "hub").mkdir()
    command = [
        str(Path(sys.executable).with_name("transformers")),
        "serve",
        str(lab_folder("lab-v1")),
    ]
    offline = {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(folder / "hub"), "OMP_NUM_THREADS": "1"}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"],
            env={**os.environ, **offline},
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", server, folder / "log")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.kill()
        server.wait()


def _wait_for(address: str, server: subprocess.Popen, log: Path) -> None:
    end_s = time.monotonic() + START_S
    while time.monotonic() < end_s and server.poll() is None:
        try:
            if httpx.get(address).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    pytest.fail(f"transformers serve did not start: {log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def tokens_of():
    """How many tokens the lab's tokenizer makes of a text."""
    tokenizer = AutoTokenizer.from_pretrained(lab_folder("lab-v1"))
    return lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"])


def endpoint(url: str, **settings) -> Endpoint:
    mine = {
        "model": str(lab_folder("lab-v1")),
        "concurrency": 4,
        "timeout_s": 60.0,
        "tries": 2,
        "stop_texts": ("<end>",),
        "extra_body": {"generation_config": DRAWING},
    }
    return Endpoint(url=url, **{**mine, **settings})


def sample(url: str, spec: SamplingSpec, **settings) -> list[Completion]:
    problems = draw_problems(per_family=3, seed=0, split=Split.TEST)
    found: list[Completion] = []
    sampler = HTTPSampler(endpoint(url, **settings))
    sampler.check()
    sampler.sample(problems, spec, on_completion=found.append)
    assert sorted((c.problem_id, c.sample) for c in found) == sorted(
        (p.id, s) for p in problems for s in range(spec.samples)
    )
    return sorted(found, key=lambda c: (c.problem_id, c.sample))


def test_text_tokens_and_finish_hang_together(url, tokens_of) -> None:
    answers = {p.id: p.answer for p in draw_problems(per_family=3, seed=0, split=Split.TEST)}
    # Requests side by side share the server's seeds, so each start draws others: of 24 completions
    # some 18 are right. Of 12, fewer than six were now and then.
    found = sample(url, SamplingSpec(samples=4, cap_tokens=320, seed=1))
    stopped = [c for c in found if c.finish is Finish.STOP]
    assert len(stopped) >= 6
    for c in stopped:
        # The server tells an empty thought like none: its two tags are then in no text.
        tags = 0 if c.text.startswith("<think>") else 2
        assert c.tokens == tokens_of(c.text) + tags + 1
    assert sum(c.text.startswith("<think>") for c in stopped) >= 6
    assert sum(c.text.endswith(f"</think>{answers[c.problem_id]}") for c in stopped) >= 6
    assert all(c.tokens == 320 for c in found if c.finish is Finish.LENGTH)
    assert any(a.text != b.text for a, b in zip(found[::2], found[1::2], strict=True))


def test_a_small_cap_leaves_the_thinking_open_and_no_prompt_in_it(url, tokens_of) -> None:
    found = sample(url, SamplingSpec(samples=2, cap_tokens=8, seed=1))
    # A guess may end within the cap: the server's seeds hold for one request at a time only.
    cut = [c for c in found if c.finish is Finish.LENGTH]
    assert len(cut) >= len(found) // 2
    assert all(c.tokens <= 8 for c in found)
    for c in cut:
        assert c.tokens == 8
        assert c.text.startswith("<think>")
        assert "?" not in c.text
        # One that stops just at the cap is called cut, and its stop token is no text.
        assert tokens_of(c.text) in (7, 8)


def test_one_request_at_a_time_gives_the_same_samples_again(url) -> None:
    spec = SamplingSpec(samples=2, cap_tokens=320, seed=2)
    assert sample(url, spec, concurrency=1) == sample(url, spec, concurrency=1)


def test_the_server_is_greedy_unless_told_otherwise_and_that_is_seen(url, caplog) -> None:
    sample(url, SamplingSpec(samples=5, cap_tokens=24, seed=1), extra_body={})
    assert "seems to ignore temperature 1" in caplog.text


def test_settings_that_the_server_does_not_know_are_refused(url) -> None:
    with pytest.raises(EngineError, match=r"HTTP 422 .*top_k"):
        sample(url, SamplingSpec(samples=1, cap_tokens=8, seed=1, top_k=5))
    with pytest.raises(EngineError, match=r"n=2 and got choices \[0\]"):
        sample(url, SamplingSpec(samples=2, cap_tokens=8, seed=1), samples_per_request=2)
    with pytest.raises(EngineError, match=r"HTTP 400 .*pinned"):
        sample(url, SamplingSpec(samples=1, cap_tokens=8, seed=1), model="another")
