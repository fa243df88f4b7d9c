"""Values that nobody should give: one line and exit 2, whatever the option; and missing extras."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tersely.cli import app

SCRIPT = Path(__file__).parents[1] / "processes" / "without.py"
DIGITS = "9" * 5000
SERVER = ["--endpoint", "http://127.0.0.1:9/v1", "--model", "m", "--tries", "1", "--out", "out"]
EVAL = ["eval", "--benchmark", "lab", "--limit", "2", "--samples", "1", *SERVER]
CURATE = ["curate", "--problems", "lab", "--limit", "2", "--samples", "1", *SERVER]
DRY = ["train", "--dry-run"]
TRL = ["launch", "trl", "qwen3-0.6b", "--dry-run"]
VERL = ["launch", "verl", "qwen3-0.6b", "--dry-run"]
PLOT = ["rewards", "plot", "kimi", "--out", "plot.png"]
PLAN = ["study", "budgets", "--dry-run"]
# A command of each kind that samples nothing: its last words are refused once all are read.
BASES = [
    *(DRY, [*EVAL, "--temperature", "-1"], [*CURATE, "--temperature", "-1"], TRL, VERL, PLOT, PLAN),
    *(["report", "records"], ["compare", "a", "b"], ["benchmarks"], ["diagnose", "steps"]),
    *(["lint", "--records", "records"], ["watch", "run"]),
]
HOSTILE = [DIGITS, "\udcff", "pipe.jsonl"]


def commands(group, name=()):
    for word, each in group.commands.items():
        if hasattr(each, "commands"):
            yield from commands(each, (*name, word))
        else:
            yield (*name, word), each


COMMANDS = dict(commands(typer.main.get_command(app)))


def options():
    for base in BASES:
        name = next(words for words in COMMANDS if tuple(base[: len(words)]) == words)
        for option in COMMANDS[name].params:
            if option.opts[0].startswith("--") and not getattr(option, "is_flag", False):
                yield pytest.param(base, option.opts[0], id=" ".join((*name, option.opts[0])))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with what a path may name wrongly."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.jsonl")
    for folder in ("folder", "full", "full/inside"):
        os.mkdir(folder)
    with open("bytes.jsonl", "wb") as file:
        file.write(b"\xff\xfe\x00{]" * 50)
    with open("deep", "w") as file:
        file.write('{"a":' * 50_000)
    return tmp_path


def call(words):
    """The result; a command that waits for ever is ended."""

    def stop(*_):
        raise TimeoutError(words)

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(30)
    try:
        return CliRunner().invoke(app, words)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def ended_in_words(told):
    return told.exception is None or isinstance(told.exception, SystemExit)


@pytest.mark.parametrize(("base", "option"), list(options()))
def test_no_value_of_an_option_ends_in_a_traceback_or_never(base, option, place):
    for value in HOSTILE:
        at = base.index(option) if option in base else len(base)
        told = call([*base[:at], *base[at + 2 :], f"{option}={value}"])
        assert ended_in_words(told), (value[:40], told.exception)
        assert told.exit_code in (0, 1, 2), (value[:40], told.output)
        assert len(told.stderr) < 20_000


REFUSED = [
    *([*EVAL, "--endpoint", address] for address in (
        "http://[::1", "http://", "http://a b/v1", "http://a:99999/v1", "http://a:x/v1",
        "ftp://a/v1", "a/v1", "", "http://☃\udcff/v1", f"http://{'a' * 300}/v1", "http://a\n/v1",
    )),
    *([*command, "--extra-body", body] for command in (EVAL, CURATE) for body in (
        '{"a":' * 5000, "[" * 100_000, '{"a": NaN}', '"\\ud800"', '{"a": "\\ud800"}', "{", "[]", "",
        '{"a": ' + DIGITS + "}",
    )),
    *([*command, option, DIGITS] for command, option in (
        (EVAL, "--budgets"), (["report", "records"], "--budgets"), (["report", "records"], "--k"),
        (["compare", "a", "b"], "--budgets"), (EVAL, "--samples"), (EVAL, "--cap-tokens"),
        (EVAL, "--seed"), (EVAL, "--concurrency"), (CURATE, "--limit"), (CURATE, "--quantiles"),
        (PLOT, "--cap-tokens"), (PLOT, "--target-tokens"), (PLAN, "--seeds"), (PLAN, "--jobs"),
        (TRL, "--processes"), (TRL, "--mean-tokens"), (VERL, "--nodes"), (VERL, "--gpus-per-node"),
    )),
    *([*command, "--set", f"{key}={value}"] for command in (DRY, TRL, VERL) for key, value in (
        ("learner.steps", DIGITS), ("sampling.samples_per_prompt", "1" + "0" * 30), ("seed", "-1"),
        ("sampling.cap_tokens", "1" + "0" * 400), ("learner.learning_rate", "nan"),
        ("learner.learning_rate", "inf"), ("sampling.temperature", "1e999"), ("seed", "1e999"),
        ("model.path", "[" * 5000), ("sampling", "1"), ("a.b.c", "1"), ("", "1"), (".", "1"),
    )),
    *(["train", name, "--dry-run"] for name in ("pipe.jsonl", "folder", "bytes.jsonl", "deep", "")),
    *(["report", name] for name in ("pipe.jsonl", "folder", "bytes.jsonl", "deep", "gone")),
    *(["diagnose", name] for name in ("pipe.jsonl", "folder", "bytes.jsonl", "deep", "gone")),
    *(["lint", "--records", name] for name in ("pipe.jsonl", "folder", "bytes.jsonl", "gone")),
    *([*EVAL, "--benchmark", name] for name in ("pipe.jsonl", "folder", "bytes.jsonl", "gym:")),
    *([*EVAL, "--tokenizer", name] for name in ("pipe.jsonl", "folder", "bytes.jsonl", "gone")),
    *([*EVAL, "--out", name] for name in ("pipe.jsonl", "bytes.jsonl", "full")),
    ["rewards", "plot", "kimi", "--out", "pipe.jsonl"],
    ["rewards", "plot", "kimi", "--out", "folder"],
    ["rewards", "plot", "kimi", "--group", f"r{DIGITS}"], ["watch", "folder", "--port", "99999"],
    ["watch", "pipe.jsonl"], ["watch", "folder", "--refresh-s", "nan"], ["study", "pipe.jsonl"],
    ["lab", "pretrain", "--out", "full"], ["benchmarks", "gym:gcd?size=" + DIGITS],
    ["report", "records", "--csv", "pipe.jsonl"], ["report", "records", "--md", "folder"],
    ["report", "records", "--out", "bytes.jsonl"], ["report", "records", "--png", "pipe.jsonl"],
]  # fmt: skip


@pytest.mark.parametrize("words", REFUSED, ids=lambda words: ascii(" ".join(words))[-60:])
def test_a_value_that_cannot_be_is_refused_in_a_line(words, place):
    told = call(words)
    assert ended_in_words(told), told.exception
    assert told.exit_code == 2, told.output
    assert len(told.stderr) < 20_000
    assert not (place / "out").exists()


@pytest.mark.parametrize(
    "settings",
    [
        ["learner.steps=1000000000000"],
        ["learner.steps=1000000000000", "evaluation.every_steps=1"],
        ["sampling.prompts_per_step=1000000000000", "sampling.samples_per_prompt=1000000000000"],
        ["sampling.cap_tokens=1000000000000"],
        ["evaluation.samples=1000000000000", "problems.test_limit=1000000000000"],
        ["learner.micro_batch_tokens=1000000000000", "learner.staleness=1"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("base", [DRY, ["train", "qwen3-0.6b", "--dry-run"], TRL], ids=" ".join)
def test_a_price_of_absurd_size_takes_no_time_and_no_memory(base, settings, place):
    words = [word for setting in settings for word in ("--set", setting)]
    told = call([*base, *words])
    assert ended_in_words(told), told.exception
    assert told.exit_code in (0, 2), told.output


@pytest.fixture(scope="module")
def bare():
    with subprocess.Popen(
        [sys.executable, str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def without(bare, place):
    """A command where these libraries are not installed."""

    def run(*libraries, words):
        print(json.dumps([libraries, words, str(place)]), file=bare.stdin, flush=True)
        code = int(bare.stdout.readline())
        said = [(place / name).read_text(encoding="utf-8") for name in ("stdout", "stderr")]
        return subprocess.CompletedProcess(words, code, *said)

    return run


BARE = ("torch", "transformers", "tokenizers", "safetensors", "peft")
GRADERS = ("reasoning_gym", "math_verify", "latex2sympy2_extended", "langdetect")
NEEDS = [
    (["train", "--out", "out"], "train", BARE),
    (["eval", "--benchmark", "lab", "--out", "out"], "train", BARE),
    (["curate", "--problems", "lab", "--out", "out"], "train", BARE),
    (["lab", "pretrain", "--out", "out"], "train", BARE),
    (["study", "budgets", "--out", "out"], "train", BARE),
    (["eval", "--benchmark", "lab", "--out", "out", "--engine", "vllm"], "vllm", ("vllm",)),
    (["curate", "--problems", "lab", "--out", "out", "--engine", "vllm"], "vllm", ("vllm",)),
    ([*EVAL, "--benchmark", "gym:gcd"], "grade", GRADERS),
    (["benchmarks", "gym:gcd"], "grade", GRADERS),
    (["launch", "trl", "qwen3-0.6b", "--out", "out"], "trl", ("trl",)),
    (["launch", "verl", "qwen3-0.6b", "--out", "out"], "verl", ("verl",)),
]


@pytest.mark.parametrize(("words", "extra", "libraries"), NEEDS)
def test_a_missing_extra_is_named_before_any_work_is_done(words, extra, libraries, place, without):
    told = without(*libraries, words=words)
    assert told.returncode == 2, told.stderr
    said = told.stderr.strip().splitlines()[-1]
    assert f"install tersely[{extra}]" in said
    assert f"(in a checkout of tersely: pip install '.[{extra}]')" in said
    assert "Traceback" not in told.stderr
    assert not (place / "out").exists() or not any((place / "out").iterdir())


@pytest.mark.parametrize("engine", ["trl", "verl"])
def test_a_dry_run_of_launch_needs_no_engine(engine, without):
    told = without(engine, *BARE, words=["launch", engine, "qwen3-0.6b", "--dry-run"])
    assert told.returncode == 0, told.stderr
    assert "[sampling]" in told.stdout
    assert "GPU-hours, all steps" in told.stderr
    assert f"needs {engine}, which is not installed" in " ".join(told.stderr.split())


@pytest.mark.parametrize(
    "words",
    [["--version"], DRY, ["rewards"], ["benchmarks"], ["study", "list"], PLAN],
    ids=" ".join,
)
def test_what_needs_no_extra_works_without_any(words, without):
    told = without(*BARE, *GRADERS, words=words)
    assert told.returncode == 0, told.stderr
