"""What a server's reply becomes, and which replies are refused."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from faulty_server import SPEC, Server, choice, completion, pairs, reply, running, sample

from tersely.core.errors import EngineError
from tersely.core.types import Completion, Finish


@pytest.fixture
def server():
    with running(Server()) as one:
        yield one


def one_of(server: Server, body, *, spec=SPEC, **settings) -> Completion:
    """The completion that this reply becomes."""
    server.answer = lambda asked: reply(body)
    first = {("p/0", s) for s in range(1, spec.samples)}
    (only,) = sample(server, spec=spec, skip=first, **settings)
    return only


MISSING = {
    "usage": {"choices": [choice("1")]},
    r"usage\.completion_tokens": {"choices": [choice("1")], "usage": {"prompt_tokens": 3}},
    r"choices\.0\.message": {"choices": [{"index": 0}], "usage": {"completion_tokens": 1}},
    "finish_reason": completion(choice("1", finish=None), tokens=1),
    r"usage\.completion_tokens is 2\.5, not a whole number; use a server that reports": completion(
        choice("1"), tokens=2.5
    ),
    "counts -1 completion tokens": completion(choice("1"), tokens=-1),
    r"ignores max_tokens: 912 > 512": completion(choice("1"), tokens=912),
    r"got choices \[0, 1\]; it ignores n: use a server or proxy": completion(
        choice("1"), choice("2", index=1), tokens=1
    ),
}


@pytest.mark.parametrize("message", MISSING)
def test_a_reply_that_lacks_what_a_sample_needs_is_not_asked_for_again(server, message) -> None:
    with pytest.raises(EngineError, match=message):
        one_of(server, MISSING[message])
    assert len(server.bodies) == 1


BROKEN_OFF = {
    "HTTP 200 with an error: .*overloaded": {"error": {"message": "overloaded"}},
    "the reply has no choices": completion(tokens=1),
    "broke off with finish_reason 'error'": completion(choice("1", finish="error"), tokens=1),
    "broke off with finish_reason 'abort'": completion(choice("1", finish="abort"), tokens=1),
    "broke off with finish_reason 'insufficient_system_resource'": completion(
        choice("1", finish="insufficient_system_resource"), tokens=1
    ),
}


@pytest.mark.parametrize("message", BROKEN_OFF)
def test_a_reply_that_says_that_it_broke_off_is_asked_for_again(server, message) -> None:
    with pytest.raises(EngineError, match=message):
        one_of(server, BROKEN_OFF[message])
    assert len(server.bodies) == 3

    replies = iter([BROKEN_OFF[message], completion(choice("1"), tokens=2)])
    server.answer = lambda asked: reply(next(replies))
    (found,) = sample(server, spec=replace(SPEC, samples=1))
    assert (found.text, found.tokens, found.failure) == ("1", 2, None)


def test_an_error_that_ends_a_stream_is_named_and_the_request_made_again(server) -> None:
    events = [
        {"choices": [{"index": 0, "delta": {"content": "1"}}]},
        {"error": {"message": "engine died"}},
    ]
    body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    server.answer = lambda asked: (200, {"Content-Type": "text/event-stream"}, body)
    with pytest.raises(EngineError, match=r"HTTP 200 with an error: .*engine died"):
        sample(server, spec=replace(SPEC, samples=1))
    assert len(server.bodies) == 3


def test_a_redirect_names_the_url_that_endpoint_takes(server) -> None:
    server.answer = lambda asked: reply({}, status=308, Location="/new/v1/chat/completions")
    with pytest.raises(EngineError, match=r"points to, http://\S+:\d+/new/v1\)"):
        sample(server, spec=replace(SPEC, samples=1))


PARTS = {
    "ab": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
    "<think>why</think>4": [
        {"type": "thinking", "thinking": [{"type": "text", "text": "why"}]},
        {"type": "text", "text": "4"},
    ],
    "<think>so</think>5": [{"type": "thinking", "thinking": "so"}, {"type": "text", "text": "5"}],
    "6": [{"type": "image_url", "image_url": {}}, {"type": "text", "text": "6"}],
}


@pytest.mark.parametrize("text", PARTS)
def test_a_content_in_parts_is_its_text_and_its_thinking(server, text) -> None:
    assert one_of(server, completion(choice(PARTS[text]), tokens=9)).text == text


def test_a_choice_without_an_index_is_the_one_asked_for(server) -> None:
    only = choice("1")
    del only["index"]
    assert one_of(server, completion(only, tokens=2)).text == "1"
    assert one_of(server, completion(choice("2", index=7), tokens=2)).text == "2"


FINISHES = {
    Finish.STOP: ["stop", "eos", "end_turn", "STOP", "tool_calls", "function_call"],
    Finish.LENGTH: ["length", "max_tokens", "MAX_TOKENS", "model_length", "repetition"],
    Finish.ERROR: ["content_filter", "refusal", "SAFETY", "something new"],
}


@pytest.mark.parametrize("finish", FINISHES)
def test_the_finish_is_what_the_server_says(server, finish) -> None:
    for said in FINISHES[finish]:
        assert one_of(server, completion(choice("1", finish=said), tokens=9)).finish is finish


TEXTS = {
    "<think>2+2=4</think>4": choice("4", reasoning_content="2+2=4"),
    "<think>2+2=4</think>5": choice("5", reasoning="2+2=4", reasoning_content=None),
    "<think>both</think>6": choice("6", reasoning="both", reasoning_content="both"),
    "<think>2+2": choice(None, reasoning_content="2+2", finish="length"),
    "<think>2+</think>": choice("", reasoning_content="2+", finish="stop"),
    "<think>\n2+2\n</think>\n7": choice("<think>\n2+2\n</think>\n7", reasoning_content="2+2"),
    "<think>a</think><think>b</think>8": choice("<think>b</think>8", reasoning_content="a"),
    "9": choice("9", reasoning_content=""),
    "": choice(None),
}


@pytest.mark.parametrize("text", TEXTS)
def test_thinking_and_answer_are_joined_in_order(server, text) -> None:
    assert one_of(server, completion(TEXTS[text], tokens=9)).text == text


def test_a_stop_text_is_taken_off_the_end_only(server) -> None:
    stops = ("<end>", "<eot>")
    for said, text in {"a<end>b<end>": "a<end>b", "c<eot>": "c", "d": "d"}.items():
        body = completion(choice(said), tokens=9)
        assert one_of(server, body, stop_texts=stops).text == text
        assert one_of(server, body).text == said


def chooser(counts, *, said_tokens=None):
    """A server that gives as many choices as asked for, with ``counts`` of logprobs."""

    def answer(body):
        rows = [
            {**choice(f"s{i}", index=i), "logprobs": {"content": [{}] * tokens}}
            for i, tokens in enumerate(counts[: body.get("n", 1)])
        ]
        return reply(completion(*rows[::-1], tokens=said_tokens or sum(counts[: len(rows)])))

    return answer


def test_several_samples_a_request_have_their_own_tokens_by_logprobs(server) -> None:
    server.answer = chooser([3, 50, 7, 1])
    found = sample(server, problems=2, samples_per_request=4)
    assert len(server.bodies) == 2
    assert all(body["n"] == 4 and body["logprobs"] is True for body in server.bodies)
    assert sorted((c.problem_id, c.sample, c.text, c.tokens) for c in found) == [
        (p, s, f"s{s}", tokens) for p in ("p/0", "p/1") for s, tokens in enumerate([3, 50, 7, 1])
    ]


def test_several_samples_a_request_leave_skipped_ones_out(server) -> None:
    server.answer = chooser([3, 50, 7, 1])
    found = sample(server, skip={("p/0", 1)}, samples_per_request=2)
    assert pairs(found) == [("p/0", 0), ("p/0", 2), ("p/0", 3)]
    assert sorted(body.get("n", 1) for body in server.bodies) == [1, 2]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (chooser([3, 50, 7, 1], said_tokens=62), r"logprobs count \[3, 50, 7, 1\].*says 62"),
        (
            lambda body: reply(completion(*[choice("1", index=i) for i in range(4)], tokens=9)),
            "cannot be told",
        ),
        (lambda body: reply(completion(choice("1"), tokens=9)), r"n=4 and got choices \[0\]"),
        (chooser([3, 513, 7, 1]), "ignores max_tokens: 513 > 512"),
    ],
)
def test_several_samples_a_request_need_a_server_that_counts(server, answer, message) -> None:
    server.answer = answer
    with pytest.raises(EngineError, match=message):
        sample(server, samples_per_request=4)


def echoing(content: str, *, thinking: str | None = None):
    """A server that puts the rendered prompt before what it says."""

    def answer(body):
        prompt = f"<user>{body['messages'][0]['content']}<assistant>"
        if body["max_tokens"] == 1:
            return reply(completion(choice(prompt, finish="length"), tokens=1))
        said = choice(prompt + content, finish="length", reasoning_content=thinking)
        return reply(completion(said, tokens=9))

    return answer


def test_a_prompt_that_the_server_repeats_is_taken_off_after_open_thinking(server) -> None:
    server.answer = echoing("", thinking="2+2")
    assert {c.text for c in sample(server, problems=3)} == {"<think>2+2"}
    assert [body["max_tokens"] for body in server.bodies].count(1) == 1


def test_a_prompt_that_the_server_repeats_before_an_answer_is_refused(server) -> None:
    server.answer = echoing("4")
    with pytest.raises(EngineError, match="repeats the prompt before the answer: '<user>Question"):
        sample(server)


def test_a_prompt_that_the_model_repeats_is_its_text(server) -> None:
    def answer(body):
        cut = body["max_tokens"] == 1
        text = "Question" if cut else f"{body['messages'][0]['content']} One."
        return reply(completion(choice(text), tokens=1 if cut else 9))

    server.answer = answer
    assert {c.text for c in sample(server)} == {"Question 0: how many? One."}


@pytest.mark.parametrize("logprobs", [float("nan"), "none", [], {"content": float("nan")}, 0])
def test_logprobs_that_are_not_needed_are_not_looked_at(server, logprobs) -> None:
    body = completion(choice("7") | {"logprobs": logprobs}, tokens=3)
    assert one_of(server, body).text == "7"


HALVES = {
    r"a \ud83d b": "a \ufffd b",
    r"\ude00 7": "\ufffd 7",
    r"\ud83d\ude00 \ud800": "\U0001f600 \ufffd",
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("written", HALVES)
def test_half_a_surrogate_pair_is_read_as_the_mark_of_a_lost_character(
    server, written, stream
) -> None:
    body = completion(choice("TEXT"), tokens=30)
    if stream:
        chunk = {"index": 0, "delta": {"content": "TEXT"}, "finish_reason": "stop"}
        body = {"choices": [chunk], "usage": body["usage"]}
    sent = json.dumps(body).replace("TEXT", written)
    sent = f"data: {sent}\n\ndata: [DONE]\n\n" if stream else sent
    server.answer = lambda asked: (200, {}, sent.encode())
    first = {("p/0", s) for s in range(1, SPEC.samples)}
    (only,) = sample(server, skip=first)
    assert only.text == HALVES[written]
