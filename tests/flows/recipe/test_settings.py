"""Two recipes held against each other setting by setting."""

import tomllib
from importlib import resources

from tersely.flows.recipe.recipe import Recipe, check_recipe
from tersely.flows.recipe.settings import differences

DEMO = tomllib.loads(resources.files("tersely.recipes").joinpath("demo.toml").read_text())


def of(train: str) -> Recipe:
    return check_recipe({**DEMO, "problems": {**DEMO["problems"], "train": train}})


def test_two_names_of_one_file_are_one_value(tmp_path, monkeypatch):
    (tmp_path / "train.jsonl").write_text("")
    (tmp_path / "same.jsonl").write_text("")
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "train.jsonl")
    monkeypatch.chdir(tmp_path)
    named = of("train.jsonl")
    assert differences(named, of(str(tmp_path / "train.jsonl"))) == []
    assert differences(named, of("link.jsonl")) == []
    # Equal in content is another file, and so is one that is gone.
    other = ("problems.train", "train.jsonl", "same.jsonl")
    assert differences(named, of("same.jsonl")) == [other]
    (tmp_path / "same.jsonl").unlink()
    assert differences(named, of("same.jsonl")) == [other]
