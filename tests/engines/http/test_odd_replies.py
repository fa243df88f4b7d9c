"""Replies that few servers send: taken where a sample is whole, else named in plain words."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from faulty_server import SPEC, Server, choice, completion, endpoint, reply, running, sample

from tersely.core.errors import EngineError
from tersely.core.types import SamplingSpec
from tersely.engines.http.reply import excerpt
from tersely.engines.http.sampler import HTTPSampler
from tersely.engines.models import lab_folder

ONE = replace(SPEC, samples=1)
WHOLE = completion(choice("4"), tokens=2)


@pytest.fixture
def server():
    with running(Server()) as one:
        yield one


def failure_of(server: Server, answer, **settings) -> str:
    """Why none of the requests succeeds."""
    server.answer = lambda asked: answer
    with pytest.raises(EngineError) as error:
        sample(server, spec=ONE, **settings)
    return str(error.value)


def text_of(server: Server, answer, **settings) -> str:
    """The text of the only sample, which did not fail."""
    server.answer = lambda asked: answer
    (only,) = sample(server, spec=ONE, **settings)
    assert only.failure is None
    return only.text


@pytest.mark.parametrize("error", ["partial", {"code": 503}, ["no"], 1, True])
@pytest.mark.parametrize("place", ["reply", "choice"])
def test_a_reply_with_choices_and_an_error_is_asked_for_again(server, error, place) -> None:
    odd = {**WHOLE, "error": error}
    if place == "choice":
        odd = {**WHOLE, "choices": [choice("4") | {"error": error}]}
    assert "HTTP 200 with an error" in failure_of(server, reply(odd))
    assert len(server.bodies) == 3


@pytest.mark.parametrize("error", [None, "", {}, [], False, 0, {"message": "", "code": None}])
def test_an_empty_error_is_none(server, error) -> None:
    assert text_of(server, reply({**WHOLE, "error": error})) == "4"


def chosen(**changes):
    return completion(choice("4") | changes, tokens=2)


ODD = {
    "choices.0.finish_reason is a list, not text": chosen(finish_reason=["stop"]),
    "choices.0.message.content is a number, not text": chosen(message={"content": 4}),
    "choices.0.message.content is an object, not text": chosen(message={"content": {"a": 1}}),
    "choices.0.message.content.1 is a number, not text": chosen(
        message={"content": ["a", {"type": "text", "text": 4}]}
    ),
    "choices.0.message.reasoning is true or false, not text": chosen(message={"reasoning": True}),
    "choices.0.message is null": chosen(message=None),
    "choices.0.message is missing": {**WHOLE, "choices": [{"text": "4"}]},
    "choices.1 is null, not an object": {**WHOLE, "choices": [choice("4"), None]},
    "choices is an object, not a list": {**WHOLE, "choices": {"0": 1}},
    "it is a list, not an object": [1, 2],
    "it is null, not an object": None,
    "it is text, not an object": "4",
}


@pytest.mark.parametrize("odd", ODD)
def test_what_is_odd_is_said_in_plain_words_with_a_fix_that_fits(server, odd) -> None:
    said = failure_of(server, reply(ODD[odd]))
    assert f"no chat completion: {odd}; see that --endpoint is the url of a server" in said
    assert "completion_tokens with" not in said
    assert len(server.bodies) == 1


@pytest.mark.parametrize("count", [2.5, float("nan"), float("inf"), True, [3], "9" * 5000, "x"])
def test_a_count_that_is_none_is_said_and_a_tokenizer_counts_in_its_place(server, count) -> None:
    odd = completion(choice("6"), tokens=count)
    assert "usage.completion_tokens is " in failure_of(server, reply(odd))
    server.answer = lambda asked: reply(odd)
    (only,) = sample(server, spec=ONE, tokenizer=str(lab_folder()))
    assert only.tokens == 2


def test_a_quoted_reply_that_is_cut_ends_in_an_ellipsis() -> None:
    assert excerpt("x" * 200) == "x" * 200
    assert excerpt("x" * 201) == "x" * 199 + "…"
    assert excerpt("a\x1b[31m\n b") == "a\ufffd[31m b"


PARTS = {
    "ab": [{"type": "text", "text": None}, "a", None, {"type": "text", "text": "b"}],
    "c": ["c", {}, {"type": "text", "text": ""}],
    "<think>why</think>d": [{"type": "thinking", "thinking": ["wh", "y", None]}, "d"],
}


@pytest.mark.parametrize("text", PARTS)
@pytest.mark.parametrize("stream", [False, True])
def test_empty_parts_are_passed_over_and_bare_texts_are_parts(server, text, stream) -> None:
    body = completion(choice(PARTS[text]), tokens=9)
    assert text_of(server, streamed(PARTS[text]) if stream else reply(body)) == text


def test_half_a_character_in_thinking_is_no_fault(server) -> None:
    body = completion(choice("4", reasoning_content="so \ud800."), tokens=9)
    assert text_of(server, reply(body)) == "<think>so \ufffd.</think>4"


def streamed(*texts, finish: str | None = "stop", tokens: int | None = 9, end: str = "", **headers):
    """A stream of these texts."""
    chunks: list = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in texts]
    chunks += [{"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}] * bool(finish)
    chunks += [{"choices": [], "usage": {"completion_tokens": tokens}}] * (tokens is not None)
    lines = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
    return 200, headers, (lines + end).encode()


def test_a_stream_needs_neither_its_content_type_nor_its_last_line(server) -> None:
    for end in ("", "data: [DONE]\n\n", "data:[DONE]"):
        assert text_of(server, streamed("4", "2", end=end)) == "42"
    halves = streamed("\ud83d", "\ude00 \ud83d")
    assert text_of(server, halves) == "\U0001f600 \ufffd"


ENDED_EARLY = {
    "no finish": streamed("4", finish=None),
    "no usage": streamed("4", tokens=None),
    "neither": streamed("4", finish=None, tokens=None),
    "within an event": streamed("4", finish=None, tokens=None, end='data: {"choices": [{"ind'),
    "nothing said": (200, {}, b": keep-alive\n\n"),
}


@pytest.mark.parametrize("way", ENDED_EARLY)
def test_a_stream_that_ended_early_is_said_and_asked_for_again(server, way) -> None:
    assert "the stream ended early (got: " in failure_of(server, ENDED_EARLY[way])
    assert len(server.bodies) == 3


def test_a_stream_that_came_to_its_end_lacks_what_it_never_sends(server) -> None:
    done = "data: [DONE]\n\n"
    assert "has no finish_reason" in failure_of(server, streamed("4", finish=None, end=done))
    assert "has no usage" in failure_of(server, streamed("4", tokens=None, end=done))


NO_JSON = {
    "the reply is HTML, not JSON: --endpoint may be the wrong url, or a proxy": b"<html>login",
    "the reply is HTML, not JSON": b"\n <!DOCTYPE html><p>login",
    "the reply is not text in UTF-8": b'{"choices": "\xff\xfelogin',
    "malformed JSON: it is packed with gzip": b"\x1f\x8b\x08login",
    "malformed JSON: Expecting": b"login",
}


@pytest.mark.parametrize("said", NO_JSON)
def test_what_is_no_json_is_told_by_what_it_is_and_quoted(server, said) -> None:
    found = failure_of(server, (200, {"Content-Type": "text/html"}, NO_JSON[said]))
    assert said in found
    assert "login" in found.partition("(got: ")[2]


def test_a_reply_in_utf_16_is_read(server) -> None:
    assert text_of(server, (200, {}, json.dumps(WHOLE).encode("utf-16"))) == "4"


@pytest.mark.parametrize("status", [201, 202, 203, 206, 299])
def test_every_status_of_success_brings_a_sample(server, status) -> None:
    assert text_of(server, reply(WHOLE, status=status)) == "4"


@pytest.mark.parametrize("status", [200, 204])
def test_an_empty_reply_is_no_refusal(server, status) -> None:
    said = failure_of(server, (status, {}, b""))
    assert "(the server sent an empty reply)" in said
    assert len(server.bodies) == 3


SAME = {
    "numbers": lambda n: reply(completion(choice("4"), tokens=1000 + n)),
    "a text and a number": lambda n: reply({"error": f"request {'ab' * n} failed"}, status=500),
    "a quoted body": lambda n: (200, {}, b"<html>" + b"x" * n),
    "where the JSON is cut": lambda n: (200, {}, json.dumps(WHOLE).encode()[: 5 + 3 * n]),
    "a refusal": lambda n: reply({"error": f"trace {'x; ' * n}"}, status=400),
    "a negative count": lambda n: reply(completion(choice("4"), tokens=-1 - n)),
}


@pytest.mark.parametrize("way", SAME)
def test_one_kind_of_failure_is_one_reason(server, way) -> None:
    numbers = iter(range(100))
    server.answer = lambda asked: SAME[way](next(numbers))
    with pytest.raises(EngineError, match="none of 16 requests succeeded") as error:
        sample(server, problems=20, tries=1)
    assert "reasons" not in str(error.value)


@pytest.mark.parametrize("indices", [(0, 0), (0, 1), (3, 5)])
def test_a_choice_that_comes_twice_is_taken_once_with_one_warning(server, caplog, indices) -> None:
    rows = [choice("4", index=index) for index in indices]
    server.answer = lambda asked: reply(completion(*rows, tokens=2))
    assert {(c.text, c.tokens) for c in sample(server)} == {("4", 2)}
    assert caplog.text.count("gives 2 choices for one that is asked for") == 1


def test_of_several_choices_the_first_is_taken_where_its_tokens_can_be_told(server) -> None:
    rows = [choice("77", index=1), choice("6", index=0)]
    said = failure_of(server, reply(completion(*rows, tokens=5)))
    assert "it ignores n: use a server or proxy that keeps to n" in said
    assert "--per-request" not in said
    server.answer = lambda asked: reply(completion(*rows, tokens=5))
    (only,) = sample(server, spec=ONE, tokenizer=str(lab_folder()))
    assert (only.text, only.tokens) == ("6", 2)


TO = {
    "so to itself, and another --endpoint does not help": [
        "/v1/chat/completions",
        "/v1/chat/completions/",
    ],
    "which is no server's url for chat completions": [
        "/login?next=a",
        "ftp://h/v1/models",
        "http://[/",
    ],
    "it redirects to nowhere": [""],
}


@pytest.mark.parametrize("said", TO)
def test_a_redirect_that_no_other_endpoint_mends_names_none(server, said) -> None:
    for location in TO[said]:
        found = failure_of(server, reply({}, status=307, Location=location))
        assert said in found
        assert "give --endpoint" not in found


@pytest.mark.parametrize("location", ["mailto:a@b", "http://h:port/"])
def test_a_redirect_to_no_url_is_a_failure_of_the_server(server, location) -> None:
    odd = reply({}, status=307, Location=location)
    assert "the server redirects to what is no url: " in failure_of(server, odd)
    server.models = reply({}, status=307, Location="mailto:a@b")
    with pytest.raises(EngineError, match="the server redirects to what is no url: "):
        HTTPSampler(endpoint(server)).check()


REFUSALS = {
    "n > 1 is not supported": "ask for each sample alone with --per-request 1",
    "Invalid value for 'n': at most 1": "ask for each sample alone with --per-request 1",
    "logprobs are not available for this model": "ask for each sample alone with --per-request 1",
    "temperature must be in [0.1, 1]": "choose another with --temperature",
    "Unrecognized request argument supplied: top_k": "choose another with --top-k (0 is off)",
    "top_p must be 1": "choose another with --top-p (1 is off)",
    "bad\n\nrequest": "see what the server says and correct the settings",
}


@pytest.mark.parametrize("said", REFUSALS)
def test_a_setting_that_the_server_refuses_is_answered_with_its_option(server, said) -> None:
    server.answer = lambda asked: reply({"error": {"message": said}}, status=400)
    spec = replace(SPEC, temperature=0.5)
    with pytest.raises(EngineError, match=re.escape(REFUSALS[said])):
        sample(server, spec=spec, samples_per_request=2, seeded=False)


def test_what_was_not_asked_for_is_not_named_as_the_fix(server) -> None:
    answer = reply({"error": {"message": "n > 1 is not supported"}}, status=400)
    assert "--per-request" not in failure_of(server, answer)


ENDS = {"content_filter": 2, "refusal": 3}


def test_samples_that_came_and_failed_are_named_and_how_to_ask_again(server, caplog) -> None:
    def answer(asked):
        number = int(asked["messages"][0]["content"].split()[1].strip(":"))
        finish = next((name for name, place in ENDS.items() if place == number), "stop")
        return reply(completion(choice("4", finish=finish), tokens=2))

    server.answer = answer
    sample(server, problems=5, spec=SamplingSpec(samples=2, cap_tokens=9, seed=0))
    lines = [record.getMessage() for record in caplog.records]
    for name, place in ENDS.items():
        reason = f"p/{place} failed: the server ended it with finish_reason {name!r}"
        assert lines.count(reason) == 1
    assert lines[-1] == "4 samples failed; the same command with --retry-failed asks for them again"


def test_where_nothing_failed_nothing_is_said_of_asking_again(server, caplog) -> None:
    sample(server)
    assert "--retry-failed" not in caplog.text
