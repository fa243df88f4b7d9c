"""Evaluations through a server that answers what nobody would."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from calling import call, folder, often
from hypothesis import given
from hypothesis import strategies as st
from mutations import CHUNKS, changed_bytes, changed_tree

sys.path.insert(0, str(Path(__file__).parents[1] / "engines" / "http"))
from faulty_server import Raw, Server, choice, completion, reply, running

WHOLE = completion(choice("It is \\boxed{1}"), tokens=9, prompt_tokens=5, total_tokens=14)
THOUGHT = completion(
    choice("It is 1.", reasoning_content="I think.", tool_calls=None), tokens=30
) | {"id": "c-1", "model": "m", "created": 1, "system_fingerprint": None}
PARTS = completion(choice("x") | {"logprobs": {"content": [{"token": "a"}] * 3}}, tokens=3)
STREAMED = b'data: {"choices": [{"index": 0, "delta": {"content": "a"}}]}\n\ndata: [DONE]\n\n'
ERROR = {"error": {"message": "no", "type": "server_error", "code": 500}}
STATUSES = (
    200,
    200,
    200,
    201,
    204,
    301,
    302,
    304,
    400,
    401,
    404,
    408,
    413,
    422,
    429,
    500,
    503,
    999,
)
HEADERS = (
    *({}, {}, {}, {"Content-Encoding": "gzip"}, {"Content-Encoding": "br"}, {"Retry-After": "nan"}),
    *({"Content-Type": "text/html; charset=nope"}, {"Retry-After": "-1"}, {"Location": "http://"}),
    *({"Retry-After": "Wed, 21 Oct"}, {"Content-Type": "text/event-stream"}, {"Location": "/v1"}),
    *({"Location": "ftp://[/"}, {"Set-Cookie": "=;;"}, {"Transfer-Encoding": "chunked"}),
)
MODELS = {"object": "list", "data": [{"id": "m", "object": "model"}, {"id": "n"}]}
SERVER = Server()


@pytest.fixture(scope="module", autouse=True)
def _served() -> Iterator[None]:
    with running(SERVER):
        yield


@st.composite
def answers(draw: Any, bodies: list[Any]) -> Any:
    """An answer with its tree, its bytes, its status or its headers changed, or no HTTP at all."""
    body = json.dumps(draw(st.sampled_from(bodies))).encode()
    way = draw(st.sampled_from(("tree", "tree", "tree", "bytes", "status", "raw", "stream")))
    status, headers = 200, {}
    match way:
        case "tree":
            body = json.dumps(draw(changed_tree(json.loads(body)))).encode()
        case "bytes":
            body = draw(changed_bytes(body))
        case "stream":
            body = draw(st.just(STREAMED) | changed_bytes(STREAMED))
        case "status":
            status, headers = draw(st.sampled_from(STATUSES)), draw(st.sampled_from(HEADERS))
            body = draw(st.sampled_from((body, b"", json.dumps(ERROR).encode(), *CHUNKS)))
        case _:
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            return Raw(draw(changed_bytes(head + body)), reset=draw(st.booleans()))
    return status, headers, body


def evaluate(*options: object) -> None:
    with folder() as here:
        rows = [{"id": f"p{n}", "prompt": f"Say 1 + {n}.", "answer": "1"} for n in range(2)]
        (here / "set.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        told = ("--model", "m", "--endpoint", SERVER.url, "--out", here / "out", "--samples", 2)
        quick = ("--cap-tokens", 64, "--tries", 1, "--timeout-s", 1)
        call("eval", "--benchmark", here / "set.jsonl", *told, *quick, *options, kind="replies")


@often(25)
@given(
    answer=answers([WHOLE, THOUGHT, PARTS]),
    others=st.sampled_from([None, WHOLE, THOUGHT]),
    options=st.sampled_from([(), (), ("--per-request", 2), ("--accept-first",)]),
)
def test_any_reply_is_taken_or_refused(answer: Any, others: Any, options: tuple[str, ...]) -> None:
    count = [0]

    def respond(body: Any) -> Any:
        count[0] += 1
        return answer if others is None or count[0] % 2 else reply(others)

    SERVER.answer, SERVER.models = respond, reply(MODELS)
    evaluate(*options)


@often(10)
@given(models=answers([MODELS]))
def test_any_list_of_models_is_taken_or_refused(models: Any) -> None:
    SERVER.answer, SERVER.models = (lambda body: reply(WHOLE)), models
    evaluate()
