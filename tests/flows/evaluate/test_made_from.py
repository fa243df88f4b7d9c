"""A run goes on only as what it was begun from: weights, tokenizer, stop tokens and prompts."""

import json
import os
import shutil
from datetime import datetime
from hashlib import blake2b
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers.utils import chat_template_utils

from tersely.core.errors import ConfigError
from tersely.core.types import SamplingSpec
from tersely.engines.models import lab_folder
from tersely.flows.evaluate.plan import Plan
from tersely.flows.evaluate.session import run_evaluation
from tersely.flows.observer import Quiet
from tersely.flows.recipe.recipe import read_recipe
from tersely.flows.train.loop import train
from tersely.metrics.budgets import Protocol

TINY = Path(__file__).parents[1] / "tiny.toml"
SMALL = (
    "learner.steps=1",
    "problems.train_limit=2",
    "problems.test_limit=2",
    "sampling.prompts_per_step=1",
    "sampling.samples_per_prompt=2",
    "sampling.cap_tokens=8",
    "evaluation.budgets=[8]",
    "evaluation.samples=1",
    "learner.staleness=1",
    "target.tokens=6",
)


class Stopper(Quiet):
    """Stops a training and an evaluation before their first step or sample is done, or neither."""

    def __init__(self, *, stop):
        super().__init__(wants_stop=lambda: stop)

    def on_sample(self, record):
        if self.wants_stop():
            raise KeyboardInterrupt


def training(folder, model, *, resume=False):
    torch.set_num_threads(1)
    recipe = read_recipe(TINY, overrides=(f"model.path={model}", *SMALL))
    return train(recipe, folder, resume=resume, observer=Stopper(stop=not resume))


def evaluation(folder, model, *, resume=False):
    plan = Plan(
        model=str(model),
        benchmark="lab",
        out=folder,
        spec=SamplingSpec(samples=2, cap_tokens=8, seed=0),
        budgets=(8,),
        protocol=Protocol.FINISHED,
        limit=2,
    )
    try:
        run_evaluation(plan, observer=Stopper(stop=not resume))
    except KeyboardInterrupt:
        assert not resume


BOTH = pytest.mark.parametrize("flow", [training, evaluation])


@pytest.fixture
def model(tmp_path):
    return shutil.copytree(lab_folder(), tmp_path / "model")


def as_bin(model):
    """The same weights in torch's own format."""
    file = model / "model.safetensors"
    torch.save(load_file(file), model / "pytorch_model.bin")
    file.unlink()
    return model


def edit_json(name, change):
    def edit(model):
        content = json.loads((model / name).read_text())
        change(content)
        (model / name).write_text(json.dumps(content))

    return edit


def edit_template(model):
    file = model / "chat_template.jinja"
    file.write_text(file.read_text() + " ")


def edit_weights(model):
    weights = torch.load(model / "pytorch_model.bin", weights_only=True)
    next(iter(weights.values()))[0] += 0.5
    torch.save(weights, model / "pytorch_model.bin")


def add_file(name, content="{}"):
    def add(model):
        (model / name).write_text(content)

    return add


@BOTH
@pytest.mark.parametrize(
    ("change", "named"),
    [
        (edit_template, "tokenizer and chat template digest"),
        (edit_json("generation_config.json", lambda c: c.update(eos_token_id=[0, 1])), "stop tok"),
        (lambda m: (m / "generation_config.json").unlink(), "stop tokens.* is none here"),
        (edit_json("config.json", lambda c: c.update(rms_norm_eps=1e-3)), "model digest"),
        (add_file("special_tokens_map.json"), "other tokenizer files digest"),
        (add_file("modeling_mine.py", "x = 1"), "model code"),
        (edit_weights, "other weight files"),
    ],
)
def test_a_changed_model_folder_is_refused_naming_what_differs(
    flow, change, named, model, tmp_path
):
    if change is edit_weights:
        as_bin(model)
    flow(tmp_path / "run", model)
    change(model)
    with pytest.raises(ConfigError, match=rf"cannot resume .*{named}") as error:
        flow(tmp_path / "run", model, resume=True)
    assert "\n" not in str(error.value)


@BOTH
def test_the_same_content_moved_linked_or_touched_goes_on(flow, model, tmp_path):
    flow(tmp_path / "run", model)
    moved = model.rename(tmp_path / "elsewhere")
    model.symlink_to(moved)
    for file in moved.iterdir():
        os.utime(file, (0, 0))
    (moved / "README.md").write_text("notes are no part of a model")
    flow(tmp_path / "run", model, resume=True)


def test_an_evaluation_goes_on_from_a_folder_of_another_name(model, tmp_path):
    evaluation(tmp_path / "run", model)
    moved = model.rename(tmp_path / "elsewhere")
    evaluation(tmp_path / "run", moved, resume=True)
    lines = (tmp_path / "run" / "records.jsonl").read_text().splitlines()
    assert len(lines) == 4
    assert {json.loads(line)["model"] for line in lines} == {str(model)}


@pytest.fixture
def clock(monkeypatch):
    """Sets the day of the month that chat templates see."""

    def set_day(day):
        class Clock(datetime):
            @classmethod
            def now(cls, tz=None):
                return cls(2026, 3, day, tzinfo=tz)

        monkeypatch.setattr(chat_template_utils, "datetime", Clock)

    return set_day


@BOTH
def test_a_template_that_writes_the_date_is_found_out_on_another_day(flow, model, tmp_path, clock):
    file = model / "chat_template.jinja"
    file.write_text("{{ strftime_now('%d') }}" + file.read_text())
    clock(4)
    flow(tmp_path / "run", model)
    clock(5)
    with pytest.raises(ConfigError, match=r"rendered prompts digest is .*today's date") as error:
        flow(tmp_path / "run", model, resume=True)
    assert "\n" not in str(error.value)
    clock(4)
    flow(tmp_path / "run", model, resume=True)


@BOTH
def test_a_run_of_an_earlier_version_goes_on_and_says_what_is_not_known(flow, model, tmp_path):
    flow(tmp_path / "run", model)
    file = tmp_path / "run" / "manifest.json"
    manifest = json.loads(file.read_text())
    old = {"model_digest", *(["tokenizer_digest"] if flow is evaluation else [])}
    kept = {key: value for key, value in manifest["files"].items() if key in old}
    assert len(kept) < len(manifest["files"])
    file.write_text(json.dumps({**manifest, "files": kept}))
    with pytest.warns(RuntimeWarning, match=r"begun by an earlier version .*stop tokens"):
        flow(tmp_path / "run", model, resume=True)


def test_the_model_digest_is_the_one_that_runs_of_earlier_versions_recorded(model, tmp_path):
    evaluation(tmp_path / "run", model)
    # config.json, then *.safetensors, as every version has computed it.
    content = (model / "config.json").read_bytes() + (model / "model.safetensors").read_bytes()
    files = json.loads((tmp_path / "run" / "manifest.json").read_text())["files"]
    assert files["model_digest"] == blake2b(content, digest_size=8).hexdigest()


@BOTH
def test_a_file_that_only_changes_its_name_is_another_file(flow, model, tmp_path):
    (model / "vocab.json").write_text("{}")
    flow(tmp_path / "run", model)
    (model / "vocab.json").rename(model / "vocab.txt")
    with pytest.raises(ConfigError, match="other tokenizer files digest"):
        flow(tmp_path / "run", model, resume=True)
