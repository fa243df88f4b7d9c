"""A run folder: made once, never overwritten, resumed only as what it was."""

import platform
import shlex
import sys
import warnings
from collections.abc import Iterable, Sequence
from datetime import datetime
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path

from tersely import __version__
from tersely.core import jsonl
from tersely.core.errors import ConfigError, TerselyWarning
from tersely.core.manifest import (
    FILE,
    Manifest,
    check_same,
    read_manifest,
    write_atomically,
    write_manifest,
)
from tersely.core.types import Problem
from tersely.flows.recipe.recipe import Recipe, as_toml, first_difference, read_recipe
from tersely.tasks.problems import digest

RECIPE_FILE = "recipe.toml"
PROBLEMS_FILE = "problems.jsonl"
PROMPTS = "rendered prompts digest"
# What a run is made from besides config.json, *.safetensors, tokenizer* and chat_template*.
_OTHER_FILES = {
    "stop tokens (generation_config.json) digest": ("generation_config.json",),
    "other weight files (.bin, indices, adapters) digest": (
        "*.bin", "*.pt", "*.pth", "*.h5", "*.index.json", "adapter_config.json",
    ),
    "other tokenizer files digest": (
        "vocab*", "merges*", "*.model", "*.tiktoken", "special_tokens_map.json",
        "added_tokens.json", "additional_chat_templates/*",
    ),
    "model code (.py) digest": ("*.py",),
}  # fmt: skip


def make_manifest(
    recipe: Recipe,
    *,
    model_folder: Path,
    train: Sequence[Problem],
    test: Sequence[Problem],
    prompts: Iterable[Sequence[int]],
) -> Manifest:
    """The manifest that a run of this recipe would have, here and now.

    Args:
        prompts: the rendered prompts of all problems, as token ids.
    """
    return Manifest(
        identity={
            **model_identity(model_folder),
            "training problems digest": digest(train),
            "test problems digest": digest(test),
            PROMPTS: digest_prompts(prompts),
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


def model_identity(folder: Path) -> dict[str, str]:
    """Digests of all files of a model folder that decide what is sampled from it.

    Only contents and names count, so a folder may be moved, linked or touched.
    """
    return {
        "model digest": digest_of(folder),
        "tokenizer and chat template digest": digest_files(_prompt_files(folder)),
        **{key: _digest_named(folder, patterns) for key, patterns in _OTHER_FILES.items()},
    }


def digest_tokenizer(path: str | None) -> str:
    """A short digest of a tokenizer's folder, or of its single file; "none" where there is none."""
    if path is None:
        return "none"
    place = Path(path)
    if not place.is_dir():
        return digest_files([place] if place.is_file() else [])
    others = _digest_named(place, _OTHER_FILES["other tokenizer files digest"])
    return digest_files(_prompt_files(place)) + ("" if others == "none" else f" {others}")


def _prompt_files(folder: Path) -> list[Path]:
    found = (*folder.glob("tokenizer*"), *folder.glob("chat_template*"))
    return [file for file in found if file.is_file()]


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


def _digest_named(folder: Path, patterns: Sequence[str]) -> str:
    """A short digest of names and contents of the files that match; "none" where none does."""
    found = sorted({file for p in patterns for file in folder.glob(p) if file.is_file()})
    state = blake2b(digest_size=8)
    for file in found:
        state.update(f"{file.relative_to(folder)}\x1f{digest_files([file])}\x1e".encode())
    return state.hexdigest() if found else "none"


def say_uncompared(keys: Sequence[str], *, folder: Path) -> None:
    """Warns of what an earlier version did not keep on record when the run was begun."""
    if keys:
        warnings.warn(
            f"{folder} was begun by an earlier version of tersely, which kept no "
            f"{', '.join(keys)}: whether these changed since is not known",
            TerselyWarning,
            stacklevel=2,
        )


def digest_prompts(prompts: Iterable[Sequence[int]]) -> str:
    """A short digest of rendered prompts, in order."""
    state = blake2b(digest_size=8)
    for ids in prompts:
        state.update(f"{' '.join(map(str, ids))}\n".encode())
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
        say_uncompared(check_same(manifest, there, folder=folder), folder=folder)
        return there
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / RECIPE_FILE, as_toml(recipe))
    jsonl.write(folder / PROBLEMS_FILE, test)
    write_manifest(folder, manifest)
    return manifest
