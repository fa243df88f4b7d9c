"""A recipe in verl's words: the same settings where verl has them, refused by name where not."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tersely.algo import losses
from tersely.core.errors import ConfigError, TerselyWarning
from tersely.flows.recipe.recipe import Recipe, check_recipe, read_recipe, shipped
from tersely.flows.train import seams
from tersely.flows.verl import estimator as verl
from tersely.flows.verl.launch import _hydra, as_overrides
from tersely.flows.verl.settings import (
    ACTOR,
    ROLLOUT,
    calls_a_step,
    setup_of,
    update_rows,
    validates,
    verl_settings,
)

TINY = Path(__file__).parents[1] / "tiny.toml"
# Some of verl's keys; the real ones are looked up where verl is installed.
KNOWN = frozenset(
    [
        "trainer.v1.trainer_mode",
        "trainer.logger",
        f"{ROLLOUT}.name",
        f"{ROLLOUT}.n",
        f"{ROLLOUT}.nnodes",
        f"{ROLLOUT}.n_gpus_per_node",
        f"{ROLLOUT}.checkpoint_engine.backend",
        f"{ROLLOUT}.engine_kwargs.vllm",
        f"{ACTOR}.strategy",
        f"{ACTOR}.clip_ratio_high",
        "algorithm.filter_groups.metric",
        f"{ACTOR}.grad_clip",
    ]
)


APART = (
    "verl.trainer.v1.trainer_mode=separate_async",
    f"verl.{ROLLOUT}.nnodes=1",
    f"verl.{ROLLOUT}.n_gpus_per_node=1",
    f"verl.{ROLLOUT}.checkpoint_engine.backend=nccl",
)


def tiny(*overrides: str) -> Recipe:
    plain = ["learner.staleness=1", "loss.importance_cap=2.0"]
    return read_recipe(TINY, overrides=[*plain, *overrides])


def settings(recipe: Recipe, *, nodes: int = 1, gpus: int = 1) -> dict[str, Any]:
    return verl_settings(
        recipe,
        folder=Path("/runs/mine"),
        nodes=nodes,
        gpus_per_node=gpus,
        prompt_tokens=30,
        known=KNOWN,
    )


def test_every_setting_that_verl_has_is_the_recipe_s() -> None:
    found = settings(tiny("loss.clip_high=0.3", "loss.dual_clip=3.0", "sampling.top_k=5"), gpus=4)
    wanted = {
        "data.train_batch_size": 4,
        "data.max_response_length": 48,
        "data.train_files": ["/runs/mine/verl/train.parquet"],
        "data.max_prompt_length": 30,
        f"{ROLLOUT}.n": 4,
        f"{ROLLOUT}.top_k": 5,
        f"{ACTOR}.ppo_mini_batch_size": 4,
        f"{ACTOR}.optim.lr": 1e-3,
        f"{ACTOR}.clip_ratio_low": 0.2,
        f"{ACTOR}.clip_ratio_high": 0.3,
        f"{ACTOR}.clip_ratio_c": 3.0,
        f"{ACTOR}.loss_agg_mode": "token-sum",
        "algorithm.adv_estimator": "tersely",
        "algorithm.use_kl_in_reward": False,
        "algorithm.filter_groups.metric": "acc",
        "algorithm.filter_groups.enable": False,
        "trainer.total_training_steps": 5,
        "trainer.save_freq": 2,
        "trainer.n_gpus_per_node": 4,
        "trainer.default_local_dir": "/runs/mine/checkpoints",
    }
    assert wanted.items() <= found.items()


def test_off_is_off_in_verl_s_words_too() -> None:
    found = settings(tiny())
    # verl's top_k of none is -1, ours 0; and its second clip is always on, so it is out of reach.
    assert (found[f"{ROLLOUT}.top_k"], found[f"{ACTOR}.clip_ratio_c"]) == (-1, 1e6)
    corrected = settings(tiny("loss.importance_cap=2.5"))
    assert corrected["algorithm.rollout_correction.rollout_is"] == "token"
    assert corrected["algorithm.rollout_correction.rollout_is_threshold"] == 2.5


def test_groups_without_a_signal_are_always_told_by_correctness() -> None:
    found = settings(tiny("sampling.without_signal='refill'"))
    assert found["algorithm.filter_groups.enable"] is True
    with pytest.raises(ConfigError, match=r"filter_groups.metric = 'score' contradicts"):
        settings(tiny("verl.algorithm.filter_groups.metric=score"))


@pytest.mark.parametrize(
    ("name", "theirs"), [("ppo_clip", "vanilla"), ("gspo", "gspo"), ("cispo", "cispo")]
)
def test_losses_go_by_verl_s_names(name: str, theirs: str) -> None:
    assert settings(tiny(f"loss.name={name}"))[f"{ACTOR}.policy_loss.loss_mode"] == theirs


@pytest.mark.parametrize("name", sorted({*losses.available()} - {*losses.of_verl()}))
def test_a_loss_that_verl_does_not_have_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"loss.name = '{name}': it has no such loss; set"):
        settings(tiny(f"loss.name={name}"))


def test_staleness_is_mini_batches_in_step_and_syncs_when_fully_asynchronous() -> None:
    stale = tiny("learner.staleness=2", "learner.warmup_steps=3")
    found = settings(stale)
    assert found[f"{ACTOR}.ppo_mini_batch_size"] == 2
    # The rate moves once a batch there, however many updates that is.
    assert found[f"{ACTOR}.optim.lr_warmup_steps"] == 3
    assert (calls_a_step(stale), update_rows(stale)) == (1, 8)
    apart = tiny("learner.staleness=2", "learner.warmup_steps=3", *APART)
    found = settings(apart)
    assert found["trainer.v1.separate_async.parameter_sync_step"] == 2
    assert found["data.train_batch_size"] == 2 * found[f"{ACTOR}.ppo_mini_batch_size"]
    # Here the estimator is asked, and the rate moves, for every update.
    assert (calls_a_step(apart), update_rows(apart)) == (2, 8)
    assert found[f"{ACTOR}.optim.lr_warmup_steps"] == 6


def test_a_kl_term_is_averaged_by_verl_and_so_needs_its_plain_mean() -> None:
    found = settings(tiny("loss.kl='k3'", "loss.kl_coef=0.001"))
    assert found[f"{ACTOR}.loss_agg_mode"] == "token-mean"
    assert (found[f"{ACTOR}.use_kl_loss"], found[f"{ACTOR}.kl_loss_coef"]) == (True, 0.001)
    assert found[f"{ACTOR}.kl_loss_type"] == "low_var_kl"


REFUSED = {
    'target.name="staged"': (
        ["target={name='staged',tokens=[40,20],every_steps=2}"],
        r'verl cannot do target.name = "staged": it keeps a state, the step.*fixed, group_quantile',
    ),
    'target.name="prompt_budget"': (
        ["target={name='prompt_budget',low_tokens=10,high_tokens=20}"],
        'target.name = "prompt_budget": it needs the problem, and verl tells .* fixed, group_quant',
    ),
    "rollout_tokens": (["learner.rollout_tokens=1000"], "rollout_tokens = 1000: verl counts steps"),
    "dtype": (["learner.dtype='bfloat16'"], "learner.dtype = 'bfloat16': verl has a setting"),
    "kl": (["loss.kl='k3'"], "loss.kl = 'k3' with kl_coef = 0"),
    "aggregation": (
        ["loss.kl='k3'", "loss.kl_coef=0.1", "loss.aggregation='prompt_mean'"],
        "loss.aggregation = 'prompt_mean' with a KL or entropy term",
    ),
    "masks": (
        ["loss.entropy_coef=0.1", "treatment.cells='no-long-correct'"],
        "masked rollouts with a KL or entropy term",
    ),
    "lora": (
        ["model.lora_rank=8", "verl.model_engine=megatron"],
        "model.lora_rank with verl.model_engine = 'megatron'",
    ),
    "logger": (["verl.trainer.logger=['wandb']"], r"logger = \['wandb'\] without a file"),
    "apart": (APART[:2], r"separate_async' without a sampler of its own: set verl.*n_gpus_per"),
    "mode": (["verl.trainer.v1.trainer_mode=later"], "trainer_mode = 'later': none of sync"),
    "updates": (["learner.staleness=3"], r"does not divide by learner.staleness = 3.*set it to 6"),
    "unknown": (["verl.trainer.v1.trainer_mod=sync"], "did you mean trainer.v1.trainer_mode"),
    "contradicts": (
        [f"verl.{ROLLOUT}.n=9"],
        r"rollout.n = 9 contradicts the recipe, which means 4; set sampling.samples_per_prompt",
    ),
}


@pytest.mark.parametrize(("overrides", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_verl_cannot_do_is_refused_by_name(overrides: Sequence[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings(tiny(*overrides))


def test_a_sampler_s_own_numerics_must_be_corrected_for() -> None:
    bare = read_recipe(TINY, overrides=["learner.staleness=1"])
    with pytest.raises(ConfigError, match=r"without loss.importance_cap.*importance_cap = 2"):
        settings(bare)


def test_a_reward_that_compares_with_a_reference_is_refused() -> None:
    recipe = tiny().model_dump(exclude_none=True)
    recipe["reward"] = {"name": "o1_pruner"}
    with pytest.raises(ConfigError, match=r"it needs .*reference_tokens.*launch trl"):
        settings(check_recipe(recipe))


def test_rows_that_do_not_divide_by_the_gpus_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"4 x 4 samples / .*staleness = 1 rows.*by 24 GPUs"):
        settings(tiny(), nodes=3, gpus=8)
    # Of a batch of 16 rows each of two updates has 8.
    assert settings(tiny(), gpus=16)["trainer.n_gpus_per_node"] == 16
    with pytest.raises(ConfigError, match="staleness = 2 rows, which do not divide by 16 GPUs"):
        settings(tiny("learner.staleness=2"), gpus=16)
    # Megatron holds fewer copies than GPUs: verl itself checks.
    settings(tiny("verl.model_engine=megatron"), gpus=24)


def test_what_verl_leaves_open_may_be_added_and_ray_is_told_of_the_run() -> None:
    recipe = tiny(f"verl.{ROLLOUT}.engine_kwargs.vllm.swap_space=4", "verl.model_engine=megatron")
    lines = as_overrides(settings(recipe), folder=Path("/runs/mine"), known=KNOWN)
    assert f"+{ROLLOUT}.engine_kwargs.vllm.swap_space=4" in lines
    assert "model_engine=megatron" in lines
    assert "+ray_kwargs.ray_init.runtime_env.env_vars.TERSELY_RUN=/runs/mine" in lines


def test_values_are_written_in_hydra_s_grammar() -> None:
    values = (None, True, 1e-6, -1, ["a", 2], "vllm", "a b", "it's", "/a/b-1.x", "1", "null")
    written = ["null", "true", "1e-06", "-1", "[a,2]", "vllm", "'a b'", r"'it\'s'"]
    written += ["/a/b-1.x", "'1'", "'null'"]
    assert [_hydra(value) for value in values] == written


def test_verl_validates_only_up_to_the_cap_that_it_samples_at() -> None:
    assert validates(tiny())
    assert not validates(tiny("evaluation.budgets=[48,96]"))
    assert settings(tiny("evaluation.budgets=[48,96]"))["trainer.test_freq"] == -1


def test_the_price_is_of_verl_s_defaults_unless_the_recipe_says_otherwise() -> None:
    assert setup_of(tiny(), gpus=16)[:3] == (16, True, 1)
    parallel = tiny(f"verl.{ROLLOUT}.tensor_model_parallel_size=4")
    assert setup_of(parallel, gpus=32).tensor_parallel == 4


def test_the_price_knows_the_sampler_s_own_gpus() -> None:
    own = [f"verl.{ROLLOUT}.nnodes=2", f"verl.{ROLLOUT}.n_gpus_per_node=8"]
    apart = tiny("verl.trainer.v1.trainer_mode=separate_async", *own)
    assert setup_of(apart, gpus=16).all_gpus == 32
    assert setup_of(tiny(*own), gpus=16).all_gpus == 16
    half = tiny("verl.trainer.v1.trainer_mode=separate_async", own[0])
    assert setup_of(half, gpus=16).all_gpus == 16


@pytest.mark.parametrize("name", ["r1-distill-1.5b", "qwen3-4b-thinking"])
def test_the_paper_s_recipes_are_verl_s_too(name: str) -> None:
    found = settings(read_recipe(shipped(name)), gpus=8)
    assert found[f"{ACTOR}.clip_ratio_high"] == 0.28


def test_versions_that_were_not_tested_are_named_and_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = {"verl": "0.9.1", "ray": "2.60.0", "transformers": "5.10.4"}
    monkeypatch.setattr(seams, "version", there.__getitem__)
    monkeypatch.setattr(seams, "misfit", lambda _: None)
    monkeypatch.setattr(seams, "run_probe", lambda _: "on two rows, the advantages are not ours")
    monkeypatch.setenv(seams.PASSED, "")
    seams.check_engine(verl.VERL)
    there["verl"] = "0.9.2"
    with (
        pytest.warns(TerselyWarning, match=r"verl 0.9.2: outside .*verl>=0.9.1,<0.9.2"),
        pytest.raises(ConfigError, match=r"cannot be used: on two rows, .*'verl>=0.9.1,<0.9.2'"),
    ):
        seams.check_engine(verl.VERL)
