"""Sampling through a server: nothing lost, doubled or made up, whatever the server does."""

import json
import logging
import os
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from faulty_server import (
    SPEC,
    Faults,
    Server,
    choice,
    completion,
    endpoint,
    make_problems,
    pairs,
    reply,
    running,
    sample,
)

from tersely.core.errors import ConfigError, EngineError
from tersely.core.types import Completion, Finish, Problem, SamplingSpec
from tersely.engines.http.sampler import Endpoint, HTTPSampler

KEY = "sk-very-secret-0123456789"


@pytest.fixture
def server():
    with running(Server()) as one:
        yield one


@pytest.fixture
def interruptible():
    """As in a terminal: a shell starts its background jobs with the signal ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_two_thousand_requests_through_a_faulty_server_lose_and_double_nothing(caplog) -> None:
    faults = Faults(seed=3, share=0.25, most=3)
    with running(Server(faults=faults)) as server:
        found = sample(server, problems=500, concurrency=32, timeout_s=0.5, tries=8, api_key=KEY)
    assert pairs(found) == sorted((f"p/{i}", s) for i in range(500) for s in range(4))
    assert set(faults.met) == {"429", "500", "malformed", "cut", "gone", "stall"}
    assert min(faults.met.values()) >= 5
    # Each (problem, seed) was asked for by one body only, again and again, and each text holds
    # the prompt of its own problem and a seed that no other sample has.
    assert len(server.tries) == 2000
    assert all(len(set(tries)) == 1 for tries in server.tries.values())
    assert max(len(tries) for tries in server.tries.values()) > 2
    for c in found:
        assert c.text.startswith(f"QUESTION {c.problem_id.removeprefix('p/')}: HOW MANY? seed ")
        assert (c.tokens, c.finish) == (len(c.text), Finish.STOP)
    assert len({c.text for c in found}) == 2000
    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warned) < 10
    failed, _, rest = warned[-1].partition(" ")
    assert rest == "tries failed in all and were made again"
    assert int(failed) >= sum(faults.met.values())
    assert KEY not in caplog.text


def test_the_text_of_a_pair_is_the_same_whatever_the_order_and_the_faults(server) -> None:
    calm = {(c.problem_id, c.sample): c.text for c in sample(server, problems=20)}
    server.faults = Faults(seed=1, share=0.4, most=2)
    rough = {(c.problem_id, c.sample): c.text for c in sample(server, problems=20, timeout_s=0.3)}
    assert rough == calm


def test_seeds_are_of_31_bits_and_differ_by_seed_problem_and_sample(server) -> None:
    sample(server, problems=10)
    sample(server, problems=10, spec=SamplingSpec(samples=4, cap_tokens=512, seed=8))
    seeds = [body["seed"] for body in server.bodies]
    assert len(set(seeds)) == 80
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_a_request_holds_the_sampling_settings_and_the_extra_body(server) -> None:
    spec = SamplingSpec(samples=1, cap_tokens=99, seed=0, temperature=0.6, top_p=0.95, top_k=20)
    sample(server, spec=spec, extra_body={"chat_template_kwargs": {"enable_thinking": True}})
    (body,) = server.bodies
    assert body.pop("seed") >= 0
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "Question 0: how many?"}],
        "max_tokens": 99,
        "temperature": 0.6,
        "top_p": 0.95,
        "top_k": 20,
        "chat_template_kwargs": {"enable_thinking": True},
    }


def test_settings_that_are_off_are_not_sent(server) -> None:
    sample(server)
    assert not {"top_p", "top_k", "n", "logprobs"} & server.bodies[0].keys()


def test_no_more_requests_are_in_flight_than_allowed(server) -> None:
    server.delay_s = 0.01
    sample(server, problems=25, concurrency=5)
    assert server.most_in_flight == 5


def test_skipped_samples_are_not_asked_for(server) -> None:
    skip = {("p/0", 1), ("p/0", 3), ("p/2", 0), ("elsewhere", 0)}
    found = sample(server, problems=3, skip=skip)
    assert pairs(found) == sorted({(f"p/{i}", s) for i in range(3) for s in range(4)} - skip)
    assert len(server.bodies) == 9


def test_with_all_skipped_no_request_is_made(server) -> None:
    assert sample(server, skip={("p/0", s) for s in range(4)}) == []
    assert server.bodies == []


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, RuntimeError])
def test_interrupted_and_resumed_gives_exactly_the_rest(server, interruption) -> None:
    whole = {(c.problem_id, c.sample): c.text for c in sample(server, problems=30)}
    kept: dict[tuple[str, int], str] = {}

    def keep(c: Completion) -> None:
        if len(kept) == 40:
            raise interruption("enough")
        kept[c.problem_id, c.sample] = c.text

    with pytest.raises(interruption, match="enough"):
        HTTPSampler(endpoint(server)).sample(make_problems(30), SPEC, on_completion=keep)
    rest = {(c.problem_id, c.sample): c.text for c in sample(server, problems=30, skip=set(kept))}
    assert len(kept) == 40
    assert not kept.keys() & rest.keys()
    assert kept | rest == whole


def test_an_interrupt_from_the_keyboard_leaves_at_once(server, interruptible) -> None:
    server.delay_s = 10.0
    press = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    press.start()
    began_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        sample(server, problems=5, timeout_s=60.0)
    assert time.monotonic() - began_s < 5


def test_an_exception_of_the_callback_leaves_at_once(server) -> None:
    server.delay_s = 3.0
    quick = Problem(id="quick", prompt="quick", answer="1", source="made")
    serve_chat = server.chat

    async def chat(raw: bytes, writer) -> bool:
        server.delay_s = 0.0 if b'"quick"' in raw else 3.0
        return await serve_chat(raw, writer)

    def fail(c: Completion) -> None:
        raise ZeroDivisionError

    server.chat = chat
    began_s = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        HTTPSampler(endpoint(server)).sample([quick, *make_problems(5)], SPEC, on_completion=fail)
    assert time.monotonic() - began_s < 2.5


def test_failed_requests_are_completions_with_a_reason_and_the_others_go_on(server) -> None:
    def answer(body):
        if body["messages"][0]["content"].startswith("Question 3:"):
            return reply({"error": "boom"}, status=500)
        return reply(completion(choice("1"), tokens=2))

    server.answer = answer
    found = sample(server, problems=260)
    assert Counter(c.problem_id for c in found) == {f"p/{i}": 4 for i in range(260)}
    failed = [c for c in found if c.failure is not None]
    assert {(c.problem_id, c.finish, c.tokens, c.text, c.failure) for c in failed} == {
        ("p/3", Finish.ERROR, 0, "", 'HTTP 500 {"error": "boom"}')
    }
    assert len(failed) == 4
    tries = [tries for key, tries in server.tries.items() if key.startswith("Question 3:")]
    assert [len(each) for each in tries] == [3, 3, 3, 3]


def test_many_failures_between_successes_do_not_stop_the_run(server) -> None:
    def answer(body):
        odd = int(body["messages"][0]["content"].split()[1].strip(":")) % 2
        return reply({}, status=500) if odd else reply(completion(choice("1"), tokens=2))

    server.answer = answer
    spec = SamplingSpec(samples=1, cap_tokens=8, seed=0)
    found = sample(server, problems=40, spec=spec, concurrency=2, tries=1)
    assert sum(c.failure is not None for c in found) == 20


def test_prompts_that_are_refused_at_the_end_do_not_stop_the_run(server) -> None:
    def answer(body):
        late = int(body["messages"][0]["content"].split()[1].strip(":")) >= 20
        return reply({}, status=400) if late else reply(completion(choice("1"), tokens=2))

    server.answer = answer
    found = sample(server, problems=120, concurrency=2)
    assert sum(c.failure is not None for c in found) == 400


def test_one_problem_with_many_samples_that_always_fail_does_not_stop_the_run(server) -> None:
    def answer(body):
        second = body["messages"][0]["content"].startswith("Question 1:")
        return reply({}, status=500) if second else reply(completion(choice("1"), tokens=2))

    server.answer = answer
    many = SamplingSpec(samples=60, cap_tokens=8, seed=0)
    found = sample(server, problems=3, spec=many, concurrency=1, tries=1)
    assert Counter(c.problem_id for c in found if c.failure is not None) == {"p/1": 60}


@pytest.mark.parametrize("status", [400, 401, 500])
def test_where_the_first_sixteen_all_fail_no_other_is_asked_for(server, status) -> None:
    server.answer = lambda body: reply({"error": "no"}, status=status)
    found: list[Completion] = []
    with pytest.raises(EngineError, match=rf"none of 16 requests succeeded .*HTTP {status}"):
        HTTPSampler(endpoint(server, tries=1)).sample(
            make_problems(500), SPEC, on_completion=found.append
        )
    assert found == []
    assert len(server.bodies) == 16


def test_one_reason_is_one_whatever_each_reply_said(server) -> None:
    said = iter(range(100))
    server.answer = lambda body: reply({"choices": [choice(f"text {next(said)}")]})
    with pytest.raises(EngineError, match=r"none of 16 requests succeeded \(the server's reply"):
        sample(server, problems=20)


def test_a_server_that_dies_stops_the_run_and_its_failures_are_not_kept(server) -> None:
    def answer(body):
        late = int(body["messages"][0]["content"].split()[1].strip(":")) >= 20
        return reply({}, status=503) if late else reply(completion(choice("1"), tokens=2))

    server.answer = answer
    found: list[Completion] = []
    with pytest.raises(EngineError, match=r"^stopped after 16 .*HTTP 503.* 1,920 of 2,000"):
        HTTPSampler(endpoint(server, concurrency=4, tries=2)).sample(
            make_problems(500), SPEC, on_completion=found.append
        )
    assert len(found) == 80
    assert all(c.failure is None for c in found)
    assert len(server.bodies) < 80 + 2 * 24


def test_a_server_that_is_gone_stops_the_run_early() -> None:
    with running(Server()) as server:
        pass
    with pytest.raises(EngineError, match=r"none of 16 requests succeeded \(ConnectError"):
        sample(server, problems=500, concurrency=4, tries=2)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refusal_is_not_retried_and_quotes_the_server_without_the_key(server, status) -> None:
    text = f"Bearer {KEY} is no good. " + "x" * 300
    server.answer = lambda body: reply({"error": text}, status=status)
    with pytest.raises(EngineError, match=rf"HTTP {status} .*is no good.*; ") as error:
        sample(server, concurrency=1, api_key=KEY)
    assert len(server.bodies) == 4
    assert len(str(error.value)) < 500
    assert "x" * 100 in str(error.value)
    assert KEY not in str(error.value)


def test_the_key_is_sent_and_in_no_log_or_repr(server, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    server.faults = Faults(seed=0, share=0.5, most=2)
    sample(server, problems=5, api_key=KEY, timeout_s=0.3, tries=5)
    assert f"authorization: bearer {KEY}".lower() in server.headers[0].lower()
    assert KEY not in caplog.text
    assert KEY not in repr(endpoint(server, api_key=KEY))


def test_retry_after_is_waited_for_and_bounded(server, monkeypatch) -> None:
    monkeypatch.setattr("tersely.engines.http.request.LONGEST_ASKED_WAIT_S", 0.3)
    asked = iter(["3600", "Wed, 21 Oct 2026 07:28:00 GMT", "nan"])

    def answer(body):
        wait = next(asked, None)
        if wait:
            return reply({}, status=429, **{"Retry-After": wait})
        return reply(completion(choice("1"), tokens=1))

    server.answer = answer
    began_s = time.monotonic()
    one = SamplingSpec(samples=1, cap_tokens=8, seed=0)
    assert len(sample(server, spec=one, concurrency=1, tries=4)) == 1
    assert 0.3 <= time.monotonic() - began_s < 1.0


def test_a_server_that_ignores_the_temperature_is_warned_about(server, caplog) -> None:
    server.answer = lambda body: reply(completion(choice("always"), tokens=1))
    sample(server, problems=10, spec=SamplingSpec(samples=4, cap_tokens=9, seed=0, temperature=0.0))
    assert not caplog.text
    sample(server, problems=10)
    assert "seems to ignore temperature 1" in caplog.text


def test_check_accepts_a_server_that_lists_the_model_or_lists_nothing(server, tmp_path) -> None:
    HTTPSampler(endpoint(server)).check()
    folder = Endpoint(url=server.url, model=str(tmp_path))
    HTTPSampler(folder).check()
    for models in (reply({"data": []}), reply({}), reply({}, status=404), reply({}, status=500)):
        server.models = models
        HTTPSampler(endpoint(server)).check()


def test_check_names_the_models_that_there_are(server) -> None:
    server.models = reply({"data": [{"id": "small"}, {"id": "large"}]})
    with pytest.raises(EngineError, match="has no model 'm'; it has small, large"):
        HTTPSampler(endpoint(server)).check()


@pytest.mark.parametrize(("status", "message"), [(401, "API key"), (503, "not ready")])
def test_check_tells_a_refused_key_from_a_server_that_starts(server, status, message) -> None:
    server.models = reply({"error": KEY}, status=status)
    with pytest.raises(EngineError, match=message) as error:
        HTTPSampler(endpoint(server, api_key=KEY)).check()
    assert KEY not in str(error.value)


def test_check_of_an_unreachable_server_names_url_and_fix() -> None:
    with running(Server()) as server:
        pass
    with pytest.raises(EngineError, match=rf"no server answers at {server.url}/models .*start it"):
        HTTPSampler(endpoint(server)).check()


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "localhost:8000/v1"},
        {"url": "http://me:pass@localhost/v1"},
        {"model": ""},
        {"concurrency": 0},
        {"timeout_s": 0.0},
        {"tries": 0},
        {"samples_per_request": 0},
        {"backoff_s": -1.0},
        {"api_key": f"{KEY}\n"},
        {"extra_body": {"seed": 1}},
    ],
    ids=json.dumps,
)
def test_settings_out_of_bounds_are_refused_without_the_key(wrong) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))) as error:
        HTTPSampler(Endpoint(**{"url": "http://localhost/v1", "model": "m", **wrong}))
    assert KEY not in str(error.value)
