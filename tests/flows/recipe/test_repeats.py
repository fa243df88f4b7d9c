"""Problems that stand twice, or are trained and tested on, are found before anything is sampled."""

import json
import warnings
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tersely.cli import app
from tersely.core.errors import DataError
from tersely.flows.recipe.problems import load_problems
from tersely.flows.recipe.recipe import read_recipe
from tersely.tasks import sources
from tersely.tasks.repeats import find_shared

TINY = Path(__file__).parents[1] / "tiny.toml"


def written(file: Path, prompts: list[str], *, answers: list[str] | None = None) -> Path:
    rows = [
        {"id": f"{file.stem}-{n}", "prompt": p, "answer": a, "grader": "number", "difficulty": 1}
        for n, (p, a) in enumerate(zip(prompts, answers or ["7"] * len(prompts), strict=True))
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def questions(n: int, word: str) -> list[str]:
    return [f"{word} {i}?" for i in range(n)]


def settings(train: Path | str, test: Path | str) -> list[str]:
    return [f"problems.train={train}", f"problems.test={test}", "problems.test_limit=200"]


def test_train_refuses_test_problems_that_are_trained_on(tmp_path: Path) -> None:
    train = written(tmp_path / "train.jsonl", questions(40, "How many"))
    test = written(tmp_path / "test.jsonl", [*questions(18, "What"), "how many  3?", "How many 4?"])
    arguments = ["train", str(TINY), "--out", str(tmp_path / "run")]
    for setting in settings(train, test):
        arguments += ["--set", setting]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    said = " ".join(result.stderr.split())
    assert "2 of 20 problems (10.0%) have the prompt of a training problem" in said
    assert "train-3" in said
    assert not (tmp_path / "run").exists()


def test_few_are_said_and_trained_with(tmp_path: Path) -> None:
    train = written(tmp_path / "train.jsonl", questions(40, "How many"))
    test = written(tmp_path / "test.jsonl", [*questions(149, "What"), "How many 3?"])
    with pytest.warns(RuntimeWarning, match=r"1 of 150 problems \(0.7%\)"):
        _, held_out = load_problems(read_recipe(TINY, overrides=settings(train, test)))
    assert len(held_out) == 150


def test_one_file_for_both_is_a_choice_and_said(tmp_path: Path) -> None:
    file = written(tmp_path / "both.jsonl", questions(40, "How many"))
    with pytest.warns(RuntimeWarning, match=r"problems.test is problems.train: 40 of 40 problems"):
        training, test = load_problems(read_recipe(TINY, overrides=settings(file, file)))
    assert training == test


def test_drawn_test_problems_are_none_of_the_training_ones() -> None:
    names = [f"gym:products?seed={seed}&size=200&grader=number" for seed in (1, 2)]
    drawn = [sources.load(name) for name in names]
    assert find_shared(drawn[1], drawn[0])
    overrides = [*settings(*names), "problems.band=[0, 1]"]
    recipe = read_recipe(TINY, overrides=overrides)
    recipe = recipe.model_copy(
        update={"problems": recipe.problems.model_copy(update={"band": None, "train_limit": 200})}
    )
    with pytest.warns(RuntimeWarning) as heard:
        training, test = load_problems(recipe)
    assert any("they are left out, and" in str(each.message) for each in heard)
    assert not find_shared(test, training)
    assert len(test) == 200 - len(find_shared(drawn[1], drawn[0]))


def test_eval_refuses_a_prompt_with_two_answers_naming_both_lines(tmp_path: Path) -> None:
    file = written(
        tmp_path / "b.jsonl",
        ["How many?", "Why?", "how  many?", "How many?"],
        answers=["7", "7", "7", "8"],
    )
    result = CliRunner().invoke(
        app,
        [
            "eval",
            "--model",
            "lab",
            "--benchmark",
            str(file),
            "--cap-tokens",
            "20",
            "--out",
            str(tmp_path / "out"),
        ],
    )
    assert result.exit_code == 2
    assert "b-0" in result.stderr
    assert "b-3" in result.stderr
    assert "'7' and '8'" in " ".join(result.stderr.split())
    assert not (tmp_path / "out").exists()


def test_a_set_of_mostly_one_prompt_is_refused(tmp_path: Path) -> None:
    train = written(tmp_path / "train.jsonl", questions(8, "How many") * 2)
    with pytest.raises(DataError, match=r"8 of 16 problems \(50.0%\) have the prompt of another"):
        load_problems(read_recipe(TINY, overrides=settings(train, "lab")))


def evaluated(model: str, benchmark: Path, out: Path) -> list[str]:
    there = ["--benchmark", str(benchmark), "--cap-tokens", "20", "--out", str(out)]
    return ["eval", "--model", model, *there]


@pytest.mark.parametrize("model", ["/no-such-model", "no-such-model"])
def test_a_model_beside_the_root_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    file = written(tmp_path / "b.jsonl", questions(4, "How many"))
    monkeypatch.chdir("/")
    result = CliRunner().invoke(app, evaluated(model, file, tmp_path / "out"))
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code in (1, 2)
    assert "error:" in result.stderr


def curated(problems: Path, out: Path) -> list[str]:
    drawn = ["--samples", "2", "--cap-tokens", "4", "--select", "full"]
    return ["curate", "--model", "lab", "--problems", str(problems), "--out", str(out), *drawn]


def test_curate_leaves_out_what_stands_twice_whatever_its_share(tmp_path: Path) -> None:
    file = written(tmp_path / "p.jsonl", questions(6, "How many") + questions(4, "how  many"))
    result = CliRunner().invoke(app, curated(file, tmp_path / "out"))
    assert result.exit_code == 0, result.stderr
    chosen = tmp_path / "out" / "full" / "problems.jsonl"
    kept = [json.loads(line)["id"] for line in chosen.read_text(encoding="utf-8").splitlines()]
    assert kept == [f"p-{n}" for n in range(6)]


def test_curate_refuses_two_answers_and_takes_the_corrected_file(tmp_path: Path) -> None:
    prompts = [*questions(6, "How many"), "How many 3?"]
    file = written(tmp_path / "p.jsonl", prompts, answers=[*["7"] * 6, "8"])
    result = CliRunner().invoke(app, curated(file, tmp_path / "out"))
    assert result.exit_code == 2
    assert "p-3" in result.stderr
    assert "p-6" in result.stderr
    written(file, prompts)
    assert CliRunner().invoke(app, curated(file, tmp_path / "out")).exit_code == 0


def test_others_that_were_drawn_take_the_place_of_those_left_out() -> None:
    names = [f"gym:products?seed={seed}&size=200&grader=number" for seed in (1, 2)]
    drawn = [sources.load(name) for name in names]
    recipe = read_recipe(TINY, overrides=[*settings(*names), "problems.band=[0, 1]"])
    limits = {"band": None, "train_limit": 200, "test_limit": 60}
    section = recipe.problems.model_copy(update=limits)
    recipe = recipe.model_copy(update={"problems": section})
    assert find_shared(drawn[1][:60], drawn[0])
    with pytest.warns(RuntimeWarning) as heard:
        training, test = load_problems(recipe)
    assert any("they are left out" in str(each.message) for each in heard)
    assert len(test) == 60
    assert not find_shared(test, training)
    trained = {problem.prompt for problem in training}
    assert test == [problem for problem in drawn[1] if problem.prompt not in trained][:60]


def test_a_warning_is_one_line_without_its_place_in_the_code(tmp_path: Path) -> None:
    file = written(
        tmp_path / "b.jsonl", [*questions(18, "How many"), "how many 3?"], answers=["x"] * 19
    )
    arguments = ["eval", "--model", "lab", "--benchmark", str(file), "--cap-tokens", "20"]
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "out")])
    # The golds are no numbers, so that nothing is sampled.
    loading, warning, error = result.stderr.splitlines()
    assert (result.exit_code, loading) == (2, "loading lab ...")
    assert warning.startswith("warning: ")
    assert "1 of 19 problems (5.3%) have the prompt of another one" in warning
    assert error.startswith("error: ")
    assert ".py" not in result.stderr
