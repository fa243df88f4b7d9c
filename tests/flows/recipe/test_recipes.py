"""The shipped recipes say what the paper says, and the ablations in the docs what they claim."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tersely.core.errors import ConfigError
from tersely.flows.price.architecture import KNOWN
from tersely.flows.recipe.recipe import Recipe, find_recipe, read_recipe
from tersely.flows.trl.settings import split_rows

K = 1024
# L_R, L_T, N and prompts a step. The first five: arXiv:2602.20945, section 2 (defaults) and section
# 4.1 (Qwen3: 8k, 10k, 8k and 6k, 16k; batches 128, 128, 32, 32; N = 24). The others: ours, after
# its 4B models. Steps: its results table; of R1-Distill 5 epochs of 162 steps, from its figures.
PAPER = {
    "r1-distill-1.5b": (16 * K, 4 * K, 8, 128, 810),
    "qwen3-0.6b": (8 * K, 8 * K, 24, 128, 640),
    "qwen3-1.7b": (10 * K, 10 * K, 24, 128, 560),
    "qwen3-4b-instruct": (8 * K, 6 * K, 24, 32, 1440),
    "qwen3-4b-thinking": (16 * K, 16 * K, 24, 32, 200),
    "qwen3-8b": (16 * K, 16 * K, 24, 32, 100),
    "qwen3-30b-a3b-instruct": (8 * K, 6 * K, 24, 32, 600),
    "qwen3-30b-a3b-thinking": (16 * K, 16 * K, 24, 32, 120),
}
PAGE = Path(__file__).parents[3] / "docs" / "paper-recipes.md"
N24 = {"sampling.samples_per_prompt": 24}
AT_TARGET = {"sampling.cap_tokens": 4 * K}
ROW = re.compile(r"^\| (.+) \| `(--set .+)` \|$")


def shipped_recipe(name: str, *overrides: str) -> Recipe:
    return read_recipe(find_recipe(Path(name)), overrides=overrides)


@pytest.mark.parametrize("name", PAPER)
def test_a_recipe_has_the_paper_s_numbers(name: str) -> None:
    recipe = shipped_recipe(name)
    sampling, learner = recipe.sampling, recipe.learner
    assert recipe.target is not None
    cap, target, samples, prompts, steps = PAPER[name]
    assert (sampling.cap_tokens, recipe.target.parameters) == (cap, {"tokens": target})
    assert (sampling.samples_per_prompt, sampling.prompts_per_step) == (samples, prompts)
    assert (learner.steps, learner.staleness, learner.learning_rate) == (steps, 1, 1e-6)
    assert (recipe.reward.name, recipe.loss.clip_high) == ("truncation", 0.28)
    assert recipe.evaluation.budgets == (2 * K, 4 * K, 8 * K, 16 * K, 32 * K)
    assert (recipe.evaluation.samples, recipe.evaluation.every_steps) == (8, 40)


@pytest.mark.parametrize("name", PAPER)
def test_a_recipe_splits_over_a_machine_and_its_price_is_known(name: str) -> None:
    recipe = shipped_recipe(name)
    assert split_rows(recipe, processes=8).rows == 1
    assert Path(recipe.model.path).name in KNOWN


@pytest.mark.parametrize("name", PAPER)
def test_every_value_of_a_recipe_says_who_says_so(name: str) -> None:
    known = ("paper", "figures", "default", "ours", "inferred", "all of them")
    for line in find_recipe(Path(name)).read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith(("#", "name = ", "test = ")):
            said = line.partition(" # ")[2].removeprefix("L_R; ").removeprefix("L_T; ")
            assert said.removeprefix("N; ").removeprefix("S; ").startswith(known), line


def test_the_page_s_table_is_the_recipes_own() -> None:
    rows = [
        [cell.strip(" `") for cell in line.strip("|").split("|")]
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith(("| `qwen3", "| `r1"))
    ]
    found = {
        row[0]: tuple(int(re.sub(r"\D", "", cell)) for cell in row[2:])
        for row in ([cells[0], cells[1], *cells[2:]] for cells in rows)
    }
    assert found == PAPER
    for name, model, *_ in rows:
        assert Path(shipped_recipe(name).model.path).name == model


# What each arm changes: sections 3.1 (prompts, target, N), 3.2 (treatments, N = 24, and L_R = L_T),
# 3.3 (staleness at 4k = 4k, N = 24), appendix A (rewards, alpha = 0.4), E (moving target).
ARMS: dict[str, dict[str, Any]] = {
    "full prompts": {
        "problems.train": "curated/full/problems.jsonl",
        "learner.steps": 1570,
    },
    "hard prompts": {"problems.train": "curated/band/problems.jsonl", "learner.steps": 760},
    "target 8k": {"target.tokens": 8 * K},
    "sampled at the target": AT_TARGET,
    **{f"N = {n}": {"sampling.samples_per_prompt": n} for n in (12, 16, 24, 32)},
    "Kimi": {"reward.name": "kimi", "reward.alpha": 0.4},
    "Laser": {"reward.name": "laser", "reward.alpha": 0.4},
    "Laser-D as printed": {"reward.name": "laser_printed", "reward.alpha": 0.4},
    "-I": {**N24, "treatment.cells.wrong_short": "masked", "treatment.cells.wrong_long": "masked"},
    "-L&C": {**N24, "treatment.cells.correct_long": "masked"},
    "-L&C-S&I": {
        **N24,
        "treatment.cells.correct_long": "masked",
        "treatment.cells.wrong_short": "masked",
    },
    "-L&C-L&I": {
        **N24,
        "treatment.cells.correct_long": "masked",
        "treatment.cells.wrong_long": "masked",
    },
    **{f"S = {s}": {**N24, **AT_TARGET, "learner.staleness": s} for s in (2, 4, 8, 16)},
}
TOYS: dict[str, dict[str, Any]] = {
    "6k = 6k": {
        "sampling.cap_tokens": 6 * K,
        "target.tokens": 6 * K,
        "learner.steps": 600,
    },
    "10k = 10k": {
        "sampling.cap_tokens": 10 * K,
        "target.tokens": 10 * K,
        "learner.steps": 600,
    },
    "10k, quantile": {
        "sampling.cap_tokens": 10 * K,
        "target.name": "batch_quantile",
        "target.start_tokens": 10 * K,
        "target.share": 0.9,
        "target.tokens": None,
        "learner.steps": 600,
    },
}


def arms_of_the_page() -> dict[str, list[str]]:
    rows = (ROW.match(line) for line in PAGE.read_text(encoding="utf-8").splitlines())
    return {
        row[1]: [word for word in shlex.split(row[2]) if word != "--set"] for row in rows if row
    }


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in settings.items():
        inner = flat(value, f"{prefix}{key}.") if isinstance(value, dict) else None
        found |= {f"{prefix}{key}": value} if inner is None else inner
    return found


@pytest.mark.parametrize("arm", [*ARMS, *TOYS])
def test_an_ablation_changes_what_it_says_and_nothing_else(arm: str) -> None:
    base = "r1-distill-1.5b" if arm in ARMS else "qwen3-0.6b"
    before = flat(shipped_recipe(base).model_dump())
    after = flat(shipped_recipe(base, *arms_of_the_page()[arm]).model_dump())
    changed = {key for key in before | after if before.get(key) != after.get(key)}
    assert {key: after.get(key) for key in changed} == (ARMS | TOYS)[arm]


def test_the_page_has_no_other_arms() -> None:
    assert set(arms_of_the_page()) == set(ARMS | TOYS)


def test_a_file_goes_before_a_shipped_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_recipe(Path("qwen3-0.6b")).stem == "qwen3-0.6b"
    assert tomllib.loads(find_recipe(Path("qwen3-0.6b")).read_text(encoding="utf-8"))["seed"] == 0
    Path("qwen3-0.6b").touch()
    assert find_recipe(Path("qwen3-0.6b")) == Path("qwen3-0.6b")


@pytest.mark.parametrize("name", ["qwen3-0.7b", "base", "studies/base", "none.toml"])
def test_an_unknown_name_is_answered_with_the_shipped_ones(name: str) -> None:
    with pytest.raises(ConfigError) as error:
        find_recipe(Path(name))
    told = str(error.value)
    named = (
        "demo, effort, lab-reasoner, qwen3-0.6b, qwen3-1.7b, qwen3-30b-a3b-instruct, "
        "qwen3-30b-a3b-thinking, qwen3-4b-instruct, qwen3-4b-thinking, qwen3-8b, r1-distill-1.5b"
    )
    # What looks like a file is answered as one.
    if name in ("studies/base", "none.toml"):
        assert told == f"no such file: {name}; give a TOML file, or one of {named}"
    else:
        assert told.startswith(f"there is no recipe {name!r}; ")
        assert told.endswith(f"choose one of {named}, or give a TOML file")
