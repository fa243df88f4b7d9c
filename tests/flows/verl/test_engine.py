"""Our adapter in verl's own hands, on CPU: its schema, its data set, its reward loop, its
advantages, its losses, its data path over Ray and TransferQueue. Runs where verl is installed.

What wants a GPU is not run: sampling (vLLM, SGLang) and the workers that learn.
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("verl", reason="verl's pins conflict with ours; runs beside 0.9.1")

import torch
from omegaconf import OmegaConf

from tersely.algo.losses.ppo_clip import ppo_clip
from tersely.core import jsonl
from tersely.core.types import Finish, Grade, Group, Problem, Rollout, Verdict
from tersely.flows.recipe.objective import objective_of
from tersely.flows.recipe.recipe import Recipe, read_recipe
from tersely.flows.recipe.shaping import columns_of, graded_view, shape_step, shaping_of
from tersely.flows.verl import hooks as verl_hooks
from tersely.flows.verl.estimator import JudgedLine, score_of
from tersely.flows.verl.launch import plan_verl
from tersely.flows.verl.schema import compose_config

TINY = Path(__file__).parents[1] / "tiny.toml"
CAP = 48
# Masks with and without influence on the group, filters, dropped groups, targets without state,
# every aggregation, advantages that verl does not have.
RECIPES = {
    "plain": (),
    "masked": (
        "treatment.cells='no-long-correct'",
        "treatment.mask_scope='loss-only'",
        "loss.aggregation='prompt_mean'",
        "advantage.name='leave_one_out'",
        "sampling.without_signal='drop'",
    ),
    "filtered": (
        "reward={name='alp'}",
        "filter={name='gfpo',keep=2}",
        "loss.aggregation='sequence_mean'",
        "advantage.name='batch_normalised'",
    ),
    "quantile": (
        "target={name='group_quantile',start_tokens=40,share=0.5}",
        "loss.aggregation='constant'",
        "advantage.name='group_normalised_sample'",
        "treatment.unfinished='graded'",
    ),
    "mean": ("loss.kl='k3'", "loss.kl_coef=0.01"),
}


def tiny(*overrides: str) -> Recipe:
    plain = ["learner.staleness=1", "loss.importance_cap=2.0"]
    return read_recipe(TINY, overrides=[*plain, *overrides])


def sampled(seed: int, *, sizes: Sequence[int] = (4, 3, 4, 2, 4)) -> list[Group]:
    """Ragged groups of every kind of rollout: right, wrong, unparsed, ungraded, cut, at the cap."""
    rng = np.random.default_rng(seed)
    groups = []
    for number, size in enumerate(sizes):
        name = f"p{number}"
        tokens = rng.integers(1, CAP + 1, size)
        tokens[0] = CAP
        rollouts = tuple(
            Rollout(
                problem_id=name,
                sample=sample,
                prompt_ids=(1, 2),
                completion_ids=tuple(range(3, 3 + n)),
                logprobs=np.zeros(n),
                entropy=0.0,
                finish=Finish.LENGTH if n == CAP and rng.random() < 0.5 else Finish.STOP,
                policy_step=0,
                text="<think>so</think>4" if rng.random() < 0.5 else "4",
            )
            for sample, n in enumerate(int(t) for t in tokens)
        )
        shares = [0.55, 0.3, 0.1, 0.05]
        grades = rng.choice([g.value for g in Grade], size, p=shares)
        verdicts = tuple(Verdict(grade=Grade(grade)) for grade in grades)
        problem = Problem(id=name, prompt="2+2", answer="4", source="sums")
        groups.append(Group(problem=problem, rollouts=rollouts, verdicts=verdicts))
    return groups


class Flat(NamedTuple):
    """The groups as verl holds them, shuffled, with its padding."""

    reward_BT: torch.Tensor
    mask_BT: torch.Tensor
    uid_B: np.ndarray
    order: np.ndarray


def flat(recipe: Recipe, groups: Sequence[Group], *, seed: int) -> Flat:
    paid_cut = recipe.treatment.unfinished == "graded"
    uids, tokens, scores = [], [], []
    for group in groups:
        for rollout, verdict in zip(group.rollouts, group.verdicts, strict=True):
            finished = rollout.finish is Finish.STOP
            right = verdict.grade is Grade.CORRECT and (finished or paid_cut)
            thought = rollout.text.startswith("<think>")
            uids.append(f"uid-{group.problem.id}")
            tokens.append(rollout.tokens)
            scores.append(score_of(verdict, finished=finished, thought=thought, right=right))
    uids, tokens, scores = [*uids, "pad0"], [*tokens, 0], [*scores, 0.0]
    order = np.random.default_rng(seed).permutation(len(uids))
    tokens_B = torch.tensor(tokens)[order]
    mask_BT = (torch.arange(CAP)[None] < tokens_B[:, None]).long()
    reward_BT = torch.zeros(mask_BT.shape, dtype=torch.float32)
    reward_BT[torch.arange(len(order)), (tokens_B - 1).clamp(min=0)] = torch.tensor(
        scores, dtype=torch.float32
    )[order]
    return Flat(reward_BT, mask_BT, np.array(uids, dtype=object)[order], order)


class Ours(NamedTuple):
    """Each row as our own loop would learn from it, in the order of the groups."""

    adv_N: np.ndarray
    keep_N: np.ndarray
    weight_N: np.ndarray
    denominator: int


def ours(recipe: Recipe, groups: Sequence[Group]) -> Ours:
    shaping = shaping_of(recipe)
    seen = [
        graded_view(group.problem, columns_of(group), pay_unfinished=shaping.pay_unfinished)
        for group in groups
    ]
    shaped = shape_step(shaping, seen, {})
    adv_N, keep_N = shaped.advantage_N, shaped.keep_N
    tokens_N = np.array([r.tokens for group in groups for r in group.rollouts])
    group_N = np.repeat(np.arange(len(groups)), [len(group.rollouts) for group in groups])
    made = objective_of(recipe).aggregate(tokens_N[keep_N], group_N[keep_N])
    weight_N = np.zeros(len(adv_N))
    weight_N[keep_N] = made.weight_B
    return Ours(np.where(keep_N, adv_N, 0.0), keep_N, weight_N, int(made.denominator))


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Any:
    """verl's registry with an estimator of a recipe in our name."""
    from verl.trainer.ppo import core_algos

    def register(recipe: Recipe) -> None:
        # Of one update, whatever groups the batch has.
        estimate = replace(verl_hooks.make_estimator(recipe), update_rows=18)
        monkeypatch.setattr(core_algos, "ADV_ESTIMATOR_REGISTRY", {})
        verl_hooks.register(lambda: estimate)

    return register


def verl_advantages(batch: Flat) -> np.ndarray:
    from verl import DataProto
    from verl.trainer.ppo.ray_trainer import compute_advantage

    data = DataProto.from_dict(
        tensors={"token_level_rewards": batch.reward_BT, "response_mask": batch.mask_BT},
        non_tensors={"uid": batch.uid_B},
    )
    config = OmegaConf.create({"norm_adv_by_std_in_grpo": True})
    data = compute_advantage(data, "tersely", config=config)
    return data.batch["advantages"].numpy()


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("seed", range(4))
def test_verl_s_advantages_of_ragged_groups_are_our_loop_s(
    registered: Any, name: str, seed: int
) -> None:
    recipe, groups = tiny(*RECIPES[name]), sampled(seed)
    registered(recipe)
    batch = flat(recipe, groups, seed=seed)
    adv_BT = verl_advantages(batch)
    mine = ours(recipe, groups)
    adv_N = mine.adv_N if name == "mean" else mine.adv_N * mine.weight_N / mine.denominator
    wanted_B = np.append(adv_N, 0.0)[batch.order]
    np.testing.assert_allclose(adv_BT, wanted_B[:, None] * batch.mask_BT.numpy(), atol=1e-6)
    assert np.abs(adv_BT).max() > 0


@pytest.mark.parametrize("name", ["plain", "masked", "filtered", "quantile"])
def test_verl_s_loss_is_then_ours(registered: Any, name: str) -> None:
    """verl's own policy loss on its own batch, cut in two, against ours on our own rows."""
    from verl.trainer.ppo.core_algos import get_policy_loss_fn
    from verl.workers.config import ActorConfig

    recipe, groups = tiny(*RECIPES[name]), sampled(1)
    registered(recipe)
    batch = flat(recipe, groups, seed=1)
    rng = np.random.default_rng(0)
    logp_BT = torch.tensor(-rng.exponential(1, batch.mask_BT.shape), requires_grad=True)
    old_BT = logp_BT.detach() + torch.tensor(rng.normal(0, 0.5, batch.mask_BT.shape))
    adv_BT = torch.tensor(verl_advantages(batch)).double()
    config = ActorConfig(
        strategy="fsdp",
        rollout_n=1,
        ppo_micro_batch_size_per_gpu=1,
        clip_ratio_low=0.2,
        clip_ratio_high=0.28,
        clip_ratio_c=1e6,
        loss_agg_mode="token-sum",
    )
    theirs = sum(
        get_policy_loss_fn("vanilla")(
            old_log_prob=old_BT[part],
            log_prob=logp_BT[part],
            advantages=adv_BT[part],
            response_mask=batch.mask_BT[part].bool(),
            loss_agg_mode="token-sum",
            config=config,
        )[0]
        for part in (slice(0, 9), slice(9, None))
    )
    mine, back = ours(recipe, groups), np.argsort(batch.order)[:-1]
    loss = ppo_clip(
        logp_BT[back],
        old_BT[back],
        torch.tensor(mine.adv_N),
        batch.mask_BT[back].bool() & torch.tensor(mine.keep_N)[:, None],
        clip_low=0.2,
        clip_high=0.28,
        weight_BT=torch.tensor(mine.weight_N)[:, None],
        denominator=mine.denominator,
    ).loss
    torch.testing.assert_close(theirs, loss, rtol=1e-6, atol=1e-7)
    grads = [torch.autograd.grad(each, logp_BT)[0] for each in (theirs, loss)]
    torch.testing.assert_close(*grads, rtol=1e-5, atol=1e-8)


def test_whose_rollouts_a_call_saw_is_written_down(tmp_path: Path) -> None:
    file = tmp_path / "judged" / "000-x.jsonl"
    recipe, groups = tiny(), sampled(3, sizes=(2, 1))
    estimator = verl_hooks.make_estimator(recipe)
    batch = flat(recipe, groups, seed=0)
    told = batch.reward_BT.double().numpy(), batch.mask_BT.bool().numpy(), batch.uid_B.tolist()
    adv_B = verl_hooks.record_calls(estimator, file)(*told)
    np.testing.assert_array_equal(adv_B, estimator(*told))
    (line,) = jsonl.read(file, JudgedLine)
    assert sorted(line.uids) == ["uid-p0", "uid-p0", "uid-p1"]


@pytest.fixture(scope="module")
def queue() -> Iterator[Any]:
    """Ray in this machine with verl's queue between its processes."""
    import ray
    import transfer_queue

    ray.init(num_cpus=2, include_dashboard=False, configure_logging=False)
    transfer_queue.init(
        OmegaConf.create({"backend": {"SimpleStorage": {"num_data_storage_units": 1}}})
    )
    yield transfer_queue
    transfer_queue.close()
    ray.shutdown()


def test_advantages_go_through_verl_s_queue_over_ray(registered: Any, queue: Any) -> None:
    """verl's own step of its trainer, on rows that lie in its queue as agent loops leave them."""
    from verl.trainer.ppo.v1.trainer_base import PPOTrainer
    from verl.utils.tensordict_utils import list_of_dict_to_tensordict

    recipe, groups = tiny(*RECIPES["masked"]), sampled(2)
    registered(recipe)
    batch = flat(recipe, groups, seed=2)
    keys, rows, seen = [], [], dict[str, int]()
    for uid, mask_T, reward_T in zip(batch.uid_B, batch.mask_BT, batch.reward_BT, strict=True):
        seen[uid] = seen.get(uid, -1) + 1
        keys.append(f"{uid}_{seen[uid]}_0")
        n = max(int(mask_T.sum()), 1)
        rows.append(
            {
                "uid": uid,
                "response_mask": mask_T[:n],
                "rm_scores": reward_T[:n],
                "rollout_log_probs": torch.zeros(n),
                "old_log_probs": torch.zeros(n),
            }
        )
    meta = queue.kv_batch_put(
        keys=keys,
        partition_id="train",
        fields=list_of_dict_to_tensordict(rows),
        tags=[{"status": "success"} for _ in keys],
    )
    lines = plan_verl(recipe, Path("mine"), nodes=1, gpus_per_node=1)
    trainer = SimpleNamespace(config=compose_config(lines))
    PPOTrainer._compute_advantage(trainer, meta, {})
    stored = queue.kv_batch_get(keys=keys, partition_id="train", select_fields=["advantages"])
    mine = ours(recipe, groups)
    wanted_B = np.append(mine.adv_N * mine.weight_N / mine.denominator, 0.0)[batch.order]
    for wanted, found_T in zip(wanted_B, stored["advantages"].unbind(), strict=True):
        np.testing.assert_allclose(found_T.numpy(), wanted, atol=1e-6)


def test_the_old_name_of_the_hooks_still_registers_the_estimator() -> None:
    code = (
        "import tersely.flows.verl_hooks as hooks\n"
        "from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY\n"
        "print(hooks.RecipeReward.__module__, 'tersely' in ADV_ESTIMATOR_REGISTRY)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split("\n")[-2] == "tersely.flows.verl.hooks True", done.stderr
    assert "tersely.flows.verl_hooks is tersely.flows.verl.hooks now" in done.stderr
