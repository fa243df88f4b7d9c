"""Samples that a server does not give: each failure is its own sample's."""

import json
import sys
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))
from serving import answers, records_of

sys.path.insert(0, str(Path(__file__).parents[2] / "engines" / "http"))
from faulty_server import Server, choice, completion, reply

from tersely.cli import app
from tersely.core.types import Finish, Grade

BAD = "3"


def run(server, benchmark, out, *more):
    command = ["eval", "--endpoint", server.url, "--model", "m", "--benchmark", benchmark]
    command += ["--out", out, "--cap-tokens", "400", "--tries", "1", "--samples", "6", *more]
    return CliRunner().invoke(app, [str(each) for each in command])


def fails_on(bad, fault):
    good = answers("Seed @ gives #.")
    return lambda body: fault if body["messages"][0]["content"].split()[-1] == bad else good(body)


REFUSED = {
    "400": reply({"error": {"message": "context length exceeded"}}, status=400),
    "401": reply({"error": "not this"}, status=401),
    "403": reply({"error": "flagged"}, status=403),
    "404": reply({"error": "no such thing"}, status=404),
    "413": reply({}, status=413),
    "422": reply({}, status=422),
    "451": reply({}, status=451),
    "500": reply({"error": "boom"}, status=500),
    "503": reply({}, status=503),
    "html": (200, {}, b"<html>busy</html>"),
    "empty": (200, {}, b""),
    "an error": reply({"error": {"code": 400, "message": "too long"}}),
    "no choice": reply(completion(tokens=3)),
    "two choices": reply(completion(choice("1"), choice("2", index=1), tokens=3)),
    "finish error": reply(completion(choice("1", finish="error"), tokens=3)),
    "content filter": reply(completion(choice("1", finish="content_filter"), tokens=3)),
    "no finish": reply(completion(choice("1", finish=None), tokens=3)),
    "no usage": reply(completion(choice("1"), tokens=None)),
    "0 tokens": reply(completion(choice("1"), tokens=0)),
    "-1 tokens": reply(completion(choice("1"), tokens=-1)),
    "2.5 tokens": reply(completion(choice("1"), tokens=2.5)),
    "over the cap": reply(completion(choice("1"), tokens=401)),
    "a list": (200, {}, b"[]"),
    "a deep list": (200, {}, b"[" * 100_000),
    "no UTF-8": (200, {}, b'{"choices": "\xff\xfe"}'),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_problem_that_always_fails_costs_its_own_samples_only(
    server, benchmark, tmp_path, kind
) -> None:
    server.answer = fails_on(BAD, REFUSED[kind])
    first = run(server, benchmark, tmp_path / "run")
    assert first.exit_code == 0, first.output
    records = records_of(tmp_path / "run")
    assert Counter(r.problem for r in records) == {f"p{i}": 6 for i in range(5)}
    failed = [r for r in records if r.finish is Finish.ERROR]
    assert {(r.problem, r.grade) for r in failed} == {("p3", Grade.UNGRADED)}
    assert len(failed) == 6
    assert all(r.failure for r in failed)
    said = " ".join(first.output.split())
    assert "6 of 30 samples failed (20.0%), of 1 problem" in said
    assert said.index("samples failed") < said.index("right within each budget")
    assert "--retry-failed" in said


def test_a_failed_sample_is_not_asked_for_again_and_is_said_again(
    server, benchmark, tmp_path
) -> None:
    server.answer = fails_on(BAD, REFUSED["400"])
    run(server, benchmark, tmp_path / "run")
    asked = len(server.bodies)
    again = run(server, benchmark, tmp_path / "run")
    assert (again.exit_code, len(server.bodies)) == (0, asked), again.output
    assert "6 of 30 samples failed" in " ".join(again.output.split())
    page = (tmp_path / "run" / "report.html").read_text()
    assert page.index("6 of 30 samples failed") < page.index("<main>")


def test_failed_samples_are_asked_for_again_on_request_and_no_others(
    server, benchmark, tmp_path
) -> None:
    server.answer = fails_on(BAD, REFUSED["400"])
    run(server, benchmark, tmp_path / "run")
    before = {(r.problem, r.sample): r for r in records_of(tmp_path / "run") if not r.failure}
    still = run(server, benchmark, tmp_path / "run", "--retry-failed")
    assert still.exit_code == 0
    assert "6 of 30 samples failed" in " ".join(still.output.split())

    server.answer = answers("Seed @ gives #.")
    asked = len(server.bodies)
    done = run(server, benchmark, tmp_path / "run", "--retry-failed")
    assert (done.exit_code, len(server.bodies) - asked) == (0, 6), done.output
    after = {(r.problem, r.sample): r for r in records_of(tmp_path / "run")}
    assert "samples failed" not in done.output
    assert (len(after), {pair: after[pair] for pair in before}) == (30, before)
    assert not any(r.failure for r in after.values())


def test_where_nothing_succeeds_nothing_is_kept_and_new_settings_are_taken(
    server, benchmark, tmp_path
) -> None:
    server.answer = lambda body: reply({"error": "wrong key"}, status=401)
    out = tmp_path / "run"
    failed = run(server, benchmark, out)
    assert failed.exit_code == 1
    assert "none of 16 requests succeeded" in " ".join(failed.output.split())
    assert not (out / "records.jsonl").exists()

    server.answer = answers("Seed @ gives #.")
    assert run(server, benchmark, out, "--cap-tokens", "300", "--temperature", "0.7").exit_code == 0
    assert {r.cap_tokens for r in records_of(out)} == {300}


def test_a_training_folder_is_never_taken_for_an_evaluation_without_samples(
    server, benchmark, tmp_path
) -> None:
    (tmp_path / "run").mkdir()
    manifest = tmp_path / "run" / "manifest.json"
    manifest.write_text('{"kind": "train"}')
    assert run(server, benchmark, tmp_path / "run").exit_code == 2
    assert manifest.read_text() == '{"kind": "train"}'


@pytest.mark.parametrize("max_tokens", [True, False])
def test_a_server_that_wants_max_completion_tokens_gets_it(
    server, benchmark, tmp_path, max_tokens
) -> None:
    good = answers("Seed @ gives #.")

    def answer(body):
        if "max_tokens" in body:
            text = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
            return reply({"error": {"message": text}}, status=400)
        return good(body | {"max_tokens": body["max_completion_tokens"]})

    server.answer = good if max_tokens else answer
    assert run(server, benchmark, tmp_path / "run").exit_code == 0
    field = "max_tokens" if max_tokens else "max_completion_tokens"
    assert all(field in body for body in server.bodies[-20:])
    assert not any(r.failure for r in records_of(tmp_path / "run"))


WANTS_STREAM = [
    "Only streaming is supported",
    "stream must be set to true",
    "This model only supports stream mode, please enable the stream parameter",
    "non-streaming requests are not allowed",
    "parameter.enable_thinking must be set with stream=true",
]


@pytest.mark.parametrize("text", WANTS_STREAM)
def test_a_server_that_refuses_whole_replies_is_asked_to_stream(
    server, benchmark, tmp_path, text
) -> None:
    def answer(body):
        if not body.get("stream"):
            return reply({"error": text}, status=400)
        said = f"Seed {body['seed']}: {body['messages'][0]['content'].split()[-1]}"
        chunks = [
            {"choices": [{"index": 0, "delta": {"content": said}, "finish_reason": "stop"}]},
            {"choices": [], "usage": {"completion_tokens": 9}},
        ]
        return 200, {}, "".join(f"data: {json.dumps(c)}\n\n" for c in chunks).encode()

    server.answer = answer
    assert run(server, benchmark, tmp_path / "run").exit_code == 0
    assert {r.tokens for r in records_of(tmp_path / "run")} == {9}


def test_a_refusal_of_one_prompt_that_names_streams_changes_nothing_for_the_others(
    server, benchmark, tmp_path
) -> None:
    good = answers("Seed @ gives #.")

    def answer(body):
        bad = body["messages"][0]["content"].split()[-1] == BAD
        if bad or body.get("stream") or "temperature" not in body:
            return reply({"error": "too long; got stream=False, temperature=1"}, status=400)
        return good(body)

    server.answer = answer
    assert run(server, benchmark, tmp_path / "run", "--concurrency", "1").exit_code == 0
    assert {r.problem for r in records_of(tmp_path / "run") if r.failure} == {f"p{BAD}"}
    others = [b for b in server.bodies if b["messages"][0]["content"].split()[-1] != BAD]
    assert len(others) == 24
    assert all("temperature" in body and "stream" not in body for body in others)


def test_a_server_that_refuses_a_seed_is_answered_with_the_option_to_send_none(
    server, benchmark, tmp_path
) -> None:
    # Texts differ as a sampling server's do.
    count = iter(range(10_000))

    def answer(body):
        if "seed" in body:
            return reply({"error": "Extra inputs are not permitted: seed"}, status=400)
        number = body["messages"][0]["content"].split()[-1]
        return reply(completion(choice(f"Try {next(count)}: {number}"), tokens=9))

    server.answer = answer
    refused = run(server, benchmark, tmp_path / "run")
    assert refused.exit_code == 1
    assert "--no-seed" in refused.output
    assert run(server, benchmark, tmp_path / "run", "--no-seed").exit_code == 0
    assert not any("seed" in body for body in server.bodies[-20:])
    # Samples with and without seeds do not mix.
    assert run(server, benchmark, tmp_path / "run").exit_code == 2


def test_a_list_of_models_that_does_not_come_stops_nothing(
    server, benchmark, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("tersely.engines.http.sampler.CHECK_TIMEOUT_S", 0.2)
    send = server.send

    async def slow(writer, answer, *, cut=False):
        if answer is server.models:
            import asyncio

            await asyncio.sleep(1.0)
        return await send(writer, answer, cut=cut)

    server.send = slow
    server.answer = answers("Seed @ gives #.")
    assert run(server, benchmark, tmp_path / "run").exit_code == 0


URLS = [
    "http://[::1",
    "http://",
    "http://a b/v1",
    "http://h:99999/v1",
    "ftp://h/v1",
    "http://\udcff",
]


@pytest.mark.parametrize("url", [*URLS, "http://" + "a" * 300, "http://..", "//h/v1", "http://h:x"])
def test_a_malformed_endpoint_is_one_line(benchmark, tmp_path, url) -> None:
    found = run(Server(url=url), benchmark, tmp_path / "run")
    assert found.exit_code in (1, 2)
    assert isinstance(found.exception, SystemExit)


@pytest.mark.parametrize("more", ["/chat/completions", "/chat/completions/", "/models", "?a=b"])
def test_an_endpoint_that_names_more_than_the_server_is_refused(
    server, benchmark, tmp_path, more
) -> None:
    found = run(Server(url=server.url + more), benchmark, tmp_path / "run")
    assert found.exit_code == 2
    assert "end it after the version" in " ".join(found.output.split())
    assert not server.bodies


def test_a_proxy_of_the_environment_is_named(benchmark, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    found = run(Server(url="http://made.example/v1"), benchmark, tmp_path / "run")
    assert found.exit_code == 1
    said = " ".join(found.output.split())
    assert "through the proxy http://127.0.0.1:9; NO_PROXY=made.example goes past it" in said
    monkeypatch.setenv("http_proxy", "nonsense://h")
    monkeypatch.setenv("HTTP_PROXY", "nonsense://h")
    found = run(Server(url="http://made.example/v1"), benchmark, tmp_path / "run")
    assert (found.exit_code, isinstance(found.exception, SystemExit)) == (1, True)


@pytest.mark.parametrize("begin", ["http://", ""])
def test_the_password_of_a_proxy_is_not_said(benchmark, tmp_path, monkeypatch, begin) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, f"{begin}me:p%40ss@127.0.0.1:9/")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    found = run(Server(url="http://made.example/v1"), benchmark, tmp_path / "run")
    said = " ".join(found.output.split())
    assert f"through the proxy {begin}127.0.0.1:9; NO_PROXY=made.example goes past it" in said
    assert "p%40ss" not in said


def test_a_named_key_that_is_not_set_is_said_before_anything_is_asked(
    server, benchmark, tmp_path, monkeypatch
) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    found = run(server, benchmark, tmp_path / "run", "--api-key-env", "MY_KEY")
    assert (found.exit_code, server.bodies) == (2, [])
    monkeypatch.setenv("MY_KEY", "secret\n")
    server.answer = answers("Seed @ gives #.")
    found = run(server, benchmark, tmp_path / "run", "--api-key-env", "MY_KEY")
    assert found.exit_code == 0
    assert "bearer secret" in server.headers[-1].lower()


@pytest.mark.parametrize("temperature", ["1", "0.7"])
def test_a_server_that_takes_no_temperature_is_asked_without_one_where_it_is_1(
    server, benchmark, tmp_path, temperature
) -> None:
    good = answers("Seed @ gives #.")

    def answer(body):
        if "temperature" in body:
            return reply({"error": "Unsupported value: 'temperature'"}, status=400)
        return good(body)

    server.answer = answer
    found = run(server, benchmark, tmp_path / "run", "--temperature", temperature)
    assert found.exit_code == (0 if temperature == "1" else 1), found.output
    if temperature == "1":
        assert not any(r.failure for r in records_of(tmp_path / "run"))


def test_counts_written_as_text_or_with_a_point_and_a_mark_before_the_json_are_read(
    server, benchmark, tmp_path
) -> None:
    good = answers("Seed @ gives #.")
    counts = iter([73.0, "73", 73] * 100)

    def answer(body):
        status, headers, content = good(body)
        content = json.loads(content) | {"usage": {"completion_tokens": next(counts)}}
        return status, headers, b"\xef\xbb\xbf" + json.dumps(content).encode()

    server.answer = answer
    assert run(server, benchmark, tmp_path / "run").exit_code == 0
    assert {r.tokens for r in records_of(tmp_path / "run")} == {73}


def test_the_finish_reason_that_does_not_count_is_kept(server, benchmark, tmp_path) -> None:
    server.answer = fails_on(BAD, REFUSED["content filter"])
    assert run(server, benchmark, tmp_path / "run").exit_code == 0
    failed = [r for r in records_of(tmp_path / "run") if r.failure]
    assert {r.failure for r in failed} == {
        "the server ended it with finish_reason 'content_filter'"
    }


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [("--temperature", "1e400", "temperature inf"), ("--cap-tokens", "0", "cap_tokens 0 is below")],
)
def test_a_sampling_setting_out_of_its_bounds_is_named(
    server, benchmark, tmp_path, option, value, said
) -> None:
    found = run(server, benchmark, tmp_path / "run", option, value)
    assert (found.exit_code, server.bodies) == (2, [])
    assert said in " ".join(found.output.split())
