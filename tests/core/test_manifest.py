"""Manifests: typed, checked when read, and read as well where an earlier version wrote texts."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tersely.core.errors import ConfigError
from tersely.core.manifest import (
    EvaluationManifest,
    Facts,
    ModelFiles,
    RunManifest,
    check_same,
    list_facts,
    list_identity,
    read_manifest,
    write_fact,
    write_manifest,
)
from tersely.flows.study.pool import PoolManifest

BEFORE = Path(__file__).parents[1] / "fixtures" / "before_h"
DIGESTS = ModelFiles(
    model_digest="844e55fa29e574ac",
    tokenizer_digest="a2683b25c448b8a2",
    stop_tokens_digest="c4e4bf327f5c1bf0",
    other_weights_digest="none",
    other_tokenizer_digest="none",
    code_digest="none",
)
KINDS = [
    ("run", RunManifest),
    ("evaluation", EvaluationManifest),
    ("study/results/pool", PoolManifest),
]


def edited(tmp_path: Path, folder: str, change) -> Path:
    shutil.copy(BEFORE / folder / "manifest.json", tmp_path)
    content = json.loads((tmp_path / "manifest.json").read_text())
    change(content)
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    return tmp_path


def test_texts_of_an_evaluation_become_numbers() -> None:
    made_of = read_manifest(BEFORE / "evaluation", EvaluationManifest)
    assert made_of == EvaluationManifest(
        model="lab",
        files=replace(DIGESTS, prompts_digest="bf78d52c9b5660f1"),
        benchmark="lab",
        benchmark_digest="bcf63f3be3429588",
        graders=("exact",),
        samples=2,
        cap_tokens=64,
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        seed=0,
        protocol="answered",
        budgets=(4, 8, 16, 32, 64),
        facts=Facts(
            started="2026-11-29T03:37:40+00:00",
            command="tersely eval --model lab --benchmark lab --limit 4 --samples 2 "
            "--max-tokens 64 --protocol answered --out evaluation",
            planned_samples=8,
            budgets=(4, 8, 16, 32, 64),
            name="evaluation",
            tersely="0.1.0",
            python="3.11.7",
            packages={"torch": "2.13.0+cpu", "transformers": "5.23.0", "numpy": "2.4.6"},
            machine="x86_64, Linux",
        ),
    )


def test_texts_of_a_served_evaluation_and_of_a_trainer_s_run_become_numbers(tmp_path) -> None:
    def serve(content):
        known = content["identity"]
        content["identity"] = {k: v for k, v in known.items() if "digest" not in k}
        content["identity"] |= {"benchmark digest": "01", "request settings": "[('a', 1)]"}
        content["facts"]["endpoint"] = "http://localhost:8000"

    served = read_manifest(edited(tmp_path, "evaluation", serve), EvaluationManifest)
    assert (served.files, served.counting_digest) == (None, None)
    assert (served.request_settings, served.facts.endpoint) == (
        "[('a', 1)]",
        "http://localhost:8000",
    )
    here = replace(served, counting_digest="none")
    assert check_same(here, served, folder=tmp_path) == ("--tokenizer digest",)
    trained = edited(
        tmp_path, "run", lambda c: c["facts"].update(trl="1.16.0", engine="trl, 2 processes")
    )
    facts = read_manifest(trained, RunManifest).facts
    assert (facts.engine, facts.packages["trl"]) == ("trl, 2 processes", "1.16.0")


def test_texts_of_a_run_and_of_a_pool_become_numbers() -> None:
    run = read_manifest(BEFORE / "run", RunManifest)
    assert run.files == replace(DIGESTS, prompts_digest=run.files.prompts_digest)
    assert (run.facts.seed, run.facts.budgets, run.facts.engine) == (0, None, None)
    pool = read_manifest(BEFORE / "study" / "results" / "pool", PoolManifest)
    assert (pool.files, pool.band, pool.sources) == (DIGESTS, (1.0, 4.0), None)
    assert (pool.train_limit, pool.cap_tokens, pool.temperature) == (96, 64, 1.0)
    assert pool.facts == Facts(samples=8, seed=0)


@pytest.mark.parametrize(("folder", "kind"), KINDS)
def test_what_is_written_is_read_back_and_is_the_same_as_the_texts(folder, kind, tmp_path) -> None:
    there = read_manifest(BEFORE / folder, kind)
    write_manifest(tmp_path, there)
    assert json.loads((tmp_path / "manifest.json").read_text())["schema"] == 2
    here = read_manifest(tmp_path, kind)
    assert here == there
    assert check_same(here, there, folder=tmp_path) == ()


@pytest.mark.parametrize(("folder", "kind"), KINDS)
def test_pages_call_everything_as_the_texts_did(folder, kind) -> None:
    old = json.loads((BEFORE / folder / "manifest.json").read_text())
    made_of = read_manifest(BEFORE / folder, kind)
    facts = {key: write_fact(value) for key, value in list_facts(made_of.facts).items()}
    assert facts == old["facts"]
    if kind is not PoolManifest:
        known = {key: write_fact(value) for key, value in list_identity(made_of).items()}
        renamed = {"max tokens": "cap tokens"}
        assert known == {renamed.get(key, key): text for key, text in old["identity"].items()}


def test_what_is_written_are_numbers_lists_and_nulls(tmp_path) -> None:
    made_of = read_manifest(BEFORE / "evaluation", EvaluationManifest)
    write_manifest(tmp_path, replace(made_of, graders=("exact", "math"), temperature=0.6))
    content = json.loads((tmp_path / "manifest.json").read_text())
    assert (content["samples"], content["temperature"], content["engine"]) == (2, 0.6, None)
    assert (content["graders"], content["budgets"]) == (["exact", "math"], [4, 8, 16, 32, 64])
    assert content["facts"]["packages"]["numpy"] == "2.4.6"


def test_lists_of_texts_are_read_in_both_forms(tmp_path) -> None:
    folder = edited(
        tmp_path, "study/results/pool", lambda c: c["identity"].update(sources="('a b', 'c')")
    )
    assert read_manifest(folder, PoolManifest).sources == ("a b", "c")
    folder = edited(tmp_path, "evaluation", lambda c: c["identity"].update(graders="exact, math"))
    assert read_manifest(folder, EvaluationManifest).graders == ("exact", "math")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda c: c["identity"].update({"max tokens": "many"}), "max tokens is 'many'"),
        (lambda c: c["identity"].update(graders=["exact"]), r"graders is \['exact'\]"),
        (lambda c: c["identity"].pop("samples"), "missing key 'samples'"),
        (lambda c: c["identity"].update(flavour="2"), "unknown key 'flavour'"),
        (lambda c: c.pop("facts"), "facts is missing"),
        (lambda c: c.update(schema=3), "has schema 3, this version reads 2"),
    ],
)
def test_a_damaged_text_is_refused_by_file_and_key(change, named, tmp_path) -> None:
    folder = edited(tmp_path, "evaluation", change)
    with pytest.raises(ConfigError, match=rf"manifest.json.*{named}"):
        read_manifest(folder, EvaluationManifest)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda c: c.update(samples="2"), "samples: "),
        (lambda c: c.update(budgets="4 8"), "budgets: expected a list, got '4 8'"),
        (lambda c: c.pop("protocol"), "missing key 'protocol'"),
        (lambda c: c["files"].pop("model_digest"), "files: .*missing key 'model_digest'"),
        (lambda c: c["files"].update(code_digest=4), "files: .*code_digest: expected str, got 4"),
        (lambda c: c["facts"].update(packages=["numpy"]), "facts: .*packages: expected an object"),
        (lambda c: c.update(flavour=2), "unknown key 'flavour'"),
    ],
)
def test_a_damaged_value_is_refused_by_file_and_key(change, named, tmp_path) -> None:
    write_manifest(tmp_path, read_manifest(BEFORE / "evaluation", EvaluationManifest))
    content = json.loads((tmp_path / "manifest.json").read_text())
    change(content)
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=rf"manifest.json: {named}") as error:
        read_manifest(tmp_path, EvaluationManifest)
    assert "\n" not in str(error.value)


def test_a_folder_of_another_kind_is_refused(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"is the folder of a training run, not of an evaluation"):
        read_manifest(BEFORE / "run", EvaluationManifest)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"cap_tokens": 32}, "cap tokens is 64 here and 32 there"),
        ({"temperature": 0.6}, "temperature is 1 here and 0.6 there"),
        ({"budgets": (4, 8)}, "budgets is 4 8 16 32 64 here and 4 8 there"),
        ({"engine": "vllm"}, "engine is None here and vllm there"),
    ],
)
def test_the_first_difference_is_named(change, named, tmp_path) -> None:
    here = read_manifest(BEFORE / "evaluation", EvaluationManifest)
    with pytest.raises(ConfigError, match=named):
        check_same(here, replace(here, **change), folder=tmp_path)
    assert check_same(here, replace(here, facts=Facts()), folder=tmp_path) == ()
