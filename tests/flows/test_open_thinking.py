"""Samples from servers whose prompts open the thinking: never ended, they have no answer."""

import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from serving import PROBLEMS, SAMPLES, Order, answers, plan, records_of, write_benchmark

sys.path.insert(0, str(Path(__file__).parents[1] / "engines"))
from faulty_server import Server, reply, running

from tersely.core.types import Grade
from tersely.engines.models import lab_folder
from tersely.flows.evaluation import run_evaluation

ENDED = answers("seed @ says\n</think>\n#")
NEVER_ENDED = answers("seed @ says #")
CUT = answers("seed @ says #", finish="length", tokens=400)
OPENING = "{% for m in messages %}<user>{{ m['content'] }}{% endfor %}<assistant><think>"
CHOOSING = (
    "{% for m in messages %}<user>{{ m['content'] }}{% endfor %}<assistant>"
    "{% if enable_thinking is not defined or enable_thinking %}<think>{% endif %}"
)
ALONE = {"concurrency": 1}


@pytest.fixture
def server():
    with running(Server(models=reply({"data": []}))) as one:
        yield one


@pytest.fixture
def benchmark(tmp_path):
    return write_benchmark(tmp_path / "problems.jsonl")


def in_turn(*replies, then):
    """A server that gives these replies first."""
    left = list(replies)
    return lambda body: (left.pop(0) if left else then)(body)


def tokenizer_with(tmp_path, template):
    """The lab's tokenizer under this chat template."""
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(lab_folder() / name, folder)
    (folder / "chat_template.jinja").write_text(template)
    return str(folder)


def grades(out):
    return Counter(record.grade for record in records_of(out))


@pytest.mark.parametrize("late", [0, 2, 12])
def test_a_sample_that_never_ends_an_opened_thinking_has_no_answer(
    server, benchmark, tmp_path, late
) -> None:
    # The evidence comes after as many samples as ``late`` that were graded as they stand.
    early = [CUT] * (late - 1) + [NEVER_ENDED] * bool(late)
    server.answer = in_turn(*early, ENDED, ENDED, NEVER_ENDED, CUT, then=ENDED)
    run_evaluation(plan(server, benchmark, tmp_path / "run", endpoint=ALONE), watch=Order())
    records = records_of(tmp_path / "run")
    unended = [r for r in records if "</think>" not in r.text]
    assert len(unended) == 2 + late
    assert {r.grade for r in unended} == {Grade.UNPARSED}
    assert grades(tmp_path / "run") == {
        Grade.CORRECT: PROBLEMS * SAMPLES - 2 - late,
        Grade.UNPARSED: 2 + late,
    }


def test_an_interrupted_evaluation_is_graded_by_what_is_known_and_anew_when_more_is(
    server, benchmark, tmp_path
) -> None:
    class Interrupts(Order):
        def on_record(self, record):
            super().on_record(record)
            if len(self.seen) == 12:
                raise KeyboardInterrupt

    server.answer = in_turn(NEVER_ENDED, CUT, then=ENDED)
    going = plan(server, benchmark, tmp_path / "run", endpoint=ALONE)
    with pytest.raises(KeyboardInterrupt):
        run_evaluation(going, watch=Interrupts())
    assert grades(tmp_path / "run") == {Grade.UNPARSED: 2, Grade.CORRECT: 9}
    server.answer = NEVER_ENDED
    run_evaluation(going, watch=Order())
    # Twenty ended without any thinking and nine with one: most speak for prompts without.
    assert grades(tmp_path / "run") == {Grade.CORRECT: PROBLEMS * SAMPLES}


def test_a_stray_end_of_thinking_does_not_take_other_answers_away(
    server, benchmark, tmp_path
) -> None:
    server.answer = in_turn(ENDED, then=NEVER_ENDED)
    run_evaluation(plan(server, benchmark, tmp_path / "run", endpoint=ALONE), watch=Order())
    assert grades(tmp_path / "run") == {Grade.CORRECT: PROBLEMS * SAMPLES}


def test_thinking_of_the_models_own_says_nothing_of_its_prompt(server, benchmark, tmp_path) -> None:
    own = answers("<think>seed @</think> #")
    server.answer = in_turn(own, own, NEVER_ENDED, then=own)
    run_evaluation(plan(server, benchmark, tmp_path / "run", endpoint=ALONE), watch=Order())
    assert grades(tmp_path / "run") == {Grade.CORRECT: PROBLEMS * SAMPLES}


def test_the_template_tells_where_no_sample_does(server, benchmark, tmp_path) -> None:
    told = ALONE | {"tokenizer": tokenizer_with(tmp_path, OPENING)}
    server.answer = in_turn(NEVER_ENDED, NEVER_ENDED, then=CUT)
    run_evaluation(plan(server, benchmark, tmp_path / "run", endpoint=told), watch=Order())
    assert grades(tmp_path / "run") == {Grade.UNPARSED: PROBLEMS * SAMPLES}
    assert all(record.thinking_open for record in records_of(tmp_path / "run"))


def test_the_template_is_given_the_settings_of_the_requests(server, benchmark, tmp_path) -> None:
    folder = tokenizer_with(tmp_path, CHOOSING)
    server.answer = CUT
    for name, thinks in (("on", True), ("off", False)):
        settings = {"chat_template_kwargs": {"enable_thinking": thinks}}
        told = ALONE | {"tokenizer": folder, "extra_body": settings}
        run_evaluation(plan(server, benchmark, tmp_path / name, endpoint=told), watch=Order())
        found = Grade.UNPARSED if thinks else Grade.CORRECT
        assert grades(tmp_path / name) == {found: PROBLEMS * SAMPLES}


def test_a_template_that_the_samples_contradict_is_not_the_servers(
    server, benchmark, tmp_path
) -> None:
    told = ALONE | {"tokenizer": tokenizer_with(tmp_path, OPENING)}
    server.answer = NEVER_ENDED
    run_evaluation(plan(server, benchmark, tmp_path / "run", endpoint=told), watch=Order())
    assert grades(tmp_path / "run") == {Grade.CORRECT: PROBLEMS * SAMPLES}


def test_thinking_in_a_field_that_was_cut_has_no_answer(server, benchmark, tmp_path) -> None:
    thought = answers("#", reasoning_content="seed @ says #")

    def cut(body):
        status, headers, raw = answers("", finish="length", reasoning="seed @ says #")(body)
        return status, headers, raw.replace(b'"content": ""', b'"content": null')

    server.answer = in_turn(thought, cut, cut, then=thought)
    run_evaluation(plan(server, benchmark, tmp_path / "run", endpoint=ALONE), watch=Order())
    assert grades(tmp_path / "run") == {Grade.CORRECT: 28, Grade.UNPARSED: 2}
    assert not any(record.thinking_open for record in records_of(tmp_path / "run"))


def test_what_was_graded_again_is_said(server, benchmark, tmp_path, caplog) -> None:
    server.answer = in_turn(NEVER_ENDED, then=ENDED)
    run_evaluation(plan(server, benchmark, tmp_path / "run", endpoint=ALONE), watch=Order())
    said = "29 samples end a thinking that they did not begin: those that never end it have no"
    assert said in caplog.text
