"""Every table of the command line in 80 columns: nothing longer, nothing cut."""

import json
import shutil
from pathlib import Path

import pytest
from rich.cells import cell_len
from typer.testing import CliRunner

from tersely.cli import app

ROOT = Path(__file__).parents[2]
BEFORE = ROOT / "tests" / "fixtures" / "before_h"
RECIPES = ROOT / "src" / "tersely" / "recipes"
STUDIES = ROOT / "docs" / "data" / "studies" / "lab-v1"
BUDGETS = "16,64,128,256,512,1024,2048,4096,8192,16384,24576,32768"
LONG = "model-with-a-very-long-name-of-sixty-characters-checkpoint-0001"
WIDE = "評価結果の長い名前モデル比較実験一二三四五六七八九十"
# These lines hold a path or are for the shell: they are one line each, however long.
ONE_LINE = ("report: ", "reading ", "recipe: ", "error: ", "picture: ")


def call(*words):
    return CliRunner().invoke(app, [*map(str, words)], env={"COLUMNS": "80"})


def lines_of(result, *, codes=(0,)):
    assert result.exit_code in codes, result.output
    shown = result.output.splitlines()
    return [line.rstrip() for line in shown if not line.startswith(ONE_LINE)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Three evaluations with long, long and wide names, two benchmarks, and large numbers."""
    folder, made = tmp_path_factory.mktemp("files"), []
    for at, name in enumerate((f"{LONG}20", f"{LONG}40", WIDE)):
        rows = [
            {
                "problem": f"a-problem-with-a-long-name-{p}",
                "benchmark": ("benchmark-with-a-long-name-one", "二番目の評価用問題集")[p % 2],
                "correct": (p + s + at) % 3 > 0,
                "tokens": min(32768, 1700 * (p + 1) * (at + 1) // 2 + 7 * s),
                "finish": "length" if 1700 * (p + 1) * (at + 1) // 2 + 7 * s >= 32768 else "stop",
                "cap_tokens": 32768,
            }
            for p in range(24)
            for s in range(4)
        ]
        file = folder / f"{name}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        made.append(file)
    return made


def check(lines):
    assert max(map(cell_len, lines)) <= 80
    ends = [line for line in lines if line.endswith(("│", "┃"))]
    assert not ends, "a table with a frame around it takes the room of its cells"


@pytest.mark.parametrize("number", [1, 2, 3])
def test_evaluations_with_long_names_and_many_budgets_fit(files, number):
    command = ("report",) if number == 1 else ("compare",)
    lines = lines_of(call(*command, *files[:number], "--from", "table", "--budgets", BUDGETS))
    check(lines)
    # A name of its own is never cut: it goes on in the next line.
    assert not any("…" in line.split("  ")[0] for line in lines if "benchmark-with" in line)
    for budget in BUDGETS.split(","):
        assert any(f"{int(budget):,}" in line for line in lines)


@pytest.mark.parametrize(
    "words",
    [
        ("rewards",),
        ("benchmarks",),
        ("train", "--dry-run"),
        ("train", RECIPES / "qwen3-8b.toml", "--dry-run"),
        ("study", "all", "--dry-run"),
    ],
    ids=lambda words: " ".join(getattr(word, "name", word) for word in words),
)
def test_a_list_fits_and_none_of_it_is_cut(words):
    lines = lines_of(call(*words))
    check(lines)
    assert not any("…" in line for line in lines)


@pytest.mark.parametrize("trainer", ["trl", "verl"])
def test_a_price_fits(trainer):
    # Without the trainer itself the command ends with an error, after the price.
    check(
        lines_of(
            call("launch", trainer, RECIPES / "qwen3-8b.toml", "--dry-run", "--mean-tokens", 4000),
            codes=(0, 2),
        )
    )


def test_all_of_a_reward_is_said():
    said = " ".join(call("rewards").stdout.split())
    assert "reference_accuracy" in said
    assert "arXiv:2602" in said


def test_a_run_and_its_diagnosis_fit(tmp_path):
    run = shutil.copytree(BEFORE / "run", tmp_path / LONG)
    for command in ("report", "diagnose"):
        lines = lines_of(call(command, run))
        check(lines)
        # An interval is not torn in two.
        assert all(line.count("[") == line.count("]") for line in lines)


@pytest.mark.parametrize("recipe", ["demo", "qwen3-8b"])
def test_lint_and_what_it_suggests_fit(files, recipe):
    told = call(
        "lint", RECIPES / f"{recipe}.toml", "--records", files[2], "--from", "table", "--suggest"
    )
    check(lines_of(told, codes=(0, 1)))


def test_a_judged_study_fits(tmp_path):
    words = ("study", "targets", "--lab", "lab-v1", "--judge-only", "--results", STUDIES)
    words += ("--out", tmp_path)
    check(lines_of(call(*words)))
