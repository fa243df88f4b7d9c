"""Recipes that nobody would write, given to the commands that read one."""

import tomllib
from pathlib import Path
from typing import Any

import tomli_w
from calling import call, folder, often
from hypothesis import given
from hypothesis import strategies as st
from mutations import OF_TOML, changed_bytes, changed_tree

import tersely

FIXTURES = Path(__file__).parents[1] / "fixtures" / "before_h"
SHIPPED = sorted((Path(tersely.__file__).parent / "recipes").glob("*.toml"))
STUDY = FIXTURES / "study" / "small.toml"
BOUNDED = ["sampling.prompts_per_step", "target.tokens", "reward.alpha", "learner.steps", "seed"]


def _as_toml(tree: Any) -> bytes:
    """TOML where it is any: else a text that is none."""
    try:
        return tomli_w.dumps(tree).encode(errors="surrogatepass")
    except (TypeError, AttributeError, ValueError):
        return repr(tree).encode(errors="surrogatepass")


def recipes(seeds: list[Path]) -> st.SearchStrategy[bytes]:
    """One of the files with its values or its bytes changed."""
    files = st.sampled_from(seeds)
    values = files.flatmap(
        lambda file: changed_tree(
            tomllib.loads(file.read_text()), values=OF_TOML, keep_root=True
        ).map(_as_toml)
    )
    return values | values | files.flatmap(lambda file: changed_bytes(file.read_bytes()))


def settings() -> st.SearchStrategy[str]:
    """What may stand behind --set."""
    values = st.sampled_from(OF_TOML).map(str)
    keys = st.sampled_from(
        [*BOUNDED, "", ".", "a", "reward", "reward.name", "model.path.x", "a..b"]
    )
    return st.tuples(keys, st.sampled_from(["=", "=", "=", ""]), values).map("".join)


@often(40)
@given(content=recipes(SHIPPED), overrides=st.lists(settings(), max_size=2))
def test_train_reads_or_refuses_any_recipe(content: bytes, overrides: list[str]) -> None:
    with folder() as here:
        (here / "recipe.toml").write_bytes(content)
        told = [word for each in overrides for word in ("--set", each)]
        call("train", here / "recipe.toml", "--dry-run", *told, kind="recipe")


@often(12)
@given(content=recipes(SHIPPED[:1]))
def test_lint_reads_or_refuses_any_recipe(content: bytes) -> None:
    with folder() as here:
        (here / "recipe.toml").write_bytes(content)
        call("lint", here / "recipe.toml", "--records", FIXTURES / "evaluation", kind="recipe")


@often(20)
@given(content=recipes(SHIPPED), engine=st.sampled_from(["trl", "verl"]))
def test_launch_reads_or_refuses_any_recipe(content: bytes, engine: str) -> None:
    with folder() as here:
        (here / "recipe.toml").write_bytes(content)
        call("launch", engine, here / "recipe.toml", "--dry-run", kind="recipe")


@often(25)
@given(content=recipes([STUDY]))
def test_study_reads_or_refuses_any_plan(content: bytes) -> None:
    with folder() as here:
        (here / "study.toml").write_bytes(content)
        told = ("--out", here / "out", "--results", here / "results")
        call("study", here / "study.toml", "--dry-run", *told, kind="study")
