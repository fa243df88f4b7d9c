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
from tersely.flows.study.lab import Lab
from tersely.flows.study.plan import base_settings
from tersely.flows.study.pool import (
    HELD_OUT,
    PoolManifest,
    StudyPool,
    add_bands,
    describe_pool,
    make_pool,
    unpack_records,
)
from tersely.tasks.problems import read_problems

TINY = Path(__file__).parents[1] / "tiny.toml"
PUBLISHED = Path(__file__).parents[3] / "docs" / "data" / "studies"


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
    folder = PUBLISHED / "lab-v1" / "pool"
    here = describe_pool(tomllib.loads(TINY.read_text()))
    there = read_manifest(folder, PoolManifest)
    assert (there.files, there.train_limit) == (here.files, 1600)


def test_a_band_of_pass_rates_is_chosen_from_the_samples_that_are_there(tmp_path) -> None:
    folder = shutil.copytree(PUBLISHED / "lab-v1" / "pool", tmp_path / "pool")
    base, pool = base_settings(lab=Lab.V1), StudyPool(folder)
    samples = unpack_records(pool, tmp_path / "work")
    add_bands(base, pool, ["easy", "0 to 0", "0 to 0.5"], samples)
    never, hard = (read_problems(pool.file(name)) for name in ("0 to 0", "0 to 0.5"))
    assert {p.difficulty for p in never} == {1.0}
    assert {p.id for p in never} < {p.id for p in hard}
    # The pool's hard prompts are drawn from those of them that were solved.
    assert {p.id for p in read_problems(pool.file("hard"))} < {p.id for p in hard}
    assert max(1 - p.difficulty for p in hard) == 0.5
    # Not made again.
    pool.file("0 to 0").write_text("")
    add_bands(base, pool, ["0 to 0"], samples)
    assert read_problems(pool.file("0 to 0.5")) == hard
    assert pool.file("0 to 0").read_text() == ""
