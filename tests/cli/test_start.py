"""What the command line loads before it does anything, and that its list says what commands do."""

import inspect
import subprocess
import sys
from importlib import import_module

import pytest

from tersely.cli import ENTRIES

HEAVY = ("numpy", "polars", "scipy", "jaxtyping", "torch", "altair")


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["launch", "--help"], ["nothing"]])
def test_the_list_of_commands_loads_no_command(words):
    code = (
        "import sys; from tersely.cli import main\n"
        f"sys.argv = ['tersely', *{words!r}]\n"
        "try: main()\n"
        f"finally: print([each for each in {HEAVY!r} if each in sys.modules], file=sys.stderr)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert told.stderr.splitlines()[-1] == "[]", told.stderr


@pytest.mark.parametrize("name", ENTRIES)
def test_the_list_of_commands_says_what_each_says_of_itself(name):
    module, function = ENTRIES[name].place.split(".")
    said = inspect.getdoc(getattr(import_module(f"tersely.cli.{module}"), function))
    assert ENTRIES[name].about == " ".join(said.split("\n\n")[0].split())


def test_a_word_that_is_no_command_names_the_one_that_was_meant():
    told = subprocess.run(
        [sys.executable, "-m", "tersely", "reprot"], capture_output=True, text=True, check=False
    )
    assert told.returncode == 2
    assert "report" in told.stderr
