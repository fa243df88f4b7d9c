"""inspect's output tokens, where a provider leaves thinking out of them."""

import json
import zipfile
from pathlib import Path

import pytest

from tersely.core.errors import DataError
from tersely.core.types import Finish
from tersely.readers.formats import Options, Reading, read

THINKING = " ".join(f"then {i} apples" for i in range(36))


def usage(output: int, total: int, reasoning: int | None = None, **more: int) -> dict[str, object]:
    """Of a prompt of 20 tokens, of which ``more`` may say how many were cached."""
    cached = sum(more.values())
    counts = {"input_tokens": 20 - cached, "output_tokens": output, "total_tokens": total}
    return counts | more | {"reasoning_tokens": reasoning}


def log_of(
    tmp_path: Path,
    used: dict[str, object] | None,
    *,
    model: str = "openai/m",
    form: str = "json",
    thinking: str | None = THINKING,
    answer: str = "It is 35.",
    stop: str = "stop",
    choices: int = 1,
    **reasoning: object,
) -> Path:
    """A log of one sample that used these tokens."""
    parts: list[dict[str, object]] = [{"type": "text", "text": answer}]
    if thinking is not None:
        parts.insert(0, {"type": "reasoning", "reasoning": thinking} | reasoning)
    choice = {"message": {"role": "assistant", "content": parts}, "stop_reason": stop}
    sample = {
        "id": "a",
        "epoch": 1,
        "input": "How many?",
        "scores": {"exact": {"value": "C", "answer": "35"}},
        "output": {"choices": [choice] * choices, "usage": used},
        "model_usage": {} if used is None else {model: used},
    }
    head = {
        "status": "success",
        "eval": {"task": "apples", "model": model, "model_generate_config": {"max_tokens": 512}},
    }
    path = tmp_path / f"log.{form}"
    if form == "json":
        path.write_text(json.dumps(head | {"samples": [sample]}), encoding="utf-8")
        return path
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.json", json.dumps(head))
        archive.writestr("samples/a_epoch_1.json", json.dumps(sample))
    return path


def reading(path: Path, **options: object) -> Reading:
    return read(path, "inspect_ai", Options(run="run", **options))  # type: ignore[arg-type]


def tokens_of(path: Path) -> int:
    return reading(path).records[0].tokens


# 94 tokens of thinking and 9 of answer.
ONCE = {
    "openai: in the output": ("openai/m", usage(103, 123, 94)),
    "openai: cached input beside": ("openai/m", usage(103, 123, 94, input_tokens_cache_read=16)),
    "grok: beside the output": ("grok/m", usage(9, 123, 94)),
    "grok: cached input too": ("grok/m", usage(9, 123, 94, input_tokens_cache_read=16)),
    "google, older: beside": ("google/m", usage(9, 123, 94)),
    "google, older: input with the cached": (
        "google/m",
        usage(9, 123, 94) | {"input_tokens": 20, "input_tokens_cache_read": 16},
    ),
    "a server that says it in the total only": ("openai-api/x/m", usage(9, 123)),
    "a server that says it by itself only": ("openai-api/x/m", usage(9, 29, 94)),
    "anthropic: a summary's count": ("anthropic/m", usage(103, 123, 40)),
    "anthropic, older: the total with it twice": ("anthropic/m", usage(103, 163, 40)),
    "bedrock: nothing by itself": ("bedrock/m", usage(103, 123)),
}


@pytest.mark.parametrize("form", ["json", "eval"])
@pytest.mark.parametrize("provider", ONCE)
def test_thinking_is_counted_once_whatever_the_provider_reports(tmp_path, provider, form) -> None:
    model, used = ONCE[provider]
    assert tokens_of(log_of(tmp_path, used, model=model, form=form)) == 103


@pytest.mark.parametrize("form", ["json", "eval"])
@pytest.mark.parametrize("used", [usage(9, 29), usage(0, 0), usage(0, 20)], ids=str)
def test_output_tokens_without_thinking_are_not_believed(tmp_path, used, form) -> None:
    path = log_of(tmp_path, used, model="openai-api/x/m", form=form)
    with pytest.raises(DataError, match=r"1 of its token counts cannot be right.*--tokenizer"):
        reading(path)
    told = reading(path, count_tokens=lambda text: len(text.split()))
    assert told.records[0].tokens == len(f"<think>{THINKING}</think>It is 35.".split())
    assert any("re-made with --tokenizer" in note for note in told.notes)


def test_that_thinking_was_added_is_noted(tmp_path) -> None:
    added = "output tokens leave thinking out in 1 samples: their tokens are completion and"
    grok = reading(log_of(tmp_path, usage(9, 123, 94), model="grok/m"))
    assert any(note.startswith(added) for note in grok.notes)
    assert not any("thinking" in n for n in reading(log_of(tmp_path, usage(103, 123, 94))).notes)


def test_encrypted_thinking_is_no_text(tmp_path) -> None:
    secret = "gAAAA1b2C3d4E5f6" * 60
    record = reading(
        log_of(tmp_path, usage(103, 123, 94), thinking=secret, redacted=True, summary="It adds.")
    ).records[0]
    assert (record.tokens, record.text) == (103, "<think>It adds.</think>It is 35.")
    record = reading(log_of(tmp_path, usage(103, 123, 94), thinking=secret, redacted=True)).records[
        0
    ]
    assert record.text == "It is 35."


def test_thinking_that_was_cut_stays_open(tmp_path) -> None:
    path = log_of(tmp_path, usage(512, 532, 512), answer="", stop="max_tokens")
    record = reading(path).records[0]
    assert (record.tokens, record.finish) == (512, Finish.LENGTH)
    assert record.text == f"<think>{THINKING}"


def test_the_count_of_several_choices_is_not_the_firsts(tmp_path) -> None:
    with pytest.raises(DataError, match="of several choices"):
        reading(log_of(tmp_path, usage(206, 226), choices=2))


def test_a_sample_without_usage_failed_and_casts_no_doubt(tmp_path) -> None:
    with pytest.raises(DataError, match="the log holds no token usage"):
        reading(log_of(tmp_path, None))


@pytest.mark.parametrize(
    ("used", "thinking"),
    [
        (usage(103, 123, 94), 94),
        (usage(9, 123, 94), 94),  # left out of the output, and added
        (usage(103, 123), None),
        (usage(103, 123, 0), None),  # and yet thinking stands in the log
        (usage(103, 123, 9), None),
    ],
)
def test_thinking_alone_is_the_logs_count_where_its_text_allows(
    tmp_path: Path, used: dict[str, object], thinking: int | None
) -> None:
    (record,) = reading(log_of(tmp_path, used)).records
    assert record.thinking_tokens == thinking
    assert record.tokens == 103


def test_a_count_of_a_summary_is_none_of_thinking(tmp_path: Path) -> None:
    (record,) = reading(log_of(tmp_path, usage(103, 123, 94), model="anthropic/m")).records
    assert record.thinking_tokens is None


def test_hidden_thinking_is_as_long_as_the_log_says(tmp_path: Path) -> None:
    (record,) = reading(log_of(tmp_path, usage(103, 123, 94), thinking=None)).records
    assert record.thinking_tokens == 94
