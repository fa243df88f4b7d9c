"""A full disk: whole lines and whole files only, and one line that names the file."""

import subprocess
import sys
from dataclasses import dataclass

import pytest

from tersely.core import jsonl
from tersely.core.errors import StorageError
from tersely.core.storage import replacing, write_atomically, writing

# A limit on a file's size is met as a full disk is: a part of a write, then an error.
FULL = """
import resource, sys
from pathlib import Path
from tersely.core import jsonl
from tersely.core.errors import StorageError
from tersely.core.types import StepTiming
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
record = StepTiming(step=1, sample_s=0.5, grade_s=0.5, learn_s=0.5, other_s=0.5)
try:
    for _ in range(100):
        jsonl.append(Path(sys.argv[1]), record)
except StorageError as error:
    print(error)
"""


@dataclass(frozen=True)
class Note:
    text: str


def test_a_line_that_does_not_fit_on_the_disk_leaves_the_lines_before_it_whole(tmp_path):
    file = tmp_path / "steps.jsonl"
    command = [sys.executable, "-c", FULL, str(file)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    content = file.read_bytes()
    assert content.endswith(b"}\n")
    assert 900 < len(content) <= 1000
    for words in (f"cannot write {file}", "File too large", "MB free", "make room", "--resume"):
        assert words in said


def test_a_file_that_cannot_be_replaced_stays_as_it_was_and_leaves_no_scraps(tmp_path):
    file = tmp_path / "recipe.toml"
    write_atomically(file, "before")

    def run_out():
        with replacing(file) as scratch:
            scratch.write_text("half of it")
            raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="No space left on device"):
        run_out()
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.toml"]
    assert file.read_text() == "before"


def test_libraries_that_hide_the_cause_are_understood(tmp_path):
    said = RuntimeError(
        "[enforce fail at inline_container.cc:672] PytorchStreamWriter failed "
        "writing file data/3: file write failed"
    )
    with pytest.raises(StorageError, match="cannot write"), writing(tmp_path / "optimizer.pt"):
        raise said


def test_other_errors_pass_as_they_are(tmp_path):
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "page.html"):
        raise ZeroDivisionError
    jsonl.write(tmp_path / "notes.jsonl", [Note("a")])
    assert [path.name for path in tmp_path.iterdir()] == ["notes.jsonl"]
