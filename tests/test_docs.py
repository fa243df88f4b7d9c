"""The examples of the documentation do what they say."""

import doctest
import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tersely.core.types import GroupView
from tersely.flows.study.plan import find_studies

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "python.md"
NOTEBOOK = ROOT / "examples" / "notebook.ipynb"
EXAMPLES = ROOT / "examples" / "python"

# A fresh interpreter, as a reader has it, without the type checker of the tests.
RUN_PAGE = f"""
import doctest, sys
flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
sys.exit(doctest.testfile({str(PAGE)!r}, module_relative=False, optionflags=flags).failed)
"""
RUN_NOTEBOOK = f"""
import nbclient, nbformat
notebook = nbformat.read({str(NOTEBOOK)!r}, as_version=4)
nbclient.NotebookClient(notebook, timeout=600).execute()
shown = [kind for cell in notebook.cells for output in cell.get("outputs", ())
         for kind in output.get("data", ())]
print(shown.count("text/html"))
"""


def run(code):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=EXAMPLES
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_examples_of_the_python_page_print_what_it_says():
    assert len(doctest.DocTestParser().get_examples(PAGE.read_text(encoding="utf-8"))) > 20
    run(RUN_PAGE)


def test_the_notebook_runs_from_top_to_end_and_is_kept_without_outputs():
    pytest.importorskip("nbclient", reason="the extra dev brings it")
    import nbformat

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    # Frames and charts show themselves.
    assert int(run(RUN_NOTEBOOK)) >= 4


def test_the_reward_of_the_task_page_pays_what_it_says():
    page = (ROOT / "docs" / "tasks" / "add-a-reward.md").read_text(encoding="utf-8")
    names = {}
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], names)
    g = GroupView(
        correct_G=np.array([True, True, False]),
        tokens_G=np.array([10, 40, 10]),
        finished_G=np.ones(3, dtype=bool),
        formatted_G=np.ones(3, dtype=bool),
        target_tokens=30.0,
    )
    assert names["halved"](g, beyond=0.25).tolist() == [1.0, 0.25, 0.0]


@pytest.mark.parametrize(
    "page", sorted((ROOT / "docs" / "tasks").glob("*.md")), ids=lambda p: p.stem
)
def test_a_task_page_names_only_commands_and_options_that_there_are(page):
    known = {}
    for line in (ROOT / "tests" / "cli" / "options.txt").read_text().splitlines():
        known.setdefault(line.split()[0], set()).update(re.findall(r"--[\w-]+", line))
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = re.findall(r"^    tersely (.*)$", text, re.MULTILINE)
    assert lines
    for line in lines:
        words = line.split("#")[0].split()
        assert words[0] in known, line
        assert {w for w in words if w.startswith("--")} <= known[words[0]], line


def test_a_picture_of_few_colours_keeps_those_of_pale_bands_and_small_dots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    findings = importlib.import_module("findings")
    drawn = np.full((300, findings.WIDTH_PIXELS, 3), 255, dtype=np.uint8)
    drawn[50:100] = (214, 231, 243)  # the band of a blue line, and of a green one
    drawn[150:200] = (214, 239, 233)
    drawn[210:290] = np.random.default_rng(0).integers(0, 256, (80, findings.WIDTH_PIXELS, 3))
    drawn[20:24, 20:24] = (136, 34, 85)
    Image.fromarray(drawn).save(tmp_path / "large.png")
    findings.shrink(tmp_path / "large.png", tmp_path / "small.png")
    small = np.asarray(Image.open(tmp_path / "small.png").convert("RGB"))
    np.testing.assert_array_equal(small[:200], drawn[:200])


def test_findings_say_how_many_claims_there_are_and_how_many_were_added() -> None:
    said = re.search(r"Of the (\d+), (\d+) were added", (ROOT / "docs/findings.md").read_text())
    claims = [claim for _, study in find_studies("all") for claim in study.claims]
    added = sum("added when" in claim.paper for claim in claims)
    assert said is not None
    assert [int(number) for number in said.groups()] == [len(claims), added]
