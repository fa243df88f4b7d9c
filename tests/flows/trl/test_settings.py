"""A recipe in TRL's words: the same settings where TRL has them, refused by name where not."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from tersely.algo import losses
from tersely.core.errors import ConfigError, TerselyWarning
from tersely.flows.recipe.recipe import Recipe, as_toml, check_recipe, read_recipe
from tersely.flows.train import seams
from tersely.flows.trl import launch
from tersely.flows.trl import trainer as trl
from tersely.flows.trl.launch import sampler_lacks
from tersely.flows.trl.settings import split_rows, trl_settings

TINY = Path(__file__).parents[1] / "tiny.toml"
# Some of GRPOConfig's fields; the real ones are looked up where TRL is installed.
KNOWN = frozenset(
    [
        "per_device_train_batch_size",
        "use_vllm",
        "vllm_mode",
        "learning_rate",
        "num_generations",
        "beta",
        "optim",
        "num_train_epochs",
        "entropy_coef",
        "fsdp",
        "deepspeed",
        "bf16",
    ]
)


def tiny(*overrides: str) -> Recipe:
    return read_recipe(TINY, overrides=["learner.staleness=1", *overrides])


def settings(recipe: Recipe, *, processes: int = 1) -> dict[str, Any]:
    return trl_settings(
        recipe, processes=processes, output=Path("run/checkpoints"), known=KNOWN, cuda=False
    )


def test_every_setting_that_trl_has_is_the_recipe_s() -> None:
    found = settings(
        tiny("loss.clip_high=0.3", "loss.dual_clip=3.0", "loss.kl='k3'", "loss.kl_coef=0.01")
    )
    wanted = {
        "num_generations": 4,
        "max_completion_length": 48,
        "max_steps": 5,
        "save_steps": 2,
        "learning_rate": 1e-3,
        "epsilon": 0.2,
        "epsilon_high": 0.3,
        "delta": 3.0,
        "beta": 0.01,
        "loss_type": "dapo",
        "importance_sampling_level": "token",
        "output_dir": "run/checkpoints",
    }
    assert wanted.items() <= found.items()


def test_the_other_losses_are_trl_s_under_its_own_names() -> None:
    gspo = settings(tiny("loss.name='gspo'"))
    assert (gspo["loss_type"], gspo["importance_sampling_level"]) == ("dapo", "sequence")
    assert (gspo["epsilon"], gspo["epsilon_high"]) == (3e-4, 4e-4)
    # Our bounds are distances from 1, TRL's is the ratio itself: 1 + 4.
    cispo = settings(tiny("loss.name='cispo'"))
    assert (cispo["loss_type"], cispo["epsilon_high"]) == ("cispo", 5.0)


@pytest.mark.parametrize("name", losses.available())
def test_a_loss_goes_by_what_its_file_declares_of_trl_or_is_refused(name: str) -> None:
    spelled, asked = losses.in_trl(name), tiny(f"loss.name='{name}'")
    if spelled is None:
        with pytest.raises(ConfigError, match=f"loss.name = '{name}': it has no such loss; set"):
            settings(asked)
        return
    found = settings(asked)
    assert found["loss_type"] == spelled.loss_type
    assert found["importance_sampling_level"] == spelled.importance_sampling_level


def test_a_step_s_rows_are_dealt_out_evenly_with_as_many_passes_as_memory_asks_for() -> None:
    # 4 prompts x 4 samples: 16 rows; 100 tokens hold two rows of 48.
    recipe = tiny("learner.micro_batch_tokens=100")
    assert split_rows(recipe, processes=1) == (2, 8)
    assert split_rows(recipe, processes=2) == (2, 4)
    # Two processes of 8 rows hold two groups each, 8 of 2 rows half a group: gathered, not refused.
    assert split_rows(recipe, processes=8) == (2, 1)
    assert split_rows(tiny("trl.per_device_train_batch_size=4"), processes=2) == (4, 2)


def test_updates_of_one_batch_are_trl_s_steps_per_generation() -> None:
    found = settings(tiny("learner.staleness=2", "trl.per_device_train_batch_size=4"))
    assert found["gradient_accumulation_steps"] == 2
    assert found["steps_per_generation"] == 4
    assert (found["max_steps"], found["save_steps"]) == (10, 4)


@pytest.mark.parametrize(
    ("overrides", "processes", "message"),
    [
        ((), 3, r"4 x 4 samples do not divide by 3 processes x 1 updates.*multiple of 3, 6 say"),
        (("trl.per_device_train_batch_size=3",), 1, "= 3 does not divide the 16 rollouts"),
        (("trl.learnin_rate=1.0",), 1, "trl.learnin_rate = 1.0 is no setting.*learning_rate"),
        (("trl.num_generations=8",), 1, "contradicts.*means 4; set sampling.samples_per_prompt"),
        (("trl.beta=0.04",), 1, "trl.beta = 0.04 contradicts.*set loss.kl_coef"),
        (("trl.num_train_epochs=3",), 1, "trl.num_train_epochs = 3 is decided.*learner.steps"),
        (("sampling.without_signal='refill'",), 1, 'without_signal = "refill".*set "drop"'),
        (("loss.importance_cap=2.0",), 1, "importance_cap = 2.0 needs.*trl.use_vllm = true"),
        (("trl.use_vllm=true",), 1, "use_vllm = true without loss.importance_cap"),
        (("loss.entropy_coef=0.01",), 1, "loss.entropy_coef = 0.01.*trl.entropy_coef"),
        (("loss.kl='k2'",), 1, 'loss.kl = "k2": TRL has k3 only'),
        (("loss.kl='k3'",), 1, 'loss.kl = "k3" with kl_coef = 0'),
        (
            ("loss.kl='k3'", "loss.kl_coef=0.1", "loss.aggregation='prompt_mean'"),
            1,
            'aggregation = "prompt_mean" with loss.kl_coef > 0',
        ),
        (("loss.name='cispo'", "loss.clip_low=0.2"), 1, "clip_low = 0.2: TRL's CISPO"),
        (("loss.dual_clip=1.1",), 1, "loss.dual_clip = 1.1 is below 1 . loss.clip_high = 1.28"),
    ],
)
def test_what_trl_cannot_do_is_refused_by_name_with_the_fix(
    overrides: tuple[str, ...], processes: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        settings(tiny(*overrides), processes=processes)


def test_trl_s_own_settings_pass_through_and_repeating_the_recipe_is_no_contradiction() -> None:
    recipe = tiny(
        "trl.use_vllm=true", "trl.vllm_mode='server'", "loss.importance_cap=2.0",
        "trl.learning_rate=1e-3", "trl.optim='adamw_torch'", "trl.fsdp=true",
    )  # fmt: skip
    found = settings(recipe)
    assert found["use_vllm"] is True
    assert found["vllm_mode"] == "server"
    assert found["optim"] == "adamw_torch"
    assert found["fsdp"] is True
    assert found["vllm_importance_sampling_mode"] == "token_truncate"
    assert found["vllm_importance_sampling_clip_max"] == 2.0


@pytest.mark.parametrize("asked", [True, False])
def test_an_older_transformers_is_told_in_its_own_words(asked: bool) -> None:
    recipe = tiny(f"model.gradient_checkpointing={str(asked).lower()}")
    names = ("activation_checkpointing", "gradient_checkpointing")
    for known in ({names[1]}, {*names}, set[str]()):
        found = trl_settings(recipe, processes=1, output=Path("o"), known=KNOWN | known, cuda=False)
        own = names[1] if known == {names[1]} else names[0]
        assert {name: found[name] for name in names if name in found} == {own: asked}
    given = tiny("trl.gradient_checkpointing=true")
    with pytest.raises(ConfigError, match=r"set model\.gradient_checkpointing"):
        trl_settings(given, processes=1, output=Path("o"), known=KNOWN | {names[1]}, cuda=False)


SERVER = {"use_vllm": True, "vllm_mode": "server"}


@pytest.mark.parametrize(
    ("found", "gpus", "installed", "said"),
    [
        ({}, 0, False, None),
        ({"use_vllm": False, "vllm_mode": "server"}, 0, False, None),
        ({"use_vllm": True}, 0, True, None),
        (SERVER, 1, True, None),
        (SERVER, 0, True, r'vllm_mode = "server" needs a CUDA GPU.*NCCL; set .* = "colocate"$'),
        (SERVER, 0, False, r'vllm_mode = "server" needs a CUDA GPU'),
        (SERVER, 1, False, r"use_vllm = true needs vllm, which is not installed: run pip install"),
        ({"use_vllm": True}, 0, False, r"use_vllm = true needs vllm"),
    ],
)
def test_what_a_machine_lacks_for_vllm_is_said(
    found: dict[str, Any], gpus: int, installed: bool, said: str | None
) -> None:
    lacking = sampler_lacks(found, gpus=gpus, installed=installed)
    assert (lacking is None) is (said is None)
    assert said is None or re.search(said, str(lacking))


def test_a_run_is_refused_where_a_dry_run_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "check_engine", lambda _: None)
    monkeypatch.setattr(launch, "config_fields", lambda: KNOWN)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    asked = tiny("trl.use_vllm=true", "trl.vllm_mode='server'", "loss.importance_cap=2.0")
    with pytest.raises(ConfigError, match='"server" needs a CUDA GPU'):
        launch.plan_trl(asked, Path("run"), processes=1)
    with pytest.warns(TerselyWarning, match='on this machine, trl.vllm_mode = "server"'):
        planned = launch.plan_trl(asked, Path("run"), processes=1, dry=True)
    assert planned["vllm_mode"] == "server"
    # Where vLLM is, weights that it cannot take are no reason to refuse: a plugin may help it.
    monkeypatch.setattr(launch, "find_spec", lambda _: True)
    colocated = tiny("trl.use_vllm=true", "loss.importance_cap=2.0")
    for dry in (True, False):
        with pytest.warns(TerselyWarning, match="without a GPU: vLLM for CPUs packs its weights"):
            launch.plan_trl(colocated, Path("run"), processes=1, dry=dry)


def test_the_section_is_kept_with_the_recipe() -> None:
    recipe = tiny("trl.use_vllm=true", "trl.fsdp_config.reshard_after_forward=true")
    import tomllib

    assert check_recipe(tomllib.loads(as_toml(recipe))) == recipe


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"trl": "1.17.0"}, r"trl 1.17.0: outside the tested range, trl>=1.16,<1.17; trying trl"),
        ({"trl": "1.9.0"}, "trl 1.9.0: outside"),
        ({"transformers": "6.0.1"}, "transformers 6.0.1: outside.*>=5.19,<5.25"),
        (
            {"trl": "1.17.0", "accelerate": "1.16"},
            "trl 1.17.0, accelerate 1.16: outside .*, trl>=1.16,<1.17, accelerate>=1.15,<1.16;",
        ),
    ],
)
def test_versions_that_were_not_tested_are_named_and_tried(
    monkeypatch: pytest.MonkeyPatch, found: dict[str, str], message: str
) -> None:
    good = {"trl": "1.16.3", "transformers": "5.24.0", "accelerate": "1.15.2"}
    monkeypatch.setattr(seams, "version", {**good, **found}.__getitem__)
    monkeypatch.setattr(seams, "misfit", lambda _: None)
    tried = list[str]()
    monkeypatch.setattr(seams, "run_probe", tried.append)
    monkeypatch.setenv(seams.PASSED, "")
    with pytest.warns(TerselyWarning, match=message):
        seams.check_engine(trl.TRL)
    assert tried == ["tersely.flows.trl.probe"]
    found.clear()
    monkeypatch.setattr(seams, "version", good.__getitem__)
    seams.check_engine(trl.TRL)
    assert len(tried) == 1


def test_trl_that_is_not_installed_is_refused_with_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def version(name: str) -> str:
        raise seams.PackageNotFoundError(name)

    monkeypatch.setattr(seams, "version", version)
    with pytest.raises(ConfigError, match=r"trl, which is not installed.*tersely.trl"):
        seams.check_engine(trl.TRL)


def test_adapters_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"model.lora_rank = 8: adapters are not mapped"):
        settings(tiny("model.lora_rank=8"))
