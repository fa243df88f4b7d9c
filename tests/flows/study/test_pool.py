"""A study's pool is sampled from one model folder, and kept only for it."""

import json
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from tersely.core import jsonl
from tersely.core.errors import ConfigError
from tersely.core.manifest import ModelFiles, read_manifest, write_manifest
from tersely.engines.models import lab_folder
from tersely.flows.observer import Quiet
from tersely.flows.study.pool import HELD_OUT, PoolManifest, describe_pool, make_pool

TINY = Path(__file__).parents[1] / "tiny.toml"


class NothingSampled(Quiet):
    def on_sampling(self, what, total, done):
        raise AssertionError


@pytest.fixture
def base(tmp_path):
    model = shutil.copytree(lab_folder(), tmp_path / "model")
    recipe = tomllib.loads(TINY.read_text())
    return recipe | {"model": recipe["model"] | {"path": str(model)}}


def kept(base, folder):
    """A pool that is there already; making it again asks only whether it is this model's."""
    folder.mkdir()
    write_manifest(folder, describe_pool(base))
    jsonl.write(folder / f"{HELD_OUT}.jsonl", [])
    return folder


def edit_template(model):
    file = next(iter(model.glob("chat_template*")), model / "tokenizer_config.json")
    file.write_text(file.read_text() + "\n")


def edit_stops(model):
    file = model / "generation_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "eos_token_id": [0, 1]}))


def add_bin(model):
    (model / "pytorch_model.bin").write_bytes(b"weights")


@pytest.mark.parametrize("change", [edit_template, edit_stops, add_bin])
def test_a_pool_of_a_model_that_changed_since_is_refused(base, tmp_path, change) -> None:
    folder = kept(base, tmp_path / "pool")
    make_pool(base, folder, tmp_path / "work", observer=NothingSampled())
    change(Path(base["model"]["path"]))
    with pytest.raises(ConfigError, match="digest is"):
        make_pool(base, folder, tmp_path / "work", observer=NothingSampled())


def test_a_pool_of_an_earlier_version_is_kept_with_a_warning(base, tmp_path) -> None:
    folder = kept(base, tmp_path / "pool")
    there = read_manifest(folder, PoolManifest)
    old = ModelFiles(model_digest=there.files.model_digest)
    write_manifest(folder, replace(there, files=old))
    with pytest.warns(RuntimeWarning, match="begun by an earlier version"):
        make_pool(base, folder, tmp_path / "work", observer=NothingSampled())


def test_the_pool_beside_the_published_studies_is_of_the_first_lab_as_it_is() -> None:
    folder = Path(__file__).parents[3] / "docs" / "data" / "studies" / "lab-v1" / "pool"
    here = describe_pool(tomllib.loads(TINY.read_text()))
    there = read_manifest(folder, PoolManifest)
    assert (there.files, there.train_limit) == (here.files, 1600)
