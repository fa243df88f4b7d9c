"""What all arms of a study share: prompts split by the base model's pass rate, held-out problems.

It is made once for a model and its problems, kept beside the results, and never made again there:
other samples would be other prompts, and the runs could not be compared.
"""

import gzip
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from tersely.core import jsonl
from tersely.core.digests import digest_model
from tersely.core.errors import ConfigError
from tersely.core.lock import lock_folder
from tersely.core.manifest import (
    FILE,
    Facts,
    ModelFiles,
    check_same,
    read_manifest,
    say_uncompared,
    write_manifest,
)
from tersely.core.storage import replacing
from tersely.core.types import EvalRecord, Problem, SamplingSpec
from tersely.engines.folders import LAB, folder_of, lab_then
from tersely.flows.curate.choice import Choice, Select
from tersely.flows.curate.session import choose, sample_pool
from tersely.flows.evaluate.plan import Plan
from tersely.flows.observer import Observer
from tersely.flows.recipe.problems import load_problems
from tersely.flows.recipe.recipe import check_recipe
from tersely.flows.study.lab import Lab
from tersely.flows.study.plan import band_of, merge
from tersely.metrics.budgets import Protocol
from tersely.readers.evaluations import RECORDS_FILE
from tersely.tasks.problems import read_problems

SAMPLES = 8
SEED = 0
HELD_OUT = "held-out"
SOLVABLE = "solvable"
BASE_RECORDS = "base.jsonl.gz"


class StudyPool(NamedTuple):
    """Files of the easy, hard and full prompts (equally many), of all prompts that the base model
    solved at least once (solvable), of those in a band of its pass rates ("0 to 0.5"), and of the
    held-out problems, by name."""

    folder: Path

    def file(self, name: str) -> Path:
        """The problems of this name."""
        return self.folder / f"{name.replace(' ', '-')}.jsonl"

    def held_out(self) -> list[Problem]:
        """Held-out problems; ``difficulty`` is the share of the base model's samples that fail."""
        return read_problems(self.file(HELD_OUT))


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolManifest:
    """What decides a pool: the model, where its problems come from, how they are sampled."""

    files: ModelFiles
    train: str
    test: str
    band: tuple[float, ...] | None = None
    sources: tuple[str, ...] | None = None
    train_limit: int
    test_limit: int
    cap_tokens: int
    temperature: float
    top_p: float
    top_k: int
    system_prompt: str | None = None
    facts: Facts


def make_pool(
    base: Mapping[str, Any], folder: Path, work: Path, *, observer: Observer
) -> StudyPool:
    """The pool in ``folder``, sampled under ``work`` where it is not there yet.

    Raises:
        ConfigError: model or problems cannot be used, or no three sets of one size can be had.
    """
    if StudyPool(folder).file(HELD_OUT).is_file():
        return _make_pool(base, folder, work, observer=observer)
    with lock_folder(folder):
        return _make_pool(base, folder, work, observer=observer)


def _make_pool(
    base: Mapping[str, Any], folder: Path, work: Path, *, observer: Observer
) -> StudyPool:
    pool, made_of = StudyPool(folder), describe_pool(base)
    if pool.file(HELD_OUT).is_file():
        there = read_manifest(folder, PoolManifest)
        say_uncompared(check_same(made_of, there, folder=folder), folder=folder)
        return pool
    train, test = load_problems(check_recipe(dict(base) | {"seed": SEED}))
    overlap = {p.id for p in train} & {p.id for p in test}
    if overlap:
        raise ConfigError(
            f"{len(overlap)} held-out problems are in the pool, {min(overlap)!r} among them; give "
            "another --benchmark or --problems"
        )
    records = _sample(base, train, work / "train", seed=SEED, observer=observer)
    held_out = _sample(base, test, work / "test", seed=SEED + 1, observer=observer)
    choice = Choice(select=Select.MIXES, keep_duplicates=True, seed=SEED)
    sets = choose(train, records, choice).sets
    once = Choice(band=(1 / SAMPLES, 1.0), keep_duplicates=True)
    sets |= {SOLVABLE: choose(train, records, once).sets["band"]}
    folder.mkdir(parents=True, exist_ok=True)
    for name, chosen in sets.items():
        jsonl.write(pool.file(name), chosen.problems)
    _keep_records(records, folder / BASE_RECORDS)
    write_manifest(folder, made_of)
    everything = Choice(select=Select.FULL, keep_duplicates=True)
    # Last: the pool is whole once it is there.
    jsonl.write(pool.file(HELD_OUT), choose(test, held_out, everything).sets["full"].problems)
    return pool


def add_bands(
    base: Mapping[str, Any], pool: StudyPool, names: Iterable[str], samples: Path
) -> None:
    """Writes those of the named pools that are bands of pass rates and not there yet.

    Args:
        samples: the folder that ``unpack_records`` made.

    Raises:
        ConfigError: no prompt has such a pass rate.
    """
    wanted = {name: band for name in names if (band := band_of(name)) is not None}
    missing = {name: band for name, band in wanted.items() if not pool.file(name).is_file()}
    if not missing:
        return
    train, _ = load_problems(check_recipe(dict(base) | {"seed": SEED}))
    for name, band in missing.items():
        rule = Choice(band=band, keep_duplicates=True)
        chosen = choose(train, samples / RECORDS_FILE, rule).sets["band"]
        jsonl.write(pool.file(name), chosen.problems)


def lab_of(pool: StudyPool) -> Lab:
    """The world that a pool is of; one that is not there yet will be of the second lab."""
    if not (pool.folder / FILE).is_file():
        return Lab.V2
    there = read_manifest(pool.folder, PoolManifest)
    # The first lab's base trains on the set "lab", the second's on "lab-all".
    first = there.train == LAB and lab_then(LAB, there.files.model_digest) == Lab.V1
    return Lab.V1 if first else Lab.V2


def of_then(base: Mapping[str, Any], pool: StudyPool) -> dict[str, Any]:
    """The base with the model that was called "lab" when its pool was made."""
    if not (pool.folder / FILE).is_file():
        return dict(base)
    there = read_manifest(pool.folder, PoolManifest)
    path = lab_then(base["model"]["path"], there.files.model_digest)
    return merge(base, {"model": {"path": path}})


def describe_pool(base: Mapping[str, Any]) -> PoolManifest:
    """The manifest that the pool of this base would have."""
    recipe = check_recipe(dict(base))
    problems, sampling = recipe.problems, recipe.sampling
    return PoolManifest(
        files=digest_model(folder_of(recipe.model.path)),
        train=problems.train,
        test=problems.test,
        band=problems.band,
        sources=problems.sources,
        train_limit=problems.train_limit,
        test_limit=problems.test_limit,
        cap_tokens=sampling.cap_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        system_prompt=recipe.model.system_prompt,
        facts=Facts(samples=SAMPLES, seed=SEED),
    )


def _sample(
    base: Mapping[str, Any],
    problems: Sequence[Problem],
    out: Path,
    *,
    seed: int,
    observer: Observer,
) -> Path:
    """The base model's records of these problems."""
    recipe = check_recipe(dict(base))
    sampling = recipe.sampling
    plan = Plan(
        model=recipe.model.path,
        benchmark="",
        out=out / "samples",
        spec=SamplingSpec(
            samples=SAMPLES,
            cap_tokens=sampling.cap_tokens,
            seed=seed,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
        ),
        budgets=(sampling.cap_tokens,),
        protocol=Protocol.FINISHED,
        rows=sampling.rows,
        chat_template_kwargs=recipe.model.chat_template_kwargs,
    )
    return sample_pool(problems, plan, observer=observer)


def _keep_records(records: Path, file: Path) -> None:
    """The samples without their texts, packed."""
    plain = file.with_suffix("")
    bare = [
        replace(record, prompt=None, text=None, pieces=None)
        for record in jsonl.read(records, EvalRecord)
    ]
    jsonl.write(plain, bare)
    with replacing(file) as scratch:
        scratch.write_bytes(gzip.compress(plain.read_bytes(), mtime=0))
    plain.unlink()


def unpack_records(pool: StudyPool, work: Path) -> Path:
    """The base model's samples as ``lint`` reads them, in a folder under ``work``."""
    folder = work / "base"
    folder.mkdir(parents=True, exist_ok=True)
    content = gzip.decompress((pool.folder / BASE_RECORDS).read_bytes())
    with replacing(folder / RECORDS_FILE) as scratch:
        scratch.write_bytes(content)
    return folder
