"""That a caller from Python is told of arguments, never of options."""

import ast
import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import polars as pl
import pytest

import tersely
from tersely.readers import formats, logs
from tersely.wording import in_python

HERE = Path(__file__).parent
RUN = HERE / "fixtures" / "before_h" / "run"
EVALUATION = HERE / "fixtures" / "before_h" / "evaluation"
FIRST, LAST = (RUN / "eval" / f"step-00000{step}.jsonl" for step in (0, 2))
VERL = HERE / "readers" / "fixtures" / "verl" / "10.jsonl"

# Of commands, and not said to a caller from Python.
OF_COMMANDS = {
    "tersely.core.errors": "--resume-from",
    "tersely.core.storage": "--resume",
    "tersely.flows.evaluate.levels": "--budgets --extra-body-each --prompts --recipe "
    "--chat-template-kwargs --extra-body --system-prompt",
    "tersely.metrics.passrates": "--density --target-tokens --limit",
    "tersely.report.tables.conclusions": "--retry-failed",
}


def texts_of(module):
    """The texts in its code, but for docstrings; what is put in stands as X."""
    tree = ast.parse(Path(module.__file__).read_text())
    left = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [p.value if isinstance(p, ast.Constant) else "X" for p in node.values]
            left |= {id(part) for part in node.values}
            yield "".join(parts)
        elif isinstance(node, ast.Constant) and id(node) not in left:
            yield str(node.value)


def test_no_message_of_what_the_interface_runs_names_an_option_of_the_command_line():
    """Every text in every module that it loads, translated, unless it is a command to run."""
    code = f"""
import json, sys
import tersely
first, last = {str(FIRST)!r}, {str(LAST)!r}
tersely.draw(first), tersely.draw(first, last), tersely.draw({str(RUN)!r})
tersely.conclude(first, last, first), tersely.lint("demo", {str(EVALUATION)!r})
print(json.dumps([name for name in sys.modules if name.startswith("tersely.")]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = json.loads(done.stdout)
    for package in (formats, logs):
        names += [f"{package.__name__}.{each.name}" for each in iter_modules(package.__path__)]
    names.remove("tersely.wording")
    assert len(names) > 150
    command = re.compile(r"tersely [a-z]+(?: --[\w-]+(?: '[^']*'| [^\s;,-]+)?)+")
    named = {}
    for name in set(names):
        for text in texts_of(import_module(name)):
            options = set(re.findall(r"--[a-z][\w-]*", command.sub("", in_python(text))))
            if options := options - set(OF_COMMANDS.get(name, "").split()):
                named[text] = options
    assert named == {}


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("with --budget-of turns: 3", 'with budget_of="turns": 3'),
        ("--column a=b --column c=d.", 'columns={"a": "b", "c": "d"}.'),
        ("(give --column a= or b=)", '(give columns={"a": "NAME", "b": "NAME"})'),
        ("with --column correct=METRIC: x, y", 'with columns={"correct": "METRIC"}: x, y'),
        ("with --from table --column a=b", 'with source="table", columns={"a": "b"}'),
        ("choose one with --run 'my run'", 'choose one with run="my run"'),
        ("here about --cap-tokens 812. So", "here about cap_tokens=812. So"),
        ("but --cap-tokens says 4", "but cap_tokens says 4"),
        ("resample with --cap-tokens 9", "resample with tersely eval --cap-tokens 9"),
        ("tersely curate --select easy keeps --k", "tersely curate --select easy keeps k"),
        ("compare --pair-by row", 'compare with pair_by="row"'),
    ],
)
def test_options_are_said_as_arguments(said, meant):
    assert meant in in_python(said)


def test_notes_of_what_is_loaded_name_arguments(tmp_path):
    rows = [{"step": step, "length": 100 - step, "entropy_mean": 0.5} for step in range(40)]
    pl.DataFrame(rows).write_csv(tmp_path / "log.csv")
    found = tersely.diagnose(tmp_path / "log.csv", columns={"tokens_mean": "length"})
    assert any('columns={"' in said for said in found.unknown)
    assert any("staleness=4" in said for said in found.unknown)
    told = tersely.diagnose(tmp_path / "log.csv", columns={"tokens_mean": "length"}, staleness=4.0)
    log = tersely.load(tmp_path / "log.csv", columns={"tokens_mean": "length"})
    samples = tersely.load(VERL, tokenizer=HERE.parent / "src" / "tersely" / "lab" / "checkpoint")
    assert samples.notes
    said = [*found.unknown, *log.notes, *samples.notes, *told.unknown]
    assert not [note for note in said if "--" in note]
    assert not any("staleness=" in note for note in told.unknown)
