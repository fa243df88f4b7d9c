"""A run folder: made once, never overwritten, and resumed only with the same recipe."""

import json
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tersely.core import jsonl
from tersely.core.digests import digest_model, digest_prompts
from tersely.core.errors import ConfigError
from tersely.core.lock import contents
from tersely.core.manifest import (
    FILE,
    RunManifest,
    check_left_over,
    check_same,
    gather_facts,
    read_manifest,
    say_missing,
    say_uncompared,
    write_manifest,
)
from tersely.core.storage import write_atomically
from tersely.core.types import Problem
from tersely.engines.folders import lab_then
from tersely.flows.recipe.recipe import (
    RECIPE_FILE,
    Recipe,
    as_toml,
    check_recipe,
    read_recipe,
)
from tersely.flows.recipe.settings import differences, value_of, without_tracking
from tersely.tasks.problems import digest

PROBLEMS_FILE = "problems.jsonl"
# What does not bear on the steps that are done already.
MAY_CHANGE = (
    "learner.steps",
    "learner.rollout_tokens",
    "evaluation.every_steps",
    "evaluation.samples",
    "evaluation.budgets",
    "on_alarm",
    "model.cpu_threads",
)


class Resumption(NamedTuple):
    """How a run begins: anew, or where it was left, or at an older checkpoint.

    ``resume_from``: the step of that checkpoint; None is the newest. ``changes``: the keys that
    were set by hand, which may differ from the run's recipe if they are ``MAY_CHANGE``.
    """

    resume: bool = False
    resume_from: int | None = None
    changes: Sequence[str] = ()


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

    A folder that was cut off while it was made is as good as none.

    Raises:
        ConfigError: the folder exists and ``resume`` is off, or ``resume`` is on and there is
            nothing to resume.
    """
    if (folder / FILE).is_file():
        if not resume:
            raise ConfigError(
                f"{folder} exists; continue it with --resume or choose another folder with --out"
            )
        return
    if resume and (folder / "steps.jsonl").is_file():
        raise ConfigError(say_missing(folder))
    if resume:
        raise ConfigError(f"nothing to resume in {folder} (no {FILE}); leave --resume out")
    if others := sorted({*contents(folder)} - {RECIPE_FILE, PROBLEMS_FILE}):
        raise ConfigError(
            f"{folder} exists, holds {others[0]} and is no run folder (no {FILE}); choose another "
            "folder with --out (--resume continues a run)"
        )
    check_left_over(folder / RECIPE_FILE, as_toml(recipe).encode())


def resumed_recipe(recipe: Recipe, folder: Path, *, changes: Sequence[str]) -> Recipe:
    """The recipe that a run goes on with: the run's own, with what was changed by hand, and sent to
    the trackers that are given now.

    Args:
        changes: the keys that were set by hand; those of ``MAY_CHANGE`` may be.
    Raises:
        ConfigError: it is another recipe's run, or its recipe was edited since.
    """
    manifest = read_manifest(folder, RunManifest)
    recorded = _recorded(folder, manifest)
    begun = _parse(manifest.recipes[0]) if manifest.recipes else recorded
    recipe, current, begun = (_of_then(each, manifest) for each in (recipe, recorded, begun))
    settings = current.model_dump(exclude_none=True)
    for key, here, there in differences(recipe, current):
        said = f"{key} is {here!r} here and {there!r} there"
        if any(key == name or key.startswith(f"{name}.") for name in changes):
            if key not in MAY_CHANGE:
                raise ConfigError(
                    f"cannot resume {folder} with another recipe: {said}, and only "
                    f"{', '.join(MAY_CHANGE)} may change; leave --set {key} out or start a "
                    "new run in another --out"
                )
            *sections, name = key.split(".")
            (settings[sections[0]] if sections else settings)[name] = here
        # The recipe that it was begun with goes on with what was changed since.
        elif here != value_of(begun, key):
            shown = f"'{key}={json.dumps(here)}'"
            hint = f"--set {shown} changes it" if key in MAY_CHANGE else "restore it"
            raise ConfigError(
                f"cannot resume {folder} with another recipe: {said}; {hint}, "
                f"resume with {folder / RECIPE_FILE} or choose another folder with --out"
            )
    changed = check_recipe(settings).model_copy(update={"track": recipe.track})
    _check_changed(changed, current, folder)
    return changed


def _of_then(recipe: Recipe, manifest: RunManifest) -> Recipe:
    """The recipe with the lab's model named as today, where the run has one that was "lab" once."""
    path = lab_then(recipe.model.path, manifest.files.model_digest)
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"path": path})})


def _recorded(folder: Path, manifest: RunManifest) -> Recipe:
    """The recipe of a run so far, by its manifest, which the recipe in the folder must agree with.

    Raises:
        ConfigError: the folder's recipe was edited.
    """
    file = folder / RECIPE_FILE
    if not manifest.recipes:
        say_uncompared(["recipe"], folder=folder)
        return read_recipe(file)
    current = _parse(manifest.recipes[-1])
    if not file.is_file():
        return current
    found = read_recipe(file)
    if any(not differences(found, _parse(text)) for text in manifest.recipes):
        return current
    key, here, there = differences(found, current)[0]
    change = (
        f"set it back and change it with --resume --set {key}={here}"
        if key in MAY_CHANGE
        else "set it back or start a new run in another --out"
    )
    raise ConfigError(
        f"{file} was edited since the run was begun: {key} is {here!r} now and was {there!r}; "
        f"{change}"
    )


def _check_changed(changed: Recipe, current: Recipe, folder: Path) -> None:
    """Refuses changes that do not go together with what is there."""
    caps = [max(each.evaluation.budgets) for each in (current, changed)]
    if caps[0] != caps[1]:
        raise ConfigError(
            f"evaluation.budgets reach to {caps[1]} and reached to {caps[0]}, the cap that "
            f"{folder} was evaluated at; keep {caps[0]} as the largest"
        )
    done = count_steps(folder)
    if changed.learner.steps < min(done, current.learner.steps):
        raise ConfigError(
            f"learner.steps = {changed.learner.steps} is below the {done} steps that {folder} has "
            f"done; set it to {done} or more"
        )


def count_steps(folder: Path) -> int:
    """How many steps are recorded."""
    file = folder / "steps.jsonl"
    return file.read_bytes().count(b"\n") if file.is_file() else 0


def _parse(text: str) -> Recipe:
    return check_recipe(tomllib.loads(text))


def open_run(
    folder: Path, recipe: Recipe, manifest: RunManifest, *, test: Sequence[Problem]
) -> RunManifest:
    """Creates the folder, or checks that it was made from the same model and problems.

    The manifest is written first: what else a folder begins with follows from it and from the
    problems, and is written by whoever goes on, should it be missing.
    """
    text = as_toml(without_tracking(recipe))
    if (folder / FILE).is_file():
        there = read_manifest(folder, RunManifest)
        say_uncompared(check_same(manifest, there, folder=folder), folder=folder)
        manifest = there
        if text != (there.recipes or (_text_of(folder),))[-1]:
            earlier = there.recipes or (_text_of(folder),)
            manifest = replace(there, recipes=(*earlier, text))
            write_manifest(folder, manifest)
            # Begun under the settings before.
            for partial in (folder / "eval").glob("*.partial"):
                partial.unlink()
    else:
        folder.mkdir(parents=True, exist_ok=True)
        check_left_over(folder / PROBLEMS_FILE, jsonl.as_lines(test, path=folder / PROBLEMS_FILE))
        manifest = replace(manifest, recipes=(text,))
        write_manifest(folder, manifest)
    file, written = folder / RECIPE_FILE, as_toml(recipe)
    if not file.is_file() or as_toml(read_recipe(file)) != written:
        write_atomically(file, written)
    if not (folder / PROBLEMS_FILE).is_file():
        jsonl.write(folder / PROBLEMS_FILE, test)
    return manifest


def _text_of(folder: Path) -> str:
    """The folder's recipe as we would write it; nothing where there is none."""
    file = folder / RECIPE_FILE
    return as_toml(without_tracking(read_recipe(file))) if file.is_file() else ""
