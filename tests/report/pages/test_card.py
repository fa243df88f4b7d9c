"""A model card says what the run's own files say, and nothing of the machine."""

import shutil
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tersely.core import jsonl
from tersely.core.errors import ConfigError
from tersely.core.types import AlarmRecord, EvalRecord
from tersely.report.pages.card import find_base, write_card
from tersely.report.pages.run import measure, read_run

pytest.importorskip("huggingface_hub")


@pytest.fixture
def own(run_folder: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    shutil.copytree(run_folder, folder)
    return folder


def write(run: Path, step: int = 100, **options: object) -> str:
    folder = run / "checkpoints" / f"step-{step:06d}"
    folder.mkdir(parents=True, exist_ok=True)
    return write_card(run, step=step, folder=folder, **options).read_text(encoding="utf-8")


def front(text: str) -> dict[str, object]:
    import yaml

    found: dict[str, object] = yaml.safe_load(text.split("---\n")[1])
    return found


def base_at(folder: Path, *, config: str = "{}", card: str | None = None) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(config, encoding="utf-8")
    if card is not None:
        (folder / "README.md").write_text(card, encoding="utf-8")
    return folder


def test_the_figures_are_those_of_the_checkpoint_s_own_evaluation(own: Path) -> None:
    run = read_run(own)
    for step in (50, 100):
        ends = {at: run.evaluations[at] for at in (0, step)}
        wanted = measure(run._replace(evaluations=ends)).overall.find("mean tokens").after.estimate
        text = write(own, step)
        (result,) = front(text)["model-index"]
        values = {each["name"]: each["value"] for each in result["results"][0]["metrics"]}
        assert values["Mean tokens"] == round(wanted, 4)
        assert f"after {step} steps" in text
        assert "| Accuracy within 320 tokens |" in text


def test_a_checkpoint_without_an_evaluation_has_no_figures(own: Path) -> None:
    text = write(own, 60)
    assert "The checkpoint of step 60 was not evaluated; evaluated steps: 0, 50, 100." in text
    assert "model-index" not in text
    assert "Accuracy within" not in text


@pytest.mark.parametrize(
    ("digest", "name"), [("844e55fa29e574ac", "lab-v1"), ("0123456789abcdef", "lab")]
)
def test_the_base_is_the_model_that_was_called_lab_then(own: Path, digest: str, name: str) -> None:
    manifest = own / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"0123"', f'"{digest}"'), encoding="utf-8")
    assert read_run(own).recipe.model.path == "lab"
    assert f"The {name} model of tersely after 100 steps" in write(own)


def test_alarms_up_to_the_checkpoint_are_listed(own: Path) -> None:
    assert "No alarm was raised in training." in write(own)
    for step, name in ((10, "an early one"), (80, "a late one")):
        alarm = AlarmRecord(
            step=step, name=name, severity="error", evidence="<b>", reason="r", advice="a"
        )
        jsonl.append(own / "alarms.jsonl", alarm)
    text = write(own, 50)
    assert "- an early one at step 11 (error): &lt;b>" in text
    assert "a late one" not in text


def test_the_licence_is_the_base_s_or_is_said_not_to_be_known(own: Path, tmp_path: Path) -> None:
    card = "---\nlicense: other\nlicense_name: gemma\nlicense_link: https://x.y\n---\n# Base\n"
    with_card = base_at(tmp_path / "base", card=card)
    assert find_base(str(with_card)).licence == {
        "license": "other",
        "license_name": "gemma",
        "license_link": "https://x.y",
    }
    assert find_base("lab").licence == {"license": "apache-2.0"}
    assert find_base(str(with_card), licence="mit").licence == {"license": "mit"}
    bare = base_at(tmp_path / "bare", card="# No front matter\n")
    assert find_base(str(bare)).licence == {}
    recipe = own / "recipe.toml"
    recipe.write_text(f'[model]\npath = "{bare}"\n' + recipe.read_text(), encoding="utf-8")
    text = write(own)
    assert "which its folder does not state; add it above before you publish" in text
    assert "license" not in front(text)


@pytest.mark.parametrize(
    ("folder", "config", "name"),
    [
        ("models--Qwen--Qwen3-4B/snapshots/0a1b2c", "{}", "Qwen/Qwen3-4B"),
        ("local", '{"_name_or_path": "Qwen/Qwen3-4B"}', "Qwen/Qwen3-4B"),
        ("local", '{"_name_or_path": "/home/me/qwen"}', None),
        ("local", '{"_name_or_path": 3}', None),
        ("local", "[]", None),
        ("local", "{", None),
    ],
)
def test_the_base_is_named_as_the_hub_has_it_where_its_folder_tells(
    folder: str, config: str, name: str | None, tmp_path: Path
) -> None:
    base = find_base(str(base_at(tmp_path / folder, config=config)))
    assert (base.name, base.on_hub) == (name or "local", name is not None)


def test_a_base_that_is_gone_is_called_by_its_folder() -> None:
    assert find_base("/gone/models/qwen")[:2] == ("qwen", False)


def test_no_place_on_the_machine_stands_in_a_card(own: Path, tmp_path: Path) -> None:
    recipe = own / "recipe.toml"
    recipe.write_text(
        f'[model]\npath = "{tmp_path}/base"\n[problems]\n'
        'train = "/data/me/sums.jsonl, ~/more/gsm.parquet"\ntest = "../held/out.jsonl"\n'
        '[track]\nto = ["wandb"]\n' + recipe.read_text(),
        encoding="utf-8",
    )
    text = write(own)
    for place in (str(tmp_path), "/data", "~/", "../held", "[track]"):
        assert place not in text
    assert 'train = "sums.jsonl, gsm.parquet"' in text
    assert "problems from sums.jsonl, gsm.parquet" in text
    assert 'test = "out.jsonl"' in text


def test_data_sets_of_the_hub_are_named_as_the_hub_has_them(own: Path) -> None:
    recipe = own / "recipe.toml"
    text = '[problems]\ntrain = "aime24, sums.jsonl"\n' + recipe.read_text()
    recipe.write_text(text, encoding="utf-8")
    assert front(write(own))["datasets"] == ["HuggingFaceH4/aime_2024"]


def test_a_card_that_somebody_wrote_is_kept(own: Path) -> None:
    write(own)
    write(own)
    card = own / "checkpoints" / "step-000100" / "README.md"
    card.write_text("# My own words\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="was not written by tersely card; --force writes over"):
        write(own)
    assert card.read_text(encoding="utf-8") == "# My own words\n"
    assert write(own, force=True).startswith("---\n")


def recipe_in(text: str) -> dict[str, Any]:
    """The recipe that a card gives."""
    return tomllib.loads(text.partition("```toml\n")[2].partition("```")[0])


def test_texts_that_look_like_places_stand_in_the_recipe_as_they_are(own: Path) -> None:
    recipe = own / "recipe.toml"
    recipe.write_text(
        '[model]\nsystem_prompt = "Answer, /think first; see ../notes or ~/x"\n'
        '[model.chat_template_kwargs]\nmode = "/fast/x"\n'
        '[effort.low]\nphrase = "/no_think"\n[effort.high]\nphrase = "/a/b c, ~/x"\n'
        + recipe.read_text(),
        encoding="utf-8",
    )
    found = recipe_in(write(own))
    assert found["model"]["system_prompt"] == "Answer, /think first; see ../notes or ~/x"
    assert found["model"]["chat_template_kwargs"] == {"mode": "/fast/x"}
    assert found["effort"]["low"]["phrase"] == "/no_think"
    assert found["effort"]["high"]["phrase"] == "/a/b c, ~/x"


@pytest.mark.parametrize(
    ("given", "cut"),
    [
        ("/home/ann/my data/secret proj/p.jsonl", "p.jsonl"),
        ("my data/secret proj/p.jsonl", "p.jsonl"),
        (r"C:\Users\ann\my data\p.jsonl", "p.jsonl"),
        (r"\\host\share of ann\p.jsonl", "p.jsonl"),
        ("~/my data/p.jsonl, gym:sums?size=20, aime24", "p.jsonl, gym:sums?size=20, aime24"),
        ("~ann/my data/p.parquet?prompt=a/b&answer=c", "p.parquet?prompt=a/b&answer=c"),
    ],
)
def test_a_file_of_problems_is_cut_to_its_name(own: Path, given: str, cut: str) -> None:
    recipe = own / "recipe.toml"
    recipe.write_text(f"[problems]\ntrain = '{given}'\n" + recipe.read_text(), encoding="utf-8")
    text = write(own)
    assert recipe_in(text)["problems"]["train"] == cut
    assert f"problems from {cut}" in text
    assert "ann" not in text


def test_places_among_a_trainer_s_own_settings_are_cut(own: Path) -> None:
    recipe = own / "recipe.toml"
    recipe.write_text(
        "[trl]\nlogging_dir = 'my logs/of ann'\ndeepspeed = '/home/ann/my ds.json'\n"
        "hub_model_id = 'ann/short'\nchoice = '/no_think'\n"
        "[verl.trainer]\nfiles = ['~/a b/x.py', 'y.py']\n" + recipe.read_text(),
        encoding="utf-8",
    )
    found = recipe_in(write(own))
    assert found["trl"] == {
        "logging_dir": "of ann",
        "deepspeed": "my ds.json",
        "hub_model_id": "ann/short",
        "choice": "/no_think",
    }
    assert found["verl"] == {"trainer": {"files": ["x.py", "y.py"]}}


def test_a_card_that_was_changed_is_kept(own: Path) -> None:
    text = write(own)
    assert write(own) == text
    card = own / "checkpoints" / "step-000100" / "README.md"
    unknown = text.partition(", digest ")[0] + " -->" + text.partition(" -->")[2]
    for changed in (text + "\nMy paragraph.\n", text.replace("seed", "seeds", 1), unknown):
        card.write_text(changed, encoding="utf-8")
        with pytest.raises(ConfigError, match="was changed since tersely card wrote it; keep"):
            write(own)
        assert card.read_text(encoding="utf-8") == changed
    assert write(own, force=True) == text


def test_levels_of_effort_are_said_to_be_pooled_and_stand_by_themselves(own: Path) -> None:
    assert "pooled" not in write(own)
    recipe = own / "recipe.toml"
    levels = '[effort.low]\nphrase = "="\n[effort.high]\nphrase = "?"\n'
    recipe.write_text(levels + recipe.read_text(), encoding="utf-8")
    for file in (own / "eval").glob("step-*.jsonl"):
        records = jsonl.read(file, EvalRecord)
        file.unlink()
        for at, record in enumerate(records):
            jsonl.append(file, replace(record, effort="low" if at % 2 else "high"))
    (own / "eval" / "digests.json").unlink(missing_ok=True)
    text = write(own, force=True)
    assert "Levels of effort (low, high) are pooled in the first table" in text
    assert "each at 2 levels of effort, " in text
    assert [line[:7] for line in text.splitlines() if line[:6] in ("| low ", "| high")] == [
        "| low |",
        "| high ",
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"base_model": "not a repo"}, "--base-model 'not a repo' is no repository"),
        ({"base_model": ""}, "--base-model '' is no repository"),
        ({"licence": ""}, "--license '' is no identifier"),
        ({"licence": "foo: bar"}, "--license 'foo: bar' is no identifier"),
        ({"licence": "Apache-2.0"}, "--license 'Apache-2.0' is no identifier"),
        ({"licence": "mit\n"}, "is no identifier"),
    ],
)
def test_a_base_or_licence_that_cannot_be_one_is_refused(
    own: Path, options: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        write(own, **options)
