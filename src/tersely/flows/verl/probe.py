"""verl's own extension points on two rows: ``python -m tersely.flows.verl.probe``.

As in a run, verl is told of our module by its name alone. Then verl's reward loop grades a right
row and a wrong one, its advantages are made of the rewards, its losses of the advantages, and its
log is read; each must be what our own functions make. Ray and GPUs are left out.
"""

import asyncio
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from tersely.algo import losses
from tersely.core.errors import EngineError, TerselyError
from tersely.core.types import Problem
from tersely.engines.models import load_tokenizer
from tersely.flows.recipe.recipe import RECIPE_FILE, Recipe, as_toml, read_recipe, shipped
from tersely.flows.verl.estimator import ESTIMATOR
from tersely.flows.verl.launch import plan_verl, write_files
from tersely.flows.verl.records import read_metrics
from tersely.flows.verl.schema import compose_config
from tersely.flows.verl.settings import HOOKS, RUN, TRAIN_FILE

EXTERNAL, LOG = "VERL_USE_EXTERNAL_MODULES", "VERL_FILE_LOGGER_PATH"
SETTINGS = (
    "sampling.prompts_per_step=1",
    "sampling.samples_per_prompt=2",
    "sampling.cap_tokens=8",
    "target.tokens=8",
    "advantage.name='unbaselined'",
    "loss.importance_cap=2",
    "learner.steps=1",
    "learner.staleness=1",
    "evaluation.budgets=[8]",
)
PROBLEM = Problem(id="probe", prompt="1 + 1", answer="2", source="probe")
UID = "one"


def probe(folder: Path) -> None:
    """Takes the rows from verl's data set to its losses.

    Args:
        folder: of the run, which is there and empty.
    Raises:
        TerselyError: verl does something else with what it is given.
    """
    recipe = read_recipe(shipped("demo"), overrides=SETTINGS)
    (folder / RECIPE_FILE).write_text(as_toml(recipe), encoding="utf-8")
    write_files(recipe, folder, [PROBLEM], [PROBLEM])
    # verl loads these as it is imported.
    named = [name for name in os.environ.get(EXTERNAL, "").split(",") if name]
    os.environ |= {RUN: str(folder), EXTERNAL: ",".join([*named, HOOKS])}
    config = compose_config(plan_verl(recipe, folder, nodes=1, gpus_per_node=1))
    check_known()
    rows = make_rows(config, folder)
    score_B = grade(config, rows)
    adv_BT = advantages(config, rows, score_B)
    check_losses(recipe, rows, adv_BT)
    check_log(folder / "log.jsonl")


def check_known() -> None:
    """EngineError where verl does not find our estimator, although it was told of its module."""
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn

    try:
        get_adv_estimator_fn(ESTIMATOR)
    except ValueError as error:
        raise EngineError(f"verl does not load what {EXTERNAL} names: {error}") from error


def make_rows(config: Any, folder: Path) -> Any:
    """A right row and a wrong, shorter one, as verl's agent loops leave them."""
    import torch
    from verl import DataProto
    from verl.utils.dataset.rl_dataset import RLHFDataset

    tokenizer = load_tokenizer("lab")
    file = folder / "verl" / TRAIN_FILE
    told = {**RLHFDataset(str(file), tokenizer, config.data)[0], "uid": UID}
    right = tokenizer.encode(f"</think>{PROBLEM.answer}", add_special_tokens=False)
    ids = [torch.tensor([*each, tokenizer.eos_token_id]) for each in (right, right[:-1])]
    pad = torch.nn.utils.rnn.pad_sequence
    mask_BT = pad([torch.ones_like(each) for each in ids], batch_first=True)
    names = ("data_source", "ability", "reward_model", "extra_info", "raw_prompt", "uid")
    columns = {name: np.array([told[name]] * 2 + [None], dtype=object)[:2] for name in names}
    return DataProto.from_dict(
        tensors={
            "prompts": torch.tensor([[5, 6]] * 2),
            "responses": pad(ids, batch_first=True),
            "attention_mask": torch.cat([torch.ones_like(mask_BT)[:, :2], mask_BT], dim=1),
            "response_mask": mask_BT,
        },
        non_tensors={**columns, "session_id": np.arange(2)},
    )


def grade(config: Any, rows: Any) -> list[float]:
    """What verl's reward loop carries for each row.

    Raises:
        EngineError: not what our reward manager says.
    """
    from verl.experimental.reward_loop.reward_loop import RewardLoopWorker

    worker = RewardLoopWorker(config)
    found = [asyncio.run(worker.compute_score(rows[place : place + 1])) for place in range(2)]
    right = [row["reward_extra_info"].get("acc") for row in found]
    if right != [1.0, 0.0]:
        raise EngineError(f"verl's reward loop says {right} of a right row and a wrong one")
    return [row["reward_score"] for row in found]


def advantages(config: Any, rows: Any, score_B: list[float]) -> Any:
    """verl's own, of these rewards and our estimator.

    Raises:
        EngineError: they are not what the estimator made.
    """
    import torch
    from verl import DataProto
    from verl.trainer.ppo.ray_trainer import compute_advantage

    mask_BT = rows.batch["response_mask"]
    reward_BT = torch.zeros(mask_BT.shape)
    reward_BT[torch.arange(2), mask_BT.sum(dim=1) - 1] = torch.tensor(score_B)
    data = DataProto.from_dict(
        tensors={"token_level_rewards": reward_BT, "response_mask": mask_BT},
        non_tensors={"uid": rows.non_tensor_batch["uid"]},
    )
    adv_BT = compute_advantage(data, ESTIMATOR, config=config.algorithm).batch["advantages"]
    # The right row is paid 1 and the wrong one 0, over the tokens of both.
    wanted_BT = torch.tensor([1.0, 0.0])[:, None] * mask_BT / mask_BT.sum()
    if adv_BT.shape != wanted_BT.shape or not torch.allclose(adv_BT, wanted_BT, atol=1e-6):
        raise EngineError(f"verl's advantages are {adv_BT.tolist()}, not {wanted_BT.tolist()}")
    return adv_BT


def check_losses(recipe: Recipe, rows: Any, adv_BT: Any) -> None:
    """Holds verl's losses, summed over tokens, to ours.

    Raises:
        EngineError: one is another.
    """
    import torch
    from verl.trainer.ppo.core_algos import get_policy_loss_fn
    from verl.workers.config import ActorConfig

    mask_BT = rows.batch["response_mask"].bool()
    logp_BT = torch.linspace(-2.0, -0.5, mask_BT.numel()).reshape(mask_BT.shape)
    old_BT = logp_BT - torch.tensor([[0.4], [0.1]])
    for name in losses.of_verl():
        clips = losses.default_clips(name)
        settings = ActorConfig(
            strategy="fsdp",
            rollout_n=2,
            ppo_micro_batch_size_per_gpu=1,
            clip_ratio_low=clips.low,
            clip_ratio_high=clips.high,
        )
        theirs, _ = get_policy_loss_fn(losses.in_verl(name))(
            old_log_prob=old_BT,
            log_prob=logp_BT,
            advantages=adv_BT,
            response_mask=mask_BT.float(),
            loss_agg_mode="token-sum",
            config=settings,
        )
        ours = losses.load(name)(
            logp_BT,
            old_BT,
            adv_BT[:, 0],
            mask_BT,
            clip_low=clips.low,
            clip_high=clips.high,
            weight_BT=torch.ones(2, 1),
            denominator=1,
        ).loss
        if not torch.isclose(theirs.double(), ours.double(), rtol=1e-4):
            raise EngineError(f"verl's loss for {name} is {float(theirs):.6g}, not {ours:.6g}")


def check_log(file: Path) -> None:
    """Reads back what verl's file log wrote.

    Raises:
        TerselyError: it cannot be read, or is another.
    """
    from verl.utils.tracking import Tracking

    os.environ[LOG] = str(file)
    log = Tracking("probe", "probe", default_backend=["file"])
    log.log({"training/global_step": 1, "actor/grad_norm": 0.5}, step=1)
    found = read_metrics(file) if file.is_file() else None
    if found != {1: {"training/global_step": 1.0, "actor/grad_norm": 0.5}}:
        raise EngineError(f"verl's file log holds {found} after one step")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as made:
        try:
            probe(Path(made))
        except TerselyError as error:
            sys.exit(str(error))
