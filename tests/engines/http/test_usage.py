"""Tokens of a sample from a server: thinking counted once, however the server counts it."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from faulty_server import SPEC, Server, choice, completion, reply, running, sample

from tersely.core.errors import EngineError
from tersely.core.types import SamplingSpec
from tersely.engines.models import lab_folder

# 72 words and numbers of thinking, and an answer of 2.
THINKING = " ".join(f"then {i} apples" for i in range(36))
ANSWER = "It is 35."
ONE = SamplingSpec(samples=1, cap_tokens=512, seed=0)


@pytest.fixture
def server():
    with running(Server()) as one:
        yield one


def tokens_of(
    server: Server, usage, *, content=ANSWER, thinking: str | None = THINKING, finish="stop", **more
) -> int:
    """The count of the one sample that this usage becomes."""
    said = choice(content, finish=finish, reasoning_content=thinking)
    server.answer = lambda body: reply({"choices": [said], "usage": usage})
    (only,) = sample(server, spec=ONE, **more)
    return only.tokens


def thinking_of(server: Server, usage, *, content=ANSWER, thinking=THINKING, **more) -> int | None:
    """The thinking's count of the one sample that this usage becomes."""
    said = choice(content, reasoning_content=thinking)
    server.answer = lambda body: reply({"choices": [said], "usage": usage})
    (only,) = sample(server, spec=ONE, **more)
    return only.thinking_tokens


def usage(completion, prompt=None, total=None, reasoning=None, **more):
    found = {"completion_tokens": completion, "prompt_tokens": prompt, "total_tokens": total}
    details = {} if reasoning is None else {"reasoning_tokens": reasoning}
    return {**found, "completion_tokens_details": details or None, **more}


# 94 tokens of thinking and 9 of answer are 103, however they are reported.
ONCE = {
    "included, and said": usage(103, 20, 123, 94),
    "included, and nothing more said": {"completion_tokens": 103},
    "included, with null for the rest": usage(103),
    "included, with zeros for the rest": usage(103, 0, 0, 0),
    "included, beside SGLang's own field": usage(103, 20, 123, reasoning_tokens=94),
    "left out, but in the total": usage(9, 20, 123),
    "left out, in the total and by itself": usage(9, 20, 123, 94),
    "left out, by itself but not in the total": usage(9, 20, 29, 94),
    "left out, by itself and no total": usage(9, None, None, 94),
    "left out, by itself beside": usage(9, 20, 29, reasoning_tokens=94),
    "only the total": {"prompt_tokens": 20, "total_tokens": 123},
    "nothing for the completion": usage(None, 20, 123, 94),
    "cached prompt in the prompt": usage(
        103, 20, 123, 94, prompt_tokens_details={"cached_tokens": 16}
    ),
    "cached prompt beside it": usage(103, 4, 123, 94, prompt_tokens_details={"cached_tokens": 16}),
    "cached prompt beside it, thinking too": usage(9, 4, 123, 94, cache_read_input_tokens=16),
}


@pytest.mark.parametrize("way", ONCE)
def test_thinking_is_counted_once_however_a_server_reports_it(server, way) -> None:
    assert tokens_of(server, ONCE[way]) == 103


def test_hidden_thinking_is_counted_too(server) -> None:
    # Gemini and xAI return no text for it; all went into it where the content is null.
    assert tokens_of(server, usage(9, 20, 123), thinking=None) == 103
    assert tokens_of(server, usage(9, 20, 123, 94), thinking=None) == 103
    cut = {"thinking": None, "content": None, "finish": "length"}
    assert tokens_of(server, {"prompt_tokens": 21, "total_tokens": 81}, **cut) == 60
    assert tokens_of(server, usage(0, 21, 81, 60), **cut) == 60
    assert tokens_of(server, usage(60, 21, 81, 60), **cut) == 60


def test_thinking_that_fills_its_count_is_not_doubled_by_a_count_off_by_one(server) -> None:
    cut = {"content": None, "finish": "length"}
    assert tokens_of(server, usage(103, 20, 123, 104), **cut) == 103
    assert tokens_of(server, usage(103, 20, 123, 103), **cut) == 103


def test_a_long_answer_does_not_hide_that_thinking_was_left_out(server) -> None:
    # 90 words and numbers of answer need 90 tokens or more: no room for 94 of thinking in 100.
    long = " ".join(f"step {i}" for i in range(45))
    assert tokens_of(server, usage(100, 20, 120, 94), content=long) == 194
    assert tokens_of(server, usage(194, 20, 214, 94), content=long) == 194


NEVER = {
    "9 tokens for a text of": usage(9, 20, 29),
    "9 tokens for a text of ": usage(9),
    "0 tokens for a text": usage(0, 20, 20),
    "counts -1 total tokens": usage(103, 20, -1),
    "do not add up: prompt 20 \\+ completion 197, reasoning 94, total 123": usage(197, 20, 123, 94),
    "do not add up: prompt 20 \\+ completion 103, total 29": usage(103, 20, 29),
}


@pytest.mark.parametrize("reason", NEVER)
def test_a_count_that_text_or_total_contradict_is_never_believed(server, reason) -> None:
    with pytest.raises(EngineError, match=f"{reason}.*--tokenizer FOLDER"):
        tokens_of(server, NEVER[reason])
    assert len(server.bodies) == 1


def test_no_tokens_for_a_text_is_never_believed(server) -> None:
    with pytest.raises(EngineError, match="0 tokens for a text"):
        tokens_of(server, usage(0), content="4", thinking=None)
    assert tokens_of(server, usage(0), content="", thinking=None) == 0


def test_thinking_written_without_spaces_is_seen_to_be_left_out(server) -> None:
    with pytest.raises(EngineError, match="thinking is left out"):
        tokens_of(server, usage(3, 9, 12), content="答案是四。", thinking="我们先把两个数相加" * 20)


@pytest.mark.parametrize("said", [usage(9, 20, 29), usage(197, 20, 123), None, {}], ids=repr)
def test_a_tokenizer_counts_what_the_server_leaves_out(server, said) -> None:
    # The lab's vocabulary has a token for a digit or sign: 8 digits, 7 signs, <think>, </think>
    # and the stop token are 18.
    texts = {"content": "6", "thinking": "1*7=7*7=9*4=6+"}
    assert tokens_of(server, said, **texts, tokenizer=str(lab_folder())) == 18


def test_a_tokenizer_changes_no_count_that_holds(server) -> None:
    texts = {"content": "6", "thinking": "1*7=7*7=9*4=6+"}
    for tokens in (17, 18, 21, 40):
        told = usage(tokens, 20, 20 + tokens)
        assert tokens_of(server, told, **texts, tokenizer=str(lab_folder())) == tokens


def test_a_tokenizers_count_is_never_above_the_cap(server) -> None:
    long = "1*7=" * 300
    cut = {"content": None, "thinking": long, "finish": "length"}
    assert tokens_of(server, usage(9), **cut, tokenizer=str(lab_folder())) == 512


def test_thinking_that_the_server_keeps_back_is_not_counted_as_none(server) -> None:
    told = usage(197, 20, 123, 94)
    with pytest.raises(EngineError, match="do not add up"):
        tokens_of(server, told, content="6", thinking=None, tokenizer=str(lab_folder()))


def test_the_cap_is_held_against_thinking_and_answer_together(server) -> None:
    with pytest.raises(EngineError, match=r"ignores max_tokens: 520 > 512 \(completion and"):
        tokens_of(server, usage(100, 20, 540, 420))


def test_that_a_count_was_mended_is_said_once(server, caplog) -> None:
    server.answer = lambda body: reply(
        completion(choice("4"), tokens=9, prompt_tokens=20, total_tokens=123)
    )
    assert {c.tokens for c in sample(server, problems=3, spec=SPEC)} == {103}
    assert caplog.text.count("is not all that was sampled: tokens are total less prompt") == 1


def test_several_samples_a_request_are_held_against_all_that_was_used(server) -> None:
    rows = [{**choice(f"s{i}", index=i), "logprobs": {"content": [{}] * 5}} for i in range(4)]
    told = completion(*rows, tokens=20, prompt_tokens=7, total_tokens=127)
    server.answer = lambda body: reply(told)
    with pytest.raises(EngineError, match=r"logprobs count \[5, 5, 5, 5\], usage says 120 in all"):
        sample(server, samples_per_request=4)
    told = completion(*rows, tokens=20, prompt_tokens=7, total_tokens=27)
    server.answer = lambda body: reply(told)
    assert [c.tokens for c in sample(server, samples_per_request=4)] == [5] * 4


@pytest.mark.parametrize("way", ONCE)
def test_thinking_alone_is_what_the_server_counts_of_it_or_not_known(server, way) -> None:
    said = ONCE[way]
    known = (said.get("completion_tokens_details") or said).get("reasoning_tokens")
    # 0 is no count of a thinking that arrived.
    assert thinking_of(server, said) == (known or None)


def test_a_count_of_thinking_that_its_text_contradicts_is_not_believed(server) -> None:
    # 72 words and numbers of thinking arrived; some servers always write 0.
    assert thinking_of(server, usage(103, 20, 123, 0)) is None
    assert thinking_of(server, usage(103, 20, 123, 9)) is None


def test_thinking_without_a_count_is_counted_with_the_tokenizer(server) -> None:
    # The lab's tokenizer splits otherwise: what it counts is at most all that the server counts.
    found = thinking_of(server, usage(480, 20, 500), tokenizer=str(lab_folder()))
    assert found is not None
    assert 72 < found <= 480
    assert thinking_of(server, usage(480, 20, 500)) is None


def test_thinking_of_several_choices_is_not_told_by_their_common_count(server) -> None:
    said = [{**choice(f"s{i}", index=i), "logprobs": {"content": [{}] * 5}} for i in range(2)]
    server.answer = lambda body: reply({"choices": said, "usage": usage(10, 20, 30, 4)})
    two = SamplingSpec(samples=2, cap_tokens=512, seed=0)
    found = sample(server, spec=two, samples_per_request=2)
    assert [each.thinking_tokens for each in found] == [None, None]
