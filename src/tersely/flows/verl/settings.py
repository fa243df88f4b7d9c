"""A recipe in verl's words: what verl does alike is mapped, what it cannot do is refused."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from tersely import rewards, targets
from tersely.algo import aggregations, losses
from tersely.algo.masks import VANILLA
from tersely.core.errors import ConfigError
from tersely.engines.folders import place_of
from tersely.flows.price.memory import Setup
from tersely.flows.recipe.recipe import Recipe
from tersely.flows.recipe.sections import LearnerSection, NamedSection
from tersely.flows.verl.estimator import ESTIMATOR
from tersely.flows.verl.given import given
from tersely.trackers import refuse_twice

# What verl's processes load, and what they are told: the run, its start, and who started verl.
HOOKS, RUN = "tersely.flows.verl.hooks", "TERSELY_RUN"
ATTEMPT, LAUNCHER = "TERSELY_ATTEMPT", "TERSELY_LAUNCHER"
# Where graders and the estimator write in RUN/verl, one file a process and attempt.
GRADED, JUDGED = "graded", "judged"
TRAIN_FILE, TEST_FILE, CHECKPOINTS = "train.parquet", "test.parquet", "checkpoints"
# verl's defaults: of a GPU's memory for the sampler, and rows that one has in flight.
MEMORY_SHARE, ROWS = 0.5, 256
# A bound that no ratio reaches: verl's loss always has the second clip.
NO_DUAL_CLIP = 1e6
# What rewards and targets may need and verl's estimator is not told: of the problem, and parts.
UNTOLD = rewards.REFERENCES | {"problem", "effort", "thinking_G", "first_right_G"}
ENGINE, FSDP, MODE = "model_engine", "dp", "trainer.v1.trainer_mode"
SYNC, ONE_STEP_OFF, FULLY_ASYNC = "sync", "colocate_async", "separate_async"
ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
# Said twice to FSDP, and not known to other engines.
FSDP_ONLY = (f"{ACTOR}.grad_clip",)
# What a sampler on GPUs of its own needs.
APART = ("nnodes", "n_gpus_per_node", "checkpoint_engine.backend")

# Where to set instead what the recipe decides.
SET_BY = {
    "data.train_batch_size": "sampling.prompts_per_step",
    "data.max_response_length": "sampling.cap_tokens",
    "data.seed": "seed",
    "actor_rollout_ref.model.path": "model.path",
    "actor_rollout_ref.model.enable_gradient_checkpointing": "model.gradient_checkpointing",
    "actor_rollout_ref.model.lora_rank": "model.lora_rank",
    f"{ACTOR}.optim.lr": "learner.learning_rate",
    f"{ACTOR}.optim.lr_warmup_steps": "learner.warmup_steps",
    f"{ACTOR}.optim.clip_grad": "learner.max_grad_norm",
    f"{ACTOR}.ppo_mini_batch_size": "learner.staleness",
    f"{ACTOR}.clip_ratio_low": "loss.clip_low",
    f"{ACTOR}.clip_ratio_high": "loss.clip_high",
    f"{ACTOR}.clip_ratio_c": "loss.dual_clip",
    f"{ACTOR}.policy_loss.loss_mode": "loss.name",
    f"{ACTOR}.loss_agg_mode": "loss.aggregation",
    f"{ACTOR}.use_kl_loss": "loss.kl_coef",
    f"{ACTOR}.kl_loss_coef": "loss.kl_coef",
    f"{ACTOR}.kl_loss_type": "loss.kl",
    f"{ACTOR}.entropy_coeff": "loss.entropy_coef",
    f"{ROLLOUT}.n": "sampling.samples_per_prompt",
    f"{ROLLOUT}.temperature": "sampling.temperature",
    f"{ROLLOUT}.top_p": "sampling.top_p",
    f"{ROLLOUT}.top_k": "sampling.top_k",
    "algorithm.adv_estimator": "advantage.name",
    "algorithm.filter_groups.enable": "sampling.without_signal",
    "algorithm.rollout_correction.rollout_is_threshold": "loss.importance_cap",
    "trainer.nnodes": "--nodes",
    "trainer.n_gpus_per_node": "--gpus-per-node",
    "trainer.total_training_steps": "learner.steps",
    "trainer.save_freq": "checkpoint.every_steps",
    "trainer.default_local_dir": "--out",
    "trainer.v1.separate_async.parameter_sync_step": "learner.staleness",
}


def verl_settings(
    recipe: Recipe,
    *,
    folder: Path,
    nodes: int,
    gpus_per_node: int,
    prompt_tokens: int,
    known: AbstractSet[str],
) -> dict[str, Any]:
    """The settings of ``ppo_trainer`` that a recipe means, by verl's dotted keys.

    Args:
        folder: the run's, as every machine sees it.
        prompt_tokens: of the longest prompt.
        known: verl's own keys, as ``known_keys`` gives them.
    Raises:
        ConfigError: verl cannot do what the recipe asks for, or ``[verl]`` contradicts it.
    """
    own = given(recipe)
    mode = str(own.get(MODE, SYNC))
    refuse(recipe, mode=mode)
    refuse_twice(recipe.trackers, own.get("trainer.logger"), key="verl.trainer.logger")
    _check_division(recipe, gpus=nodes * gpus_per_node)
    fixed = _fixed(recipe, folder=folder.absolute(), mode=mode)
    fixed |= {"trainer.nnodes": nodes, "trainer.n_gpus_per_node": gpus_per_node}
    for key, value in own.items():
        _check_given(key, value, fixed=fixed, known=known)
    settings = {**_defaults(recipe, prompt_tokens=prompt_tokens), **own, **fixed}
    return {key: settings[key] for key in settings if key in known or key not in FSDP_ONLY}


def _check_given(
    key: str, value: object, *, fixed: Mapping[str, object], known: AbstractSet[str]
) -> None:
    if key != ENGINE and key not in known and not is_open(key, known):
        near = get_close_matches(key, [name.lstrip("+") for name in known], n=1)
        raise ConfigError(
            f"verl.{key} = {value!r} is no setting of verl's ppo_trainer; "
            + (f"did you mean {near[0]}?" if near else "leave it out")
        )
    if key in fixed and value != fixed[key]:
        where = SET_BY.get(key)
        raise ConfigError(
            f"verl.{key} = {value!r} contradicts the recipe, which means {fixed[key]!r}; "
            + (f"set {where} and leave it out" if where else "leave it out")
        )


def is_open(key: str, known: AbstractSet[str]) -> bool:
    """Whether verl's YAML does not have it and verl takes it: it lies in a part that takes any key,
    such as ``engine_kwargs.vllm``, or it is or lies in a field of verl's dataclasses, ``+KEY``."""
    if key in known:
        return False
    parts = [key.rsplit(".", n)[0] for n in range(key.count(".") + 1)]
    return any(part in known or f"+{part}" in known for part in parts)


def _check_division(recipe: Recipe, *, gpus: int) -> None:
    prompts, samples = recipe.sampling.prompts_per_step, recipe.sampling.samples_per_prompt
    updates = recipe.learner.staleness
    if prompts % updates:
        raise ConfigError(
            f"sampling.prompts_per_step = {prompts} does not divide by learner.staleness = "
            f"{updates}, and verl cuts a batch into equal updates; set it to "
            f"{-(-prompts // updates) * updates}"
        )
    # Other engines, and sequences over several GPUs, have fewer copies than GPUs: verl checks.
    copies = gpus if given(recipe).get(ENGINE, FSDP) == FSDP else 1
    ulysses = given(recipe).get(f"{ACTOR}.ulysses_sequence_parallel_size", 1)
    if ulysses == 1 and update_rows(recipe) % copies:
        raise ConfigError(
            f"an update has sampling.prompts_per_step = {prompts} x {samples} samples / "
            f"learner.staleness = {updates} rows, which do not divide by {gpus} GPUs; change "
            "--gpus-per-node or sampling.prompts_per_step"
        )


def update_rows(recipe: Recipe) -> int:
    """Rollouts of an optimizer update."""
    sampling = recipe.sampling
    return sampling.prompts_per_step // recipe.learner.staleness * sampling.samples_per_prompt


def calls_a_step(recipe: Recipe) -> int:
    """How often verl asks the estimator in one of its steps."""
    mode = given(recipe).get(MODE, SYNC)
    return recipe.learner.staleness if mode == FULLY_ASYNC else 1


def weighted(recipe: Recipe) -> bool:
    """Whether our weights of rows go into the advantages, and verl's loss is a plain sum.

    Not where the KL or the entropy is in the loss, which a sum would not average.
    """
    return recipe.loss.kl_coef == 0 and recipe.loss.entropy_coef == 0


def validates(recipe: Recipe) -> bool:
    """Whether verl's validation, whose cap is the training's, reaches the largest budget."""
    return max(recipe.evaluation.budgets) <= recipe.sampling.cap_tokens


def setup_of(recipe: Recipe, *, gpus: int) -> Setup:
    """How verl lies on GPUs with the recipe's ``[verl]``, for its price."""
    own = given(recipe)
    parallel = own.get(f"{ROLLOUT}.tensor_model_parallel_size", 1)
    share = own.get(f"{ROLLOUT}.gpu_memory_utilization", MEMORY_SHARE)
    machines, each = (own.get(f"{ROLLOUT}.{key}", 0) for key in APART[:2])
    counted = isinstance(machines, int) and isinstance(each, int)
    return Setup(
        gpus=gpus,
        sharded=True,
        tensor_parallel=parallel if isinstance(parallel, int) and parallel > 0 else 1,
        rows=own.get(f"{ROLLOUT}.max_num_seqs", ROWS),
        sampler_share=share if isinstance(share, float) and 0 < share <= 1 else MEMORY_SHARE,
        handover=True,
        sampling_gpus=machines * each if counted and own.get(MODE) == FULLY_ASYNC else 0,
    )


def _fixed(recipe: Recipe, *, folder: Path, mode: str) -> dict[str, Any]:
    """What the recipe decides."""
    sampling, learner, updates = recipe.sampling, recipe.learner, recipe.learner.staleness
    every = recipe.evaluation.every_steps
    settings: dict[str, Any] = {
        "data.train_files": [str(folder / "verl" / TRAIN_FILE)],
        "data.val_files": [str(folder / "verl" / TEST_FILE)],
        "data.train_batch_size": sampling.prompts_per_step,
        "data.max_response_length": sampling.cap_tokens,
        # The rows are laid out in the order of our own loop.
        "data.shuffle": False,
        "data.filter_overlong_prompts": False,
        "data.truncation": "error",
        "data.seed": recipe.seed,
        **_model(recipe),
        **_actor(recipe),
        **_rollout(recipe),
        **_algorithm(recipe),
        "trainer.total_training_steps": learner.steps,
        "trainer.save_freq": recipe.checkpoint.every_steps,
        "trainer.test_freq": every if validates(recipe) else -1,
        "trainer.val_before_train": validates(recipe),
        "trainer.val_only": False,
        "trainer.default_local_dir": str(folder / CHECKPOINTS),
        "trainer.resume_mode": "auto",
        "trainer.critic_warmup": 0,
        "critic.enable": False,
        "trainer.use_v1": True,
        MODE: mode,
    }
    if mode == FULLY_ASYNC:
        settings["trainer.v1.separate_async.parameter_sync_step"] = updates
    return settings


def _rollout(recipe: Recipe) -> dict[str, Any]:
    sampling = recipe.sampling
    return {
        f"{ROLLOUT}.n": sampling.samples_per_prompt,
        f"{ROLLOUT}.temperature": sampling.temperature,
        f"{ROLLOUT}.top_p": sampling.top_p,
        f"{ROLLOUT}.top_k": sampling.top_k or -1,
        f"{ROLLOUT}.seed": recipe.seed,
        f"{ROLLOUT}.calculate_log_probs": True,
        f"{ROLLOUT}.val_kwargs.n": recipe.evaluation.samples,
        f"{ROLLOUT}.val_kwargs.do_sample": True,
        f"{ROLLOUT}.val_kwargs.temperature": sampling.temperature,
        f"{ROLLOUT}.val_kwargs.top_p": sampling.top_p,
        f"{ROLLOUT}.val_kwargs.top_k": sampling.top_k or -1,
    }


def _model(recipe: Recipe) -> dict[str, Any]:
    model, settings = recipe.model, {}
    path = place_of(model.path)
    if model.lora_rank is not None:
        alpha = model.lora_alpha if model.lora_alpha is not None else 2.0 * model.lora_rank
        settings = {
            "actor_rollout_ref.model.lora_alpha": alpha,
            "actor_rollout_ref.model.target_modules": list(model.lora_targets) or "all-linear",
        }
    return {
        "actor_rollout_ref.model.path": str(path.absolute() if path.is_dir() else path),
        "actor_rollout_ref.model.enable_gradient_checkpointing": model.gradient_checkpointing,
        "actor_rollout_ref.model.lora_rank": model.lora_rank or 0,
        **settings,
    }


def _actor(recipe: Recipe) -> dict[str, Any]:
    loss, learner = recipe.loss, recipe.learner
    kinds = {"none": "low_var_kl", "k2": "mse", "k3": "low_var_kl"}
    return {
        f"{ACTOR}.optim.lr": learner.learning_rate,
        # The rate moves once a call of verl's, which may be several updates.
        f"{ACTOR}.optim.lr_warmup_steps": learner.warmup_steps * calls_a_step(recipe),
        f"{ACTOR}.optim.weight_decay": 0.0,
        f"{ACTOR}.optim.clip_grad": learner.max_grad_norm,
        f"{ACTOR}.grad_clip": learner.max_grad_norm,
        f"{ACTOR}.ppo_mini_batch_size": recipe.sampling.prompts_per_step // learner.staleness,
        f"{ACTOR}.ppo_epochs": 1,
        f"{ACTOR}.shuffle": False,
        f"{ACTOR}.policy_loss.loss_mode": losses.in_verl(loss.name),
        f"{ACTOR}.clip_ratio": loss.clip_low,
        f"{ACTOR}.clip_ratio_low": loss.clip_low,
        f"{ACTOR}.clip_ratio_high": loss.clip_high,
        f"{ACTOR}.clip_ratio_c": NO_DUAL_CLIP if loss.dual_clip is None else loss.dual_clip,
        f"{ACTOR}.loss_agg_mode": (
            "token-sum" if weighted(recipe) else aggregations.in_verl(loss.aggregation)
        ),
        f"{ACTOR}.entropy_coeff": loss.entropy_coef,
        f"{ACTOR}.use_kl_loss": loss.kl_coef > 0,
        f"{ACTOR}.kl_loss_coef": loss.kl_coef,
        f"{ACTOR}.kl_loss_type": kinds[loss.kl],
    }


def _algorithm(recipe: Recipe) -> dict[str, Any]:
    return {
        "algorithm.adv_estimator": ESTIMATOR,
        "algorithm.use_kl_in_reward": False,
        # Groups without a signal are told by correctness, never by a shaped reward.
        "algorithm.filter_groups.metric": "acc",
        "algorithm.filter_groups.enable": recipe.sampling.without_signal == "refill",
        "algorithm.rollout_correction.bypass_mode": False,
        "algorithm.rollout_correction.rollout_rs": None,
        "algorithm.rollout_correction.rollout_is": "token",
        "algorithm.rollout_correction.rollout_is_threshold": recipe.loss.importance_cap,
        "reward.reward_manager.source": "importlib",
        "reward.reward_manager.name": "RecipeReward",
        "reward.reward_manager.module.path": f"pkg://{HOOKS}",
    }


def _defaults(recipe: Recipe, *, prompt_tokens: int) -> dict[str, Any]:
    """What holds unless ``[verl]`` says otherwise."""
    tokens = max(recipe.learner.micro_batch_tokens, prompt_tokens + recipe.sampling.cap_tokens)
    return {
        f"{ROLLOUT}.name": "vllm",
        f"{ROLLOUT}.tensor_model_parallel_size": 1,
        f"{ACTOR}.use_dynamic_bsz": True,
        f"{ACTOR}.ppo_max_token_len_per_gpu": tokens,
        "data.max_prompt_length": prompt_tokens,
        "trainer.logger": ["console", "file"],
        "trainer.project_name": "tersely",
        "trainer.max_actor_ckpt_to_keep": 2,
    }


def _check_target(target: NamedSection | None) -> dict[str, bool]:
    """What verl cannot do of the target, and whether it is asked for."""
    if target is None:
        return {}
    declared = {name: targets.declared(name) for name in targets.available()}
    fit = [name for name, each in declared.items() if not each.keeps and not UNTOLD & each.needs]
    mine, instead = declared[target.name], f"set target.name to one of {', '.join(fit)}"
    return {
        f'target.name = "{target.name}": it keeps a state, {mine.keeps}, which verl does not '
        f"save; {instead}": bool(mine.keeps),
        f'target.name = "{target.name}": it needs the problem, and verl tells its estimator of '
        f"none; {instead}": bool(UNTOLD & mine.needs),
    }


def check_supported(recipe: Recipe, *, gpus: int) -> None:
    """ConfigError for the first setting that verl cannot do; it need not be installed."""
    own = given(recipe)
    refuse(recipe, mode=str(own.get(MODE, SYNC)))
    refuse_twice(recipe.trackers, own.get("trainer.logger"), key="verl.trainer.logger")
    _check_division(recipe, gpus=gpus)


def _check_learner(learner: LearnerSection) -> dict[str, bool]:
    return {
        f"learner.rollout_tokens = {learner.rollout_tokens}: verl counts steps only; leave it out "
        "and set learner.steps": learner.rollout_tokens is not None,
        f"learner.dtype = {learner.dtype!r}: verl has a setting of its own; leave it out "
        "and give verl's under [verl]": learner.dtype is not None,
    }


def refuse(recipe: Recipe, *, mode: str) -> None:
    """ConfigError for the first setting that verl cannot do."""
    loss, own = recipe.loss, given(recipe)
    untold = sorted(UNTOLD & rewards.needs(recipe.reward.name))
    masks = recipe.treatment.table != VANILLA or recipe.filter is not None
    masks = masks or recipe.sampling.without_signal == "drop"
    cannot = {
        f"loss.name = {loss.name!r}: it has no such loss; set loss.name to one of "
        f"{', '.join(losses.of_verl())}": losses.in_verl(loss.name) is None,
        f"{MODE} = {mode!r}: none of {SYNC}, {ONE_STEP_OFF}, {FULLY_ASYNC}; name one": (
            mode not in (SYNC, ONE_STEP_OFF, FULLY_ASYNC)
        ),
        **_check_target(recipe.target),
        f"reward.name = {recipe.reward.name!r}: it needs {', '.join(untold)}, of which verl tells "
        "its estimator nothing; use tersely launch trl, or another reward": bool(untold),
        "[credit]: it tells its estimator of no text, so nobody knows where an answer stands; use "
        "tersely launch trl, or leave [credit] out": recipe.credit is not None,
        **_check_learner(recipe.learner),
        "a recipe without loss.importance_cap: verl makes the old policy's log-probs anew, so "
        "nothing would correct for the sampler's own numerics and staleness; set "
        "loss.importance_cap = 2": loss.importance_cap is None,
        f"model.lora_rank with verl.{ENGINE} = {own.get(ENGINE)!r}: adapters are mapped for "
        f"{FSDP} only; leave one out": recipe.model.lora_rank is not None
        and own.get(ENGINE, FSDP) != FSDP,
        f"verl.trainer.logger = {own.get('trainer.logger')!r} without a file: the records are made "
        'of it; add "file"': "file" not in own.get("trainer.logger", ["file"]),
        f"{MODE} = {FULLY_ASYNC!r} without a sampler of its own: set verl.{ROLLOUT}.nnodes, "
        f"n_gpus_per_node and checkpoint_engine.backend (nccl)": mode == FULLY_ASYNC
        and not all(own.get(f"{ROLLOUT}.{key}") for key in APART),
        f"loss.kl = {loss.kl!r} with kl_coef = 0: verl estimates the KL only where it trains on "
        'it; set loss.kl_coef > 0 or loss.kl = "none"': loss.kl != "none" and loss.kl_coef == 0,
        f"loss.aggregation = {loss.aggregation!r} with a KL or entropy term: our weights go into "
        'advantages, which these terms do not have; set loss.aggregation = "token_mean", or '
        "kl_coef = 0 and entropy_coef = 0": not weighted(recipe)
        and aggregations.in_verl(loss.aggregation) is None,
        "masked rollouts with a KL or entropy term: verl counts their tokens in it; set kl_coef = "
        "0 and entropy_coef = 0, or treatment.cells, [filter] and without_signal so that none "
        "is masked": not weighted(recipe) and masks,
    }
    for message in (message for message, broken in cannot.items() if broken):
        raise ConfigError(f"verl cannot do {message}")
