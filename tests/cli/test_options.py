"""The options of every command: which there are, their defaults, and how groups become options."""

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

import tersely.cli
from tersely.cli import app
from tersely.cli.options import flattened

# Scripts of users rest on these: a line goes only with a note in the changelog.
KNOWN = Path(__file__).with_name("options.txt")


def commands(group, name=""):
    for word, each in group.commands.items():
        if hasattr(each, "commands"):
            yield from commands(each, f"{name}{word} ")
        else:
            yield f"{name}{word}", each


COMMANDS = dict(commands(typer.main.get_command(app)))


def test_no_option_of_a_command_or_its_default_changed():
    found = [
        f"{name} {' '.join(each.opts)} = {'' if each.default is None else each.default}".rstrip()
        for name, command in COMMANDS.items()
        for each in command.params
    ]
    assert found == KNOWN.read_text().splitlines()


def test_every_option_says_what_it_is():
    silent = [
        (name, each.name) for name, c in COMMANDS.items() for each in c.params if not each.help
    ]
    assert not silent


def test_no_function_of_the_command_line_is_longer_than_40_lines():
    long = {
        f"{file.name} {node.name}": node.end_lineno - node.lineno + 1
        for file in Path(tersely.cli.__file__).parent.glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= 40
    }
    assert not long


@dataclass(frozen=True, kw_only=True)
class Inner:
    deep: Annotated[list[str] | None, typer.Option(help="Innermost.")] = None


@dataclass(frozen=True, kw_only=True)
class Outer:
    first: Annotated[int, typer.Option(help="Required.")]
    inner: Inner
    last: Annotated[bool, typer.Option("--last", help="A flag.")] = False


@pytest.fixture
def run():
    small, seen = typer.Typer(), []

    @small.command()
    @flattened
    def command(name: str, outer: Outer, plain: int = 3) -> None:
        """Says what it was given."""
        seen.append((name, outer, plain))

    return lambda *words: (CliRunner().invoke(small, words), seen)


def test_fields_of_nested_groups_arrive_in_their_groups(run):
    done, seen = run("n", "--first", "1", "--deep", "a", "--deep", "b", "--last", "--plain", "4")
    assert done.exit_code == 0, done.output
    assert seen == [("n", Outer(first=1, inner=Inner(deep=["a", "b"]), last=True), 4)]
    assert run("n", "--first", "1")[1][-1] == ("n", Outer(first=1, inner=Inner()), 3)


def test_options_are_shown_in_the_order_of_the_fields(run):
    shown = run("--help")[0].stdout
    assert "Says what it was given." in shown
    places = [shown.index(word) for word in ("--first", "--deep", "--last", "--plain")]
    assert places == sorted(places)


@pytest.mark.parametrize("words", [("n",), ("n", "--first", "x"), ("n", "--first", "1", "--no")])
def test_what_a_group_does_not_take_is_refused(run, words):
    done, seen = run(*words)
    assert done.exit_code == 2
    assert not seen


def test_the_cap_by_both_of_its_names_is_refused_where_they_differ():
    words = ["--benchmark", "lab", "--out", "unused", "--cap-tokens", "200", "--max-tokens", "100"]
    told = CliRunner().invoke(app, ["eval", *words])
    assert told.exit_code == 2
    assert "--cap-tokens 200 and its old name --max-tokens 100 differ; give one" in told.output
