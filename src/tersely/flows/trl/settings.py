"""A recipe in TRL's words: what TRL does alike is mapped, what it cannot do is refused by name."""

from collections.abc import Mapping
from difflib import get_close_matches
from math import gcd
from pathlib import Path
from typing import Any, NamedTuple

from tersely.algo import aggregations, losses
from tersely.core.errors import ConfigError
from tersely.flows.price.memory import Setup
from tersely.flows.recipe.recipe import Recipe
from tersely.flows.recipe.sections import LearnerSection
from tersely.trackers import refuse_twice

# Where to set instead what the recipe decides.
SET_BY = {
    "num_generations": "sampling.samples_per_prompt",
    "max_completion_length": "sampling.cap_tokens",
    "temperature": "sampling.temperature",
    "top_p": "sampling.top_p",
    "top_k": "sampling.top_k",
    "learning_rate": "learner.learning_rate",
    "warmup_steps": "learner.warmup_steps",
    "max_grad_norm": "learner.max_grad_norm",
    "max_steps": "learner.steps",
    "steps_per_generation": "learner.staleness",
    "gradient_accumulation_steps": "trl.per_device_train_batch_size",
    "beta": "loss.kl_coef",
    "epsilon": "loss.clip_low",
    "epsilon_high": "loss.clip_high",
    "delta": "loss.dual_clip",
    "loss_type": "loss.name and loss.aggregation",
    "importance_sampling_level": "loss.name",
    "vllm_importance_sampling_clip_max": "loss.importance_cap",
    "save_steps": "checkpoint.every_steps",
    "seed": "seed",
    "activation_checkpointing": "model.gradient_checkpointing",
    "output_dir": "--out",
}
# Other ways of saying how long, how much or which rows, all of which the recipe decides.
OUT_OF_PLACE = {
    "gradient_checkpointing": "model.gradient_checkpointing",
    "generation_batch_size": "sampling.prompts_per_step",
    "num_train_epochs": "learner.steps",
    "resume_from_checkpoint": "--resume",
    "reward_weights": "reward",
    "auto_find_batch_size": "trl.per_device_train_batch_size",
    "save_only_model": "nothing: a run could not be resumed",
}
# Names that a transformers older than the tested ones has for what the recipe decides.
OLDER_NAMES = {"activation_checkpointing": "gradient_checkpointing"}


# Where in a run folder TRL's checkpoints go.
CHECKPOINTS = "checkpoints"
TEMPLATE = "chat_template_kwargs"


class ProcessSplit(NamedTuple):
    """How a step's rollouts lie on processes: rows of a forward pass, and passes an update."""

    rows: int
    passes: int


def split_rows(recipe: Recipe, *, processes: int) -> ProcessSplit:
    """How many rows a process runs at once.

    As many as ``learner.micro_batch_tokens`` allow at the cap, unless the recipe gives
    ``trl.per_device_train_batch_size``.

    Raises:
        ConfigError: the step's rollouts cannot be dealt out evenly.
    """
    sampling, updates = recipe.sampling, recipe.learner.staleness
    prompts, samples = sampling.prompts_per_step, sampling.samples_per_prompt
    parts = processes * updates
    if prompts * samples % parts:
        unit = parts // gcd(parts, samples)
        fitting = -(-prompts // unit) * unit
        raise ConfigError(
            f"sampling.prompts_per_step = {prompts} x {samples} samples do not divide by "
            f"{processes} processes x {updates} updates, so groups would be cut and rows left "
            f"out; set sampling.prompts_per_step to a multiple of {unit}, {fitting} say, or change "
            "--processes"
        )
    share = prompts * samples // parts
    given = _given(recipe).get("per_device_train_batch_size")
    if given is None:
        most = max(1, recipe.learner.micro_batch_tokens // sampling.cap_tokens)
        given = max(rows for rows in range(1, min(most, share) + 1) if share % rows == 0)
    if isinstance(given, bool) or not isinstance(given, int) or given < 1 or share % given:
        raise ConfigError(
            f"trl.per_device_train_batch_size = {given!r} does not divide the {share} rollouts of "
            f"an update on one process; set a divisor of {share}"
        )
    return ProcessSplit(given, share // given)


def setup_of(recipe: Recipe, *, processes: int) -> Setup:
    """How TRL lies on GPUs with the recipe's ``[trl]``, for its price.

    Without vLLM, TRL's own generate is priced as if it had a paged cache; it is slower.
    """
    given = _given(recipe)
    sampler = given if given.get("use_vllm") and given.get("vllm_mode") != "server" else {}
    parallel = sampler.get("vllm_tensor_parallel_size")
    # 0.3 is TRL's default.
    share = sampler.get("vllm_gpu_memory_utilization", 0.3 if sampler else 1.0)
    return Setup(
        gpus=processes,
        sharded=bool(given.get("fsdp") or given.get("deepspeed")),
        tensor_parallel=parallel if isinstance(parallel, int) and parallel > 0 else 1,
        sampler_share=share if isinstance(share, float) and 0 < share <= 1 else 1.0,
        handover=bool(given.get("use_vllm")),
    )


def trl_settings(
    recipe: Recipe, *, processes: int, output: Path, known: frozenset[str], cuda: bool
) -> dict[str, Any]:
    """The settings of ``GRPOConfig`` that a recipe means.

    Args:
        output: where TRL's checkpoints go.
        known: the fields of ``GRPOConfig``.
        cuda: whether there is a GPU.
    Raises:
        ConfigError: TRL cannot do what the recipe asks for, or ``[trl]`` contradicts it.
    """
    _refuse(recipe)
    given = _given(recipe)
    fixed = {
        name if name in known or OLDER_NAMES.get(name) not in known else OLDER_NAMES[name]: value
        for name, value in _fixed(recipe, processes=processes, output=output).items()
    }
    for key, value in given.items():
        _check_given(key, value, fixed=fixed, known=known)
    refuse_twice(recipe.trackers, given.get("report_to"), key="trl.report_to")
    return {**_defaults(cuda=cuda), **given, **fixed}


def unchecked_settings(recipe: Recipe, folder: Path, *, processes: int) -> dict[str, Any]:
    """The same where TRL is not installed: nobody knows whether it has the keys of ``[trl]``.

    Raises:
        ConfigError: TRL cannot do what the recipe asks for, or ``[trl]`` contradicts it.
    """
    known = frozenset(_given(recipe))
    return trl_settings(
        recipe, processes=processes, output=folder / CHECKPOINTS, known=known, cuda=True
    )


def template_settings(recipe: Recipe) -> dict[str, Any]:
    """What TRL gives the chat template beside the messages.

    Raises:
        ConfigError: ``[trl]`` says something that is no table.
    """
    settings = _given(recipe).get(TEMPLATE) or recipe.model.chat_template_kwargs
    if not isinstance(settings, dict):
        raise ConfigError(
            f"trl.{TEMPLATE} = {settings!r} is no table; write [model.{TEMPLATE}] and a line for "
            "each setting"
        )
    return settings


def _given(recipe: Recipe) -> dict[str, Any]:
    """``[trl]``; where the recipe samples with vLLM, TRL does, on the GPUs that learn."""
    sampling, own = recipe.sampling, recipe.trl.settings if recipe.trl else {}
    if recipe.model.chat_template_kwargs:
        own = {TEMPLATE: recipe.model.chat_template_kwargs, **own}
    if sampling.engine == "local":
        return own
    share = sampling.vllm_memory_share
    ours = {"use_vllm": True, "vllm_mode": "colocate", "vllm_gpu_memory_utilization": share}
    return {**ours, **own}


def _check_given(
    key: str, value: object, *, fixed: Mapping[str, object], known: frozenset[str]
) -> None:
    if key not in known:
        near = get_close_matches(key, known, n=1)
        raise ConfigError(
            f"trl.{key} = {value!r} is no setting of TRL's GRPOConfig; "
            + (f"did you mean {near[0]}?" if near else "leave it out")
        )
    if key in OUT_OF_PLACE:
        raise ConfigError(
            f"trl.{key} = {value!r} is decided elsewhere; set {OUT_OF_PLACE[key]} and leave it out"
        )
    if key in fixed and value != fixed[key]:
        where = SET_BY.get(key)
        raise ConfigError(
            f"trl.{key} = {value!r} contradicts the recipe, which means {fixed[key]!r}; "
            + (f"set {where} and leave it out" if where else "leave it out")
        )


def _fixed(recipe: Recipe, *, processes: int, output: Path) -> dict[str, Any]:
    """What the recipe decides."""
    sampling, learner = recipe.sampling, recipe.learner
    split, updates = split_rows(recipe, processes=processes), recipe.learner.staleness
    return {
        "output_dir": str(output),
        "per_device_train_batch_size": split.rows,
        "gradient_accumulation_steps": split.passes,
        "steps_per_generation": split.passes * updates,
        "num_iterations": 1,
        "num_generations": sampling.samples_per_prompt,
        "max_completion_length": sampling.cap_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": None,
        "repetition_penalty": 1.0,
        # The rows are laid out in the order of our own loop.
        "shuffle_dataset": False,
        "learning_rate": learner.learning_rate,
        "lr_scheduler_type": "constant_with_warmup" if learner.warmup_steps else "constant",
        "warmup_steps": learner.warmup_steps * updates,
        "weight_decay": 0.0,
        "max_grad_norm": learner.max_grad_norm,
        "max_steps": learner.steps * updates,
        "seed": recipe.seed,
        "activation_checkpointing": recipe.model.gradient_checkpointing,
        "mask_truncated_completions": False,
        "eval_strategy": "no",
        "logging_strategy": "steps",
        "logging_steps": 1,
        "save_strategy": "steps",
        "save_steps": recipe.checkpoint.every_steps * updates,
        "save_total_limit": 2,
        "remove_unused_columns": False,
        **_loss(recipe),
    }


def _loss(recipe: Recipe) -> dict[str, Any]:
    """The policy loss; its aggregation is in the advantages and the denominator (``attach``)."""
    loss, spelled = recipe.loss, losses.in_trl(recipe.loss.name)
    assert spelled is not None
    settings: dict[str, Any] = {
        "loss_type": spelled.loss_type,
        "importance_sampling_level": spelled.importance_sampling_level,
        "epsilon": loss.clip_low,
        # A bound of the ratio itself, or its distance from 1.
        "epsilon_high": loss.clip_high + spelled.upper_bound_only,
        "delta": loss.dual_clip,
        "beta": loss.kl_coef,
        "scale_rewards": "none",
        "top_entropy_quantile": 1.0,
        "off_policy_mask_threshold": None,
    }
    if loss.importance_cap is not None:
        settings |= {
            "vllm_importance_sampling_correction": True,
            "vllm_importance_sampling_mode": "token_truncate",
            "vllm_importance_sampling_clip_max": loss.importance_cap,
        }
    return settings


def _defaults(*, cuda: bool) -> dict[str, Any]:
    """What holds unless ``[trl]`` says otherwise."""
    return {
        "optim": "adamw_torch_fused",
        "bf16": cuda,
        "use_cpu": not cuda,
        "report_to": "none",
        "disable_tqdm": True,
        # Every weight of a causal language model is used in every pass.
        "ddp_find_unused_parameters": False,
        # A mixture of experts gets no loss of its own in our loop.
        "router_aux_loss_coef": 0.0,
    }


def _check_learner(learner: LearnerSection) -> dict[str, bool]:
    return {
        f"learner.rollout_tokens = {learner.rollout_tokens}: TRL counts steps only; leave it out "
        "and set learner.steps": learner.rollout_tokens is not None,
        f"learner.dtype = {learner.dtype!r}: TRL has a switch of its own; leave it out and "
        "set trl.bf16": learner.dtype is not None,
    }


def _refuse(recipe: Recipe) -> None:
    """ConfigError for the first setting that TRL cannot do."""
    loss, uses_vllm = recipe.loss, bool(_given(recipe).get("use_vllm", False))
    spelled, uneven = losses.in_trl(loss.name), not aggregations.is_even(loss.aggregation)
    cannot = {
        f"loss.name = {loss.name!r}: it has no such loss; set loss.name to one of "
        f"{', '.join(losses.of_trl())}": spelled is None,
        f"model.lora_rank = {recipe.model.lora_rank}: adapters are not mapped; leave it out, or "
        "give a peft_config to GRPOTrainer in a script of your own": (
            recipe.model.lora_rank is not None
        ),
        **_check_learner(recipe.learner),
        'sampling.without_signal = "refill": TRL samples once a step; set "drop", which leaves '
        "such groups out of the loss, and raise sampling.prompts_per_step": (
            recipe.sampling.without_signal == "refill"
        ),
        f"loss.importance_cap = {loss.importance_cap} needs the sampler's log-probs, which TRL "
        "has from vLLM only; set trl.use_vllm = true or leave it out": (
            loss.importance_cap is not None and not uses_vllm
        ),
        "trl.use_vllm = true without loss.importance_cap: TRL never takes the sampler's log-probs "
        "for the old policy's, so nothing would correct for vLLM's own numerics; set "
        "loss.importance_cap = 2": uses_vllm and loss.importance_cap is None,
        f"loss.entropy_coef = {loss.entropy_coef:g}: TRL's bonus is a mean of each micro-batch, "
        "not of the step; set it to 0, or take TRL's own with trl.entropy_coef": (
            loss.entropy_coef != 0
        ),
        f'loss.kl = "{loss.kl}": TRL has k3 only; set loss.kl = "k3" or "none"': (
            loss.kl in ("k1", "k2")
        ),
        'loss.kl = "k3" with kl_coef = 0: TRL estimates the KL only where it trains on it; set '
        'loss.kl_coef > 0 or loss.kl = "none"': loss.kl == "k3" and loss.kl_coef == 0,
        f'loss.aggregation = "{loss.aggregation}" with loss.kl_coef > 0: TRL weighs the KL of '
        'every token alike; set loss.aggregation = "token_mean" or "constant", or kl_coef = 0': (
            loss.kl_coef > 0 and uneven
        ),
        f"loss.clip_low = {loss.clip_low:g}: TRL's CISPO bounds the ratio from above only; set "
        "loss.clip_low = 1": spelled is not None
        and spelled.upper_bound_only
        and loss.clip_low != 1,
        f"loss.dual_clip = {loss.dual_clip} is below 1 + loss.clip_high = {1 + loss.clip_high:g}, "
        "where TRL's delta would cut the other bound too; raise it": (
            loss.dual_clip is not None and loss.dual_clip < 1 + loss.clip_high
        ),
    }
    for message, broken in cannot.items():
        if broken:
            raise ConfigError(f"TRL cannot do {message}")
