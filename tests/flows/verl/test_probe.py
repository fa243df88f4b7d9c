"""The probe of verl's extension points: passed by verl as it is, failed where it was doctored."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("verl", reason="verl's pins conflict with ours; runs beside 0.9.1")

from tersely.core.errors import ConfigError, EngineError
from tersely.flows.recipe.recipe import RECIPE_FILE, Recipe, as_toml, read_recipe, shipped
from tersely.flows.train import seams
from tersely.flows.verl import hooks, probe
from tersely.flows.verl.estimator import VERL
from tersely.flows.verl.launch import plan_verl, write_files
from tersely.flows.verl.schema import compose_config
from tersely.flows.verl.settings import RUN


def test_verl_as_it_is_has_the_seams_and_passes_the_probe() -> None:
    assert [seams.misfit(seam) for seam in VERL.seams] == [None] * len(VERL.seams)
    assert seams.run_probe(VERL.probe) is None


def test_a_verl_that_does_not_load_what_it_is_told_of_is_found_out(tmp_path: Path) -> None:
    doctored = tmp_path / "deaf.py"
    doctored.write_text(
        "from pathlib import Path\n"
        "import sys, tersely.flows.verl.probe as probe\n"
        "probe.EXTERNAL = 'VERL_PLUGINS'\n"
        "try:\n    probe.probe(Path(__file__).parent / 'run')\n"
        "except Exception as error:\n    sys.exit(f'{type(error).__name__}: {error}')\n"
    )
    (tmp_path / "run").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
        assert str(seams.run_probe("deaf")).startswith("on two rows, EngineError: verl does not")


class Rows(NamedTuple):
    recipe: Recipe
    config: Any
    rows: Any


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rows]:
    """What the probe gives to verl."""
    folder = tmp_path_factory.mktemp("runs")
    recipe = read_recipe(shipped("demo"), overrides=probe.SETTINGS)
    (folder / RECIPE_FILE).write_text(as_toml(recipe))
    write_files(recipe, folder, [probe.PROBLEM], [probe.PROBLEM])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(RUN, str(folder))
        patch.setenv(seams.PASSED, seams.PROBING)
        hooks.run_folder.cache_clear()
        hooks.recipe_of_run.cache_clear()
        config = compose_config(plan_verl(recipe, folder, nodes=1, gpus_per_node=1))
        yield Rows(recipe, config, probe.make_rows(config, folder))
    hooks.run_folder.cache_clear()
    hooks.recipe_of_run.cache_clear()


def test_advantages_that_are_not_the_estimator_s_are_found_out(
    made: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    from verl.trainer.ppo import core_algos

    score_B = probe.grade(made.config, made.rows)
    probe.advantages(made.config, made.rows, score_B)

    def scaled(**told: Any) -> Any:
        adv_BT, returns_BT = core_algos.ADV_ESTIMATOR_REGISTRY["tersely"](**told)
        return adv_BT * 2, returns_BT

    monkeypatch.setattr(core_algos, "get_adv_estimator_fn", lambda name: scaled)
    with pytest.raises(EngineError, match=r"verl's advantages are .*, not "):
        probe.advantages(made.config, made.rows, score_B)


def test_a_reward_loop_that_does_not_ask_our_manager_is_found_out(
    made: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def own(*_: Any) -> dict[str, Any]:
        return {"reward_score": 0.0, "reward_extra_info": {"acc": 0.0}}

    monkeypatch.setattr(hooks.RecipeReward, "run_single", own)
    with pytest.raises(EngineError, match=r"verl's reward loop says \[0.0, 0.0\]"):
        probe.grade(made.config, made.rows)


@pytest.mark.parametrize("name", ["vanilla", "gspo", "cispo"])
def test_another_loss_is_found_out(made: Rows, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    from verl.trainer.ppo import core_algos

    adv_BT = probe.advantages(made.config, made.rows, probe.grade(made.config, made.rows))
    probe.check_losses(made.recipe, made.rows, adv_BT)
    inner = core_algos.POLICY_LOSS_REGISTRY[name]

    def averaged(*args: Any, **told: Any) -> Any:
        return inner(*args, **{**told, "loss_agg_mode": "token-mean"})

    monkeypatch.setitem(core_algos.POLICY_LOSS_REGISTRY, name, averaged)
    with pytest.raises(EngineError, match="verl's loss for "):
        probe.check_losses(made.recipe, made.rows, adv_BT)


def test_a_log_of_another_form_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from verl.utils import tracking

    monkeypatch.setenv(probe.LOG, "")
    probe.check_log(tmp_path / "log.jsonl")
    monkeypatch.setattr(tracking.FileLogger, "log", lambda self, data, step: None)
    with pytest.raises(EngineError, match=r"verl's file log holds \{\} after one step"):
        probe.check_log(tmp_path / "other.jsonl")


def test_a_function_of_another_form_is_refused_before_anything_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from verl.utils import config

    monkeypatch.setattr(seams, "run_probe", lambda _: pytest.fail("tried"))
    monkeypatch.setattr(config, "validate_config", lambda config, use_critic: None)
    with pytest.raises(ConfigError, match=r"validate_config takes .*, without use_ref"):
        seams.check_engine(VERL)
