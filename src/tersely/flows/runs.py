"""A run folder: made once, never overwritten, resumed only as what it was."""

import platform
import shlex
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path

from tersely import __version__
from tersely.core import jsonl
from tersely.core.errors import ConfigError
from tersely.core.manifest import (
    FILE,
    Manifest,
    check_same,
    read_manifest,
    write_atomically,
    write_manifest,
)
from tersely.core.types import Problem
from tersely.flows.config import Recipe, as_toml, first_difference, read_recipe
from tersely.tasks.problems import digest

RECIPE_FILE = "recipe.toml"
PROBLEMS_FILE = "problems.jsonl"


def make_manifest(
    recipe: Recipe, *, model_folder: Path, train: Sequence[Problem], test: Sequence[Problem]
) -> Manifest:
    """The manifest that a run of this recipe would have, here and now."""
    return Manifest(
        identity={
            "model digest": digest_of(model_folder),
            "training problems digest": digest(train),
            "test problems digest": digest(test),
        },
        facts={
            "started": datetime.now().astimezone().isoformat(timespec="seconds"),
            "command": shlex.join(["tersely", *sys.argv[1:]]),
            "seed": str(recipe.seed),
            "tersely": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "transformers", "numpy")},
            "machine": f"{platform.machine()}, {platform.system()}",
        },
    )


def digest_of(folder: Path) -> str:
    """A short digest of a model folder's configuration and weights."""
    return digest_files([folder / "config.json", *folder.glob("*.safetensors")])


def digest_files(files: Iterable[Path]) -> str:
    """A short digest of the contents of files, in the order of their names."""
    state = blake2b(digest_size=8)
    for file in sorted(files):
        with file.open("rb") as content:
            while block := content.read(1 << 20):
                state.update(block)
    return state.hexdigest()


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
    folder: Path, recipe: Recipe, manifest: Manifest, *, test: Sequence[Problem]
) -> Manifest:
    """Creates the folder, or checks that it was made from the same model and problems."""
    if (folder / FILE).is_file():
        there = read_manifest(folder)
        check_same(manifest, there, folder=folder)
        return there
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / RECIPE_FILE, as_toml(recipe))
    jsonl.write(folder / PROBLEMS_FILE, test)
    write_manifest(folder, manifest)
    return manifest
