"""Options with values that nobody would give."""

import contextlib
from pathlib import Path
from typing import Any

import click
from calling import call, folder, often
from hypothesis import given
from hypothesis import strategies as st
from mutations import TEXTS
from typer.main import get_command

from tersely.cli import app

BEFORE = Path(__file__).parents[1] / "fixtures" / "before_h"
VALUES = (
    *(text for text in TEXTS if "\x00" not in text),
    *("2.5", "1e3", "-5", "9" * 30, "1,,2", "0,1", "0.1,0.9", "1,0", "a=b", "tokens=x"),
    *("/dev/null/x",),
    *(
        "[" * 3000,
        '{"a":' * 2000,
        '{"stop": "x"}',
        "http://[::1",
        "http://x:99999/v1",
        "math",
        "\ud800",
    ),
)
# What each command is given so that it has something to do; none of it samples or trains.
COMMANDS: dict[tuple[str, ...], tuple[object, ...]] = {
    ("report",): (BEFORE / "evaluation",),
    ("compare",): (BEFORE / "evaluation", BEFORE / "evaluation"),
    ("diagnose",): (BEFORE / "run",),
    ("lint",): ("--records", BEFORE / "evaluation"),
    ("benchmarks",): (BEFORE / "evaluation/problems.jsonl",),
    ("rewards",): (),
    ("train",): ("--dry-run",),
    ("launch", "trl"): ("demo", "--dry-run"),
    ("launch", "verl"): ("demo", "--dry-run"),
    ("study",): (BEFORE / "study/small.toml", "--dry-run"),
    ("eval",): ("--benchmark", BEFORE / "run/problems.jsonl", "--endpoint", "http://127.0.0.1:9/v1",
                "--model", "m", "--timeout-s", "1"),
    ("curate",): ("--problems", BEFORE / "run/problems.jsonl", "--endpoint", "http://127.0.0.1:9",
                  "--model", "m"),
}  # fmt: skip
# Options that would write elsewhere or serve for ever.
LEFT_OUT = {"--help", "--install-completion", "--show-completion"}


def options_of(command: tuple[str, ...]) -> list[click.Parameter]:
    found: Any = get_command(app)
    for name in command:
        found = found.commands[name]
    return [each for each in found.params if not LEFT_OUT & set(each.opts)]


@st.composite
def command_lines(draw: Any) -> tuple[tuple[str, ...], list[str]]:
    command = draw(st.sampled_from(sorted(COMMANDS)))
    words: list[str] = []
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 3)))):
        option = draw(st.sampled_from(options_of(command)))
        value = draw(st.sampled_from(VALUES))
        if option.param_type_name == "argument":
            words.append(value)
        elif getattr(option, "is_flag", False):
            words.append(option.opts[0])
        else:
            words += [option.opts[0], value]
    return command, words


@often(35)
@given(line=command_lines())
def test_any_command_line_is_obeyed_or_refused(line: tuple[tuple[str, ...], list[str]]) -> None:
    command, words = line
    with folder() as here:
        out = (
            () if command in (("train",), ("benchmarks",), ("diagnose",)) else ("--out", here / "o")
        )
        out = () if command[0] in ("launch", "lint", "rewards") else out
        # As deep as any "../.." goes up.
        (here / "a/b").mkdir(parents=True)
        with contextlib.chdir(here / "a/b"):
            call(*command, *COMMANDS[command], *out, *words, kind="line")
