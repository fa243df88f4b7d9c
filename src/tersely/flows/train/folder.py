"""A run folder: made once, never overwritten, and resumed only with the same recipe."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from tersely.core import jsonl
from tersely.core.digests import digest_model, digest_prompts
from tersely.core.errors import ConfigError
from tersely.core.manifest import (
    FILE,
    RunManifest,
    check_same,
    gather_facts,
    read_manifest,
    say_uncompared,
    write_atomically,
    write_manifest,
)
from tersely.core.types import Problem
from tersely.flows.recipe.recipe import RECIPE_FILE, Recipe, as_toml, first_difference, read_recipe
from tersely.tasks.problems import digest

PROBLEMS_FILE = "problems.jsonl"


def make_manifest(
    recipe: Recipe,
    *,
    model_folder: Path,
    train: Sequence[Problem],
    test: Sequence[Problem],
    prompts: Iterable[Sequence[int]],
    engine: str | None = None,
    packages: Sequence[str] = (),
) -> RunManifest:
    """The manifest that a run of this recipe would have, here and now.

    Args:
        prompts: the rendered prompts of all problems, as token ids.
        engine: whoever trains, if it is not our own loop.
        packages: of the engine's, whose versions are written down.
    """
    return RunManifest(
        files=replace(digest_model(model_folder), prompts_digest=digest_prompts(prompts)),
        training_problems_digest=digest(train),
        test_problems_digest=digest(test),
        facts=replace(
            gather_facts("torch", "transformers", "numpy", *packages),
            seed=recipe.seed,
            engine=engine,
        ),
    )


def check_folder(recipe: Recipe, folder: Path, *, resume: bool) -> None:
    """Refuses, before anything is loaded, a folder that this run may not write to.

    Raises:
        ConfigError: the folder exists and ``resume`` is off, or it is another recipe's run, or
            ``resume`` is on and there is nothing to resume.
    """
    started = (folder / FILE).is_file()
    if not resume:
        if folder.exists() and any(folder.iterdir()):
            raise ConfigError(
                f"{folder} exists; continue it with --resume or choose another folder with --run"
            )
        return
    if not started:
        raise ConfigError(f"nothing to resume in {folder} (no {FILE}); leave --resume out")
    difference = first_difference(recipe, read_recipe(folder / RECIPE_FILE))
    if difference:
        raise ConfigError(
            f"cannot resume {folder} with another recipe: {difference}; "
            f"resume with {folder / RECIPE_FILE} or choose another folder with --run"
        )


def open_run(
    folder: Path, recipe: Recipe, manifest: RunManifest, *, test: Sequence[Problem]
) -> RunManifest:
    """Creates the folder, or checks that it was made from the same model and problems."""
    if (folder / FILE).is_file():
        there = read_manifest(folder, RunManifest)
        say_uncompared(check_same(manifest, there, folder=folder), folder=folder)
        return there
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / RECIPE_FILE, as_toml(recipe))
    jsonl.write(folder / PROBLEMS_FILE, test)
    write_manifest(folder, manifest)
    return manifest
