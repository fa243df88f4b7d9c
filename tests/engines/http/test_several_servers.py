"""Several servers of one model: every sample once, whichever of them is there."""

import asyncio
import logging
import sys
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Lock

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from faulty_server import (
    SPEC,
    Raw,
    Server,
    choice,
    completion,
    echo,
    endpoint,
    make_problems,
    pairs,
    reply,
    running,
)

from tersely.core.errors import ConfigError, EngineError
from tersely.engines.http.pool import make_pool
from tersely.engines.http.request import Dialect
from tersely.engines.http.sampler import HTTPSampler

EVERY = [(f"p/{i}", s) for i in range(60) for s in range(4)]


@pytest.fixture
def servers():
    with ExitStack() as stack:
        yield [stack.enter_context(running(Server())) for _ in range(3)]


def sampler_of(servers, **settings):
    first, *more = servers
    return HTTPSampler(endpoint(first, more_urls=tuple(s.url for s in more), **settings))


def sampled(servers, *, problems=60, **settings):
    found = []
    sampler_of(servers, **settings).sample(
        make_problems(problems), SPEC, on_completion=found.append
    )
    return found


def test_requests_are_spread_and_it_is_known_who_served_what(servers) -> None:
    found = sampled(servers)
    assert pairs(found) == sorted(EVERY)
    served = Counter(c.endpoint for c in found)
    assert served == {server.url: len(server.bodies) for server in servers}
    # 240 requests, all alike: a third each, give or take the 8 in flight.
    assert all(72 <= n <= 88 for n in served.values())


@pytest.mark.parametrize("count", [1, 2])
def test_samples_are_the_same_however_many_servers_make_them(servers, count) -> None:
    def texts(found):
        return {(c.problem_id, c.sample): (c.text, c.tokens, c.finish) for c in found}

    assert texts(sampled(servers[:count])) == texts(sampled(servers))


def test_one_that_dies_is_left_out_and_comes_back_and_every_sample_is_made_once(
    servers, caplog
) -> None:
    dying, *others = servers
    asked = Counter()

    def answer(body):
        asked["all"] += 1
        if asked["all"] == 40:
            dying.is_dead = True
        if asked["all"] == 120:  # from here on it is the only one
            dying.is_dead = False
            for other in others:
                other.is_dead = True
        return echo(body)

    for server in servers:
        server.answer = answer
    found = sampled(servers, tries=6)
    assert pairs(found) == sorted(EVERY)
    assert not any(c.failure for c in found)
    order = [c.endpoint == dying.url for c in found]
    assert any(order[:40])
    assert not any(order[60:110])
    assert all(order[-100:])
    said = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert sum("is left out, for it is lost" in line for line in said) == 3
    assert f"{dying.url} is back" in said


def test_only_if_all_are_gone_does_it_end_and_what_came_is_kept(servers) -> None:
    asked, one_at_a_time = Counter(), Lock()  # each server has a thread of its own

    def answer(body):
        with one_at_a_time:
            asked["all"] += 1
            if asked["all"] == 60:
                for server in servers:
                    server.is_dead = True
        return echo(body)

    for server in servers:
        server.answer = answer
    found = []
    with pytest.raises(EngineError, match=r"stopped after \d+ requests in a row failed"):
        sampler_of(servers, tries=2).sample(make_problems(60), SPEC, on_completion=found.append)
    assert 40 <= len(found) <= 60
    for server in servers:
        server.is_dead = False
    rest = []
    sampler_of(servers).sample(
        make_problems(60), SPEC, skip=set(pairs(found)), on_completion=rest.append
    )
    assert pairs([*found, *rest]) == sorted(EVERY)


def test_one_absent_from_the_start_is_said_and_the_others_do_its_work(servers, caplog) -> None:
    servers[1].is_dead = True
    sampler_of(servers).check()
    assert "the model is not checked" in caplog.text
    assert pairs(sampled(servers)) == sorted(EVERY)


def test_a_server_that_does_not_list_a_folder_is_there_all_the_same(servers, tmp_path) -> None:
    # As with `transformers serve`, which lists the models of its cache only.
    def is_gone(model):
        pool = make_pool(replace(endpoint(servers[0]), model=model), Dialect())
        return asyncio.run(pool.is_gone())

    assert not is_gone(str(tmp_path))
    assert is_gone(str(tmp_path / "nothing"))


def listing(**model):
    return reply({"data": [{"id": "m", **model}]})


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (listing(root="a/7B"), listing(root="b/7B"), r"\(root a/7B and b/7B\)"),
        (listing(max_model_len=10), listing(max_model_len=20), r"max_model_len 10 and 20"),
    ],
)
def test_servers_of_different_models_are_refused_in_one_line(servers, one, other, said) -> None:
    servers[0].models = servers[1].models = one
    servers[2].models = other
    with pytest.raises(ConfigError, match=said) as refusal:
        sampler_of(servers).check()
    assert servers[2].url in str(refusal.value)
    servers[2].models = reply({"data": [{"id": "other"}]})
    with pytest.raises(EngineError, match=rf"{servers[2].url} has no model 'm'; it has other"):
        sampler_of(servers).check()


def test_a_url_given_twice_is_one_server(servers) -> None:
    assert len(endpoint(servers[0], more_urls=(servers[0].url,)).urls) == 1
    with pytest.raises(ConfigError, match="url 'x' must start with http"):
        HTTPSampler(endpoint(servers[0], more_urls=("x",)))


def bad(status):
    return lambda body: reply({"error": "oh"}, status=status)


KINDS = {
    "HTTP 500": bad(500),
    "HTTP 504": bad(504),
    "a model that it lacks": bad(404),
    "a key that it refuses": bad(401),
    "an error in HTTP 200": lambda body: reply({"error": "out of memory"}),
    "no choices": lambda body: reply({"choices": []}),
    "no JSON": lambda body: (200, {}, b"<html>"),
    "a reset within the reply": lambda body: Raw(b"HTTP/1.1 200 X\r\nContent-Le", reset=True),
}


REFUSALS = {
    "HTTP 400": bad(400),
    "HTTP 413": bad(413),
    "HTTP 422": bad(422),
    "a count without the thinking": lambda body: reply(
        completion(choice("4", reasoning_content="a long thought " * 90), tokens=2)
    ),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_one_that_refuses_what_others_take_costs_no_sample(servers, caplog, kind) -> None:
    servers[1].answer = REFUSALS[kind]
    found = sampled(servers, problems=20, tries=1)
    assert len(found) == 80
    assert not any(c.failure for c in found)
    assert servers[1].url not in {c.endpoint for c in found}
    assert f"{servers[1].url} is left out, for it keeps failing" in caplog.text


@pytest.mark.parametrize("status", [400, 422])
def test_a_request_that_all_refuse_fails_and_none_is_left_out(servers, caplog, status) -> None:
    def answer(body):
        return bad(status)(body) if "Question 3:" in str(body["messages"]) else echo(body)

    for server in servers:
        server.answer = answer
    found = sampled(servers, problems=20, tries=2)
    assert {c.problem_id for c in found if c.failure} == {"p/3"}
    assert "is left out" not in caplog.text


def test_a_refusal_beside_a_server_that_fails_once_is_not_the_last_word(servers) -> None:
    asked = Counter()

    def answer(body):
        asked[str(body)] += 1
        hard = "Question 3:" in str(body["messages"]) and asked[str(body)] == 1
        return bad(500)(body) if hard else echo(body)

    servers[0].answer, servers[1].answer = bad(400), answer
    found = sampled(servers[:2], problems=10, tries=3, concurrency=1)
    assert len(found) == 40
    assert not any(c.failure for c in found)


@pytest.mark.parametrize("wait", [{}, {"Retry-After": "1"}])
def test_one_that_is_always_busy_costs_no_sample_and_is_asked_seldom(servers, wait) -> None:
    servers[1].answer = lambda body: reply({"error": "busy"}, status=429, **wait)
    for server in servers:
        server.delay_s = 0.002
    found = sampled(servers[:2], problems=60, tries=1, backoff_s=0.5)
    assert len(found) == 240
    assert not any(c.failure for c in found)
    assert len(servers[1].bodies) < 60


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_fails_beside_others_costs_no_sample(servers, caplog, kind) -> None:
    servers[1].answer = KINDS[kind]
    found = sampled(servers, problems=20, tries=1)
    assert pairs(found) == sorted((f"p/{i}", s) for i in range(20) for s in range(4))
    assert not any(c.failure for c in found)
    assert servers[1].url not in {c.endpoint for c in found}
    assert f"{servers[1].url} is left out" in caplog.text


def test_a_request_that_no_server_bears_fails_and_the_others_do_not(servers) -> None:
    def answer(body):
        return bad(500)(body) if "Question 3:" in str(body["messages"]) else echo(body)

    for server in servers:
        server.answer = answer
    found = sampled(servers, problems=20, tries=2)
    assert len(found) == 80
    assert {c.problem_id for c in found if c.failure} == {"p/3"}
    # Each try asks each server that is there once, at most.
    hard = [b for s in servers for b in s.bodies if "Question 3:" in str(b["messages"])]
    assert len(hard) <= 4 * 2 * 3


def test_one_that_is_busy_is_asked_again_and_not_left_out(servers, caplog) -> None:
    asked = Counter()

    def answer(body):
        asked[str(body)] += 1
        return bad(429)(body) if asked[str(body)] == 1 else echo(body)

    for server in servers:
        server.answer = answer
    assert len(sampled(servers, problems=10, tries=2)) == 40
    assert "is left out" not in caplog.text
    assert set(asked.values()) == {2}
