"""The first samples from a server: shown, judged, kept, and asked for once."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))
from serving import (
    PROBLEMS,
    SAMPLES,
    Order,
    answers,
    pairs_of,
    plan,
    records_of,
)

sys.path.insert(0, str(Path(__file__).parents[2] / "engines" / "http"))
from faulty_server import make_problems, reply

from tersely.cli import app
from tersely.core.errors import EngineError
from tersely.core.types import EvalRecord, Finish, Grade, SamplingSpec
from tersely.flows.evaluate.preflight import findings
from tersely.flows.evaluate.session import run_evaluation

FIRST = {(f"p{i}", s) for i, count in enumerate((4, 2, 2)) for s in range(count)}


def test_first_samples_come_first_are_kept_and_cost_no_request(server, benchmark, tmp_path) -> None:
    server.answer = answers("Seed @ gives #.")
    order, firsts = Order(), []
    run_evaluation(
        plan(server, benchmark, tmp_path / "run", endpoint={"concurrency": 64}),
        observer=order,
        on_first=lambda problem, record: firsts.append((problem.answer, record, len(order.seen))),
    )
    assert set(order.seen[1:9]) == FIRST
    assert len(server.bodies) == PROBLEMS * SAMPLES == len(pairs_of(tmp_path / "run"))
    # The rest was asked for when the first had ended: all of the first's bodies stand before.
    asked = [body["messages"][0]["content"][-1] for body in server.bodies[:8]]
    assert sorted(asked) == list("00001122")
    (gold, record, already) = firsts[0]
    assert (len(firsts), gold, already) == (1, record.problem[1:], 1)


STOPS = {
    "stop token <|im_end|>": answers("Seed @ gives #.<|im_end|>"),
    "stop token </s>": answers("Seed @ gives #. </s>\n"),
    "stop token <｜end▁of▁sentence｜>": answers("@, so #<｜end▁of▁sentence｜>"),
    "goes on after <\\|im_end\\|>": answers("@, so #<|im_end|>\n<|im_start|>user\nAnd @?"),
    "goes on after <\\|endoftext\\|>": answers("@, so #<|endoftext|>Question: 1 + @"),
    "8 of 8 samples that ended by themselves have no content;": answers("", tokens=9),
    "have no content after the thinking; its reasoning parser": answers("", reasoning="@ or #"),
    "same text, of up to 60 tokens": answers("One more, " * 20 + "so it is #."),
    "all 8 samples ended neither": answers("Seed @ gives #.", finish="content_filter"),
}


@pytest.mark.parametrize("reason", STOPS)
def test_what_would_make_figures_wrong_stops_after_the_first_samples(
    server, benchmark, tmp_path, reason
) -> None:
    out = tmp_path / "run"
    server.answer = STOPS[reason]
    pattern = reason if "\\" in reason else reason.replace("|", "\\|")
    with pytest.raises(EngineError, match=pattern):
        run_evaluation(plan(server, benchmark, out), observer=Order())
    assert pairs_of(out) == FIRST
    # The same command does not go on as if nothing had been said, and asks for nothing.
    with pytest.raises(EngineError, match=pattern):
        run_evaluation(plan(server, benchmark, out), observer=Order())
    assert len(server.bodies) == len(FIRST)


def test_an_evaluation_of_first_samples_only_does_not_end_well_on_a_rerun(
    server, benchmark, tmp_path
) -> None:
    server.answer = answers("Seed @ gives #.<|im_end|>")
    small = plan(server, benchmark, tmp_path / "run", samples=2, limit=2)
    for _ in range(2):
        with pytest.raises(EngineError, match="stop token"):
            run_evaluation(small, observer=Order())
    assert len(server.bodies) == 4


WARNS = {
    "all samples of a problem are the same text": answers("It is #.", tokens=9),
    "texts begin with the prompt": answers("Say which number this one has: # @ and so #"),
    "the same text, of up to 300 tokens": answers("It is #, thought out unseen.", tokens=300),
    "all 8 samples were cut": answers("@ and", finish="length", tokens=400),
    "no answer was found in any of 8": answers("I cannot say.", tokens=9),
    "begin with <thinking>": answers("<thinking>@</thinking>#"),
    "begin with [THINK]": answers("[THINK]@[/THINK]#"),
    "a text holds <|channel|>": answers("<|channel|>final<|message|>@ #"),
}


@pytest.mark.parametrize("reason", WARNS)
def test_what_may_be_as_it_should_be_is_a_warning(
    server, benchmark, tmp_path, caplog, reason
) -> None:
    server.answer = WARNS[reason]
    run_evaluation(plan(server, benchmark, tmp_path / "run"), observer=Order())
    assert reason in caplog.text
    assert len(pairs_of(tmp_path / "run")) == PROBLEMS * SAMPLES


QUIET = {
    "a plain answer": (answers("Seed @ gives #."), {}),
    "thinking of its own": (answers("<think>seed @</think>#"), {}),
    "thinking in a field": (answers("#", reasoning_content="seed @"), {}),
    "greedy": (answers("It is #."), {"temperature": 0.0}),
    "as good as greedy": (answers("It is #."), {"top_k": 1}),
    "one sample each": (answers("It is #."), {"samples": 1}),
    "struck out": (answers("<s>@</s> # <s>@</s>"), {}),
    "a marked answer": (answers("@: <|begin_of_box|>#<|end_of_box|>"), {}),
    "less-than and bars": (answers("|@| < 3 and |x|> 2, so <|x|> is #"), {}),
}


@pytest.mark.parametrize("way", QUIET)
def test_what_is_as_it_should_be_is_not_remarked_on(
    server, benchmark, tmp_path, caplog, way
) -> None:
    server.answer, spec = QUIET[way]
    run_evaluation(plan(server, benchmark, tmp_path / "run", **spec), observer=Order())
    assert caplog.text == ""


def test_thinking_that_is_kept_back_and_cut_is_no_repeated_text(
    server, benchmark, tmp_path, caplog
) -> None:
    server.answer = answers("", finish="length", tokens=400)
    run_evaluation(plan(server, benchmark, tmp_path / "run"), observer=Order())
    assert "the same text" not in caplog.text
    assert "were cut at --cap-tokens 400" in caplog.text


def test_one_text_of_many_may_be_about_stop_tokens(server, benchmark, tmp_path, caplog) -> None:
    left = [answers("seed @ and `<|im_end|>` give #.")]
    server.answer = lambda body: (left.pop() if left else answers("seed @ gives #."))(body)
    run_evaluation(plan(server, benchmark, tmp_path / "run"), observer=Order())
    assert "goes on after <|im_end|>" in caplog.text


def test_a_mark_that_the_prompt_holds_is_not_the_servers(server, tmp_path, caplog) -> None:
    file = tmp_path / "marks.jsonl"
    row = {"id": "p0", "prompt": "What does <|im_end|> end? 2", "answer": "2", "source": "made"}
    file.write_text(json.dumps(row | {"grader": "number"}) + "\n")
    server.answer = answers("@ and # ends at <|im_end|>")
    run_evaluation(plan(server, file, tmp_path / "run"), observer=Order())
    assert caplog.text == ""


def test_a_stop_text_that_is_taken_off_is_not_remarked_on(
    server, benchmark, tmp_path, caplog
) -> None:
    server.answer = answers("Seed @ gives #.<|im_end|>")
    taken = {"stop_texts": ("<|im_end|>",)}
    run_evaluation(plan(server, benchmark, tmp_path / "run", endpoint=taken), observer=Order())
    assert caplog.text == ""
    assert all(not r.text.endswith(">") for r in records_of(tmp_path / "run"))


def test_a_resumed_evaluation_shows_and_warns_nothing_again(
    server, benchmark, tmp_path, caplog
) -> None:
    class Interrupts(Order):
        def on_sample(self, record):
            super().on_sample(record)
            if len(self.seen) == 14:
                raise KeyboardInterrupt

    server.answer = answers("<thinking>@</thinking>#")
    going = plan(server, benchmark, tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        run_evaluation(going, observer=Interrupts())
    assert caplog.text.count("begin with <thinking>") == 1
    firsts = []
    run_evaluation(going, observer=Order(), on_first=lambda *first: firsts.append(first))
    assert (firsts, caplog.text.count("begin with <thinking>")) == ([], 1)
    assert len(pairs_of(tmp_path / "run")) == PROBLEMS * SAMPLES


def test_first_samples_that_fail_do_not_keep_the_others_back(server, benchmark, tmp_path) -> None:
    good = answers("Seed @ gives #.")

    def answer(body):
        failing = body["messages"][0]["content"].endswith("0")
        return reply({}, status=500) if failing else good(body)

    server.answer = answer
    run_evaluation(plan(server, benchmark, tmp_path / "run"), observer=Order())
    failed = [r for r in records_of(tmp_path / "run") if r.finish is Finish.ERROR]
    assert {(r.problem, r.grade, r.failure) for r in failed} == {
        ("p0", Grade.UNGRADED, "HTTP 500 {}")
    }
    assert (len(failed), len(pairs_of(tmp_path / "run"))) == (6, 30)


def test_first_samples_whose_tokens_cannot_be_counted_are_said_to_be_that() -> None:
    uncounted = "the server's reply is no chat completion with token counts: it has none"

    def record(failure):
        return EvalRecord(
            run="r", benchmark="b", problem="p", sample=0, grade=Grade.UNGRADED, tokens=0,
            finish=Finish.ERROR, cap_tokens=9, seed=0, failure=failure,
        )  # fmt: skip

    said = findings([record(uncounted)] * 2, spec=SamplingSpec(samples=2, cap_tokens=9, seed=0))[0]
    assert said.stops
    assert uncounted in said.message
    assert "finish_reason" not in said.message


def test_first_samples_are_whole_requests() -> None:
    from tersely.flows.evaluate.preflight import first_pairs

    def counts(samples, most):
        spec = SamplingSpec(samples=samples, cap_tokens=9, seed=0)
        pairs = first_pairs(make_problems(9), spec, samples_per_request=most)
        return [sum(p == f"p/{i}" for p, _ in pairs) for i in range(4)]

    assert counts(8, 1) == [4, 2, 2, 0]
    assert counts(1, 1) == [1, 1, 1, 0]
    assert counts(8, 3) == [6, 3, 3, 0]
    assert counts(16, 8) == [8, 8, 8, 0]
    assert counts(2, 8) == [2, 2, 2, 0]


def test_the_command_shows_the_first_sample_beside_its_gold_on_stderr(
    server, benchmark, tmp_path
) -> None:
    server.answer = answers("Seed @ gives # [bold]as asked[/].")
    words = ["eval", "--endpoint", server.url, "--model", "m", "--benchmark", str(benchmark)]
    words += ["--samples", "2", "--cap-tokens", "400", "--concurrency", "1"]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    assert "first sample: p0, sample 0: correct, ended by itself, 60 tokens" in done.stderr
    assert "prompt: Say which number this one has: 0" in done.stderr
    assert "gives 0 [bold]as asked[/]." in done.stderr
    assert "answer: 0   wanted: 0" in done.stderr
    assert "first sample" not in done.stdout

    server.answer = answers("Seed @ gives #.<|im_end|>")
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "other")])
    assert done.exit_code == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1
    assert "--stop-text '<|im_end|>'" in lines[0]
    assert "6 samples, which are kept" in lines[0]
