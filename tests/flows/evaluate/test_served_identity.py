"""What counts a server's tokens belongs to an evaluation, and stops have a way out."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))
from serving import Order, answers, pairs_of, plan, records_of

sys.path.insert(0, str(Path(__file__).parents[2] / "engines" / "http"))
from faulty_server import choice, reply

from tersely.cli import app
from tersely.core.errors import ConfigError, EngineError
from tersely.core.types import EvalRecord, Finish, Grade, SamplingSpec
from tersely.engines.models import lab_folder
from tersely.flows.evaluate.preflight import findings
from tersely.flows.evaluate.session import run_evaluation

SAME = "One more, " * 20 + "so it is #."


@pytest.fixture
def tokenizer(tmp_path):
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    for file in Path(lab_folder()).glob("tokenizer*"):
        shutil.copy(file, folder)
    return folder


def counted(server, benchmark, out, tokenizer):
    return plan(server, benchmark, out, endpoint={"tokenizer": tokenizer and str(tokenizer)})


def interrupted(run):
    class Stops(Order):
        def on_sample(self, record):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_evaluation(run, observer=Stops())


@pytest.mark.parametrize("change", ["dropped", "added", "edited", "template"])
def test_another_tokenizer_is_refused_on_resume(
    server, benchmark, tokenizer, tmp_path, change
) -> None:
    server.answer = answers("Seed @ gives #.")
    out = tmp_path / "run"
    interrupted(counted(server, benchmark, out, None if change == "added" else tokenizer))
    if change == "edited":
        (tokenizer / "tokenizer.json").write_bytes(
            (tokenizer / "tokenizer.json").read_bytes() + b" "
        )
    if change == "template":
        (tokenizer / "chat_template.jinja").write_text("{{ messages[0].content }}<think>")
    now = counted(server, benchmark, out, None if change == "dropped" else tokenizer)
    with pytest.raises(ConfigError, match="--tokenizer digest is") as error:
        run_evaluation(now, observer=Order())
    assert "\n" not in str(error.value)


def test_the_same_tokenizer_elsewhere_goes_on(server, benchmark, tokenizer, tmp_path) -> None:
    server.answer = answers("Seed @ gives #.")
    out = tmp_path / "run"
    interrupted(counted(server, benchmark, out, tokenizer))
    moved = tokenizer.rename(tmp_path / "moved")
    run_evaluation(counted(server, benchmark, out, moved), observer=Order())
    assert len(pairs_of(out)) == 30


def test_a_tokenizer_may_be_given_where_nothing_could_be_counted(
    server, benchmark, tokenizer, tmp_path
) -> None:
    def uncounted(body):
        text = f"Seed {body['seed']} gives {body['messages'][0]['content'][-1]}."
        return reply({"choices": [choice(text, finish="stop")]})

    server.answer = uncounted
    out = tmp_path / "run"
    with pytest.raises(EngineError, match="--tokenizer FOLDER"):
        run_evaluation(counted(server, benchmark, out, None), observer=Order())
    run_evaluation(counted(server, benchmark, out, tokenizer), observer=Order())
    assert len(pairs_of(out)) == 30
    with pytest.raises(ConfigError, match="--tokenizer digest is none here"):
        run_evaluation(counted(server, benchmark, out, None), observer=Order())


def test_a_folder_of_an_earlier_version_goes_on_with_a_warning(
    server, benchmark, tokenizer, tmp_path
) -> None:
    server.answer = answers("Seed @ gives #.")
    out = tmp_path / "run"
    interrupted(counted(server, benchmark, out, tokenizer))
    manifest = json.loads((out / "manifest.json").read_text())
    del manifest["counting_digest"]
    (out / "manifest.json").write_text(json.dumps(manifest))
    with pytest.warns(RuntimeWarning, match="kept no --tokenizer digest"):
        run_evaluation(counted(server, benchmark, out, tokenizer), observer=Order())


def test_a_tokenizer_without_a_server_is_refused_in_one_line(tmp_path) -> None:
    command = ["eval", "--model", "lab", "--benchmark", "lab", "--tokenizer", "some/folder"]
    command += ["--out", str(tmp_path / "o")]
    result = CliRunner().invoke(app, command)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "--tokenizer some/folder" in result.stderr
    assert "leave --tokenizer out" in result.stderr


def test_the_stop_names_a_way_out_that_goes_on(server, benchmark, tmp_path) -> None:
    server.answer = answers(SAME)
    out = tmp_path / "run"
    command = ["eval", "--endpoint", server.url, "--model", "m", "--benchmark", str(benchmark)]
    command += ["--out", str(out), "--samples", "6", "--cap-tokens", "400"]
    stopped = CliRunner().invoke(app, command)
    assert stopped.exit_code == 1
    assert "--accept-first" in stopped.stderr
    assert len(pairs_of(out)) == 8
    went_on = CliRunner().invoke(app, [*command, "--accept-first"])
    assert (went_on.exit_code, len(pairs_of(out))) == (0, 30)


def test_what_was_accepted_is_still_said(server, benchmark, tmp_path, caplog) -> None:
    server.answer = answers(SAME)
    accepted = replace(plan(server, benchmark, tmp_path / "run"), accept_first=True)
    run_evaluation(accepted, observer=Order())
    assert "same text, of up to 60 tokens" in caplog.text
    assert len(pairs_of(tmp_path / "run")) == 30


SANE = {
    "one letter": {"text": "#", "tokens": 2},
    "one boxed letter": {"text": "\\boxed{#}", "tokens": 6},
    "a sentence": {"text": "The answer is #.", "tokens": 8},
    "two hundred characters, greedy": {"text": SAME, "tokens": 60, "temperature": 0.0},
    "a struck word": {"text": "<s>1</s> @ so #", "tokens": 12},
    "an html end": {"text": "Seed @: <b>#</b>", "tokens": 12},
}


@pytest.mark.parametrize("kind", SANE)
def test_a_sane_server_is_not_stopped(server, benchmark, tmp_path, kind) -> None:
    said = dict(SANE[kind])
    temperature = said.pop("temperature", 1.0)
    server.answer = answers(said.pop("text"), **said)
    out = tmp_path / "run"
    run_evaluation(plan(server, benchmark, out, temperature=temperature), observer=Order())
    assert len(pairs_of(out)) == 30


@pytest.mark.parametrize("begin", [b"", b": keep-alive\n\n", b"event: message\n"])
def test_a_server_that_only_streams_is_read(server, benchmark, tmp_path, begin) -> None:
    def answer(body):
        number = body["messages"][0]["content"].split()[-1]
        said = [{"reasoning_content": f"Seed {body['seed']}"}, {"content": "It is "}]
        said += [{"content": f"{number}."}]
        chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in said]
        chunks += [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]
        chunks += [{"choices": [], "usage": {"completion_tokens": 40}}]
        lines = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]
        return 200, {}, begin + b"".join(lines) + b"data: [DONE]\n\n"

    server.answer = answer
    run_evaluation(plan(server, benchmark, tmp_path / "run"), observer=Order())
    records = records_of(tmp_path / "run")
    assert {(r.grade, r.tokens, r.finish) for r in records} == {(Grade.CORRECT, 40, Finish.STOP)}
    assert all(r.text.startswith("<think>Seed ") for r in records if r.text)


PLAIN = {
    ".": ("It is #.", "Seed @. It is #"),
    "END": ("# END", "THE END of @, so #"),
    "\n\n": ("@\n\nso #",),
}


@pytest.mark.parametrize("stop", PLAIN)
def test_a_stop_token_that_any_text_may_hold_stops_nothing(stop) -> None:
    assert not [f for text in PLAIN[stop] for f in found([text] * 4, stop_text=stop) if f.stops]


def test_messages_of_one_turn_are_no_text_after_the_end() -> None:
    text = (
        "<|channel|>analysis<|message|>2 + 2<|end|><|start|>assistant<|channel|>final<|message|>4"
    )
    kinds = found([text, text + "."])
    assert kinds
    assert not any(finding.stops for finding in kinds)
    assert any(f.stops for f in found(["4<|end|>\n<|start|>user<|message|>And 5?"] * 4))


def test_one_empty_sample_beside_cut_ones_is_no_fault_of_the_server() -> None:
    cut = ["so far"] * 3
    assert not any(f.stops for f in found(["", *cut], finishes=["stop", *["length"] * 3]))
    assert any(f.stops for f in found(["", "", *cut], finishes=["stop"] * 2 + ["length"] * 3))


def found(texts, *, stop_text=None, finishes=None):
    finishes = finishes or ["stop"] * len(texts)
    records = [
        EvalRecord(
            run="r",
            benchmark="b",
            seed=0,
            problem="p",
            sample=sample,
            model="m",
            grade=Grade.CORRECT,
            extracted="4",
            tokens=9,
            cap_tokens=400,
            finish=Finish(finish),
            prompt="Which number is it?",
            text=text,
        )
        for sample, (text, finish) in enumerate(zip(texts, finishes, strict=True))
    ]
    return findings(
        records, spec=SamplingSpec(samples=4, cap_tokens=400, seed=0), stop_text=stop_text
    )
