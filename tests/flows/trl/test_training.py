"""The lab model trained by TRL through the adapter, in one process and in two: `make test-trl`.

Each run is then taken again by our own loop on the very rollouts that TRL sampled.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("trl")

import torch

from tersely.core import jsonl
from tersely.core.types import (
    Finish,
    Problem,
    Rollout,
    RolloutRecord,
    SamplingSpec,
    StepRecord,
)
from tersely.engines.models import lab_folder, load_policy
from tersely.flows.observer import QUIET
from tersely.flows.recipe.recipe import Recipe, as_toml, check_recipe, read_recipe
from tersely.flows.train.loop import load_run
from tersely.flows.train.session import begin, open_folder
from tersely.flows.train.step import Run, take_step
from tersely.flows.trl.hooks import latest

# The runs are short; what the target does at a second turn is tested elsewhere.
pytestmark = pytest.mark.filterwarnings("ignore:target history_minimum remembers")

HERE = Path(__file__).parent
TINY = HERE.parent / "tiny.toml"
STEPS = 3
BASE = (
    "learner.staleness=1",
    f"learner.steps={STEPS}",
    "checkpoint.every_steps=3",
    "evaluation.every_steps=3",
    # 30 rows a step: of two processes each holds half of the third group.
    "sampling.prompts_per_step=5",
    "sampling.samples_per_prompt=6",
    "learner.micro_batch_tokens=200",
)
# Masks, a target with state, each kind of aggregation, advantages that TRL does not have.
RECIPES = {
    "plain": (),
    "masked": (
        "treatment.cells='no-long-correct'",
        "treatment.mask_scope='loss-only'",
        "target.name='history_minimum'",
        "loss.aggregation='prompt_mean'",
        "advantage.name='leave_one_out'",
        "sampling.without_signal='drop'",
    ),
    "filtered": (
        "reward.name='alp'",
        "filter.name='gfpo'",
        "filter.keep=4",
        "loss.aggregation='sequence_mean'",
        "advantage.name='batch_normalised'",
    ),
    "constant": (
        "loss.name='gspo'",
        "loss.aggregation='constant'",
        "advantage.name='group_normalised_sample'",
        "sampling.temperature=0.8",
    ),
    "kl": ("loss.name='cispo'", "loss.kl='k3'", "loss.kl_coef=0.05"),
    # An advantage for each token, and each row's weight on all of its own.
    "credited": (
        "credit={name='after_right', share=-0.5}",
        "loss.aggregation='sequence_mean'",
        "reward.name='correctness'",
    ),
    # Two updates of each batch, which TRL cuts by rows and our loop by groups.
    "stale": ("learner.staleness=2", "sampling.prompts_per_step=4"),
}
SAME_UPDATES = tuple(name for name in RECIPES if name != "stale")


class Trained(NamedTuple):
    """Run folders by recipe name, and what TRL's loss was given in each step by each process."""

    folders: Path
    dumps: Path
    processes: int

    def batch(self, name: str, step: int) -> list[dict[str, np.ndarray]]:
        """One step's rows, one dictionary a process."""
        return [
            dict(np.load(self.dumps / name / f"step{step}-rank{rank}.npz"))
            for rank in range(self.processes)
        ]


def recipe_of(name: str) -> Recipe:
    overrides = [*BASE, *RECIPES[name]]
    if name == "filtered":
        settings = read_recipe(TINY, overrides=list(BASE)).model_dump(exclude_none=True)
        del settings["target"]
        return check_recipe(_with(settings, RECIPES[name]))
    if name == "masked":
        settings = read_recipe(TINY, overrides=list(BASE)).model_dump(exclude_none=True)
        settings["target"] = {"name": "history_minimum"}
        return check_recipe(_with(settings, RECIPES[name]))
    return read_recipe(TINY, overrides=overrides)


def _with(settings: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    for override in overrides:
        key, value = override.split("=")
        section, name = key.split(".")
        settings.setdefault(section, {})[name] = (
            value.strip("'") if value.startswith("'") else int(value)
        )
    return settings


@pytest.fixture(scope="module", params=[1, 2])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    scratch = tmp_path_factory.mktemp(f"trl{request.param}")
    for name in RECIPES:
        (scratch / "runs" / name).mkdir(parents=True)
        (scratch / "runs" / name / "recipe.toml").write_text(as_toml(recipe_of(name)))
    spread = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [sys.executable, *(spread if request.param == 2 else ())]
    command += [str(HERE / "trl_probe.py"), str(scratch / "dumps")]
    command += [str(scratch / "runs" / name) for name in RECIPES]
    run(command)
    return Trained(scratch / "runs", scratch / "dumps", request.param)


def run(command: Sequence[str], *, code: int = 0) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=environment, text=True, capture_output=True, check=False, timeout=900
    )
    assert done.returncode == code, done.stderr[-3000:]
    return done.stderr


class Replay:
    """Samples what TRL sampled, with the log-probs that the policy gives it now."""

    def __init__(self, trained: Trained, name: str, policy: Any) -> None:
        self._trained, self._name, self._policy = trained, name, policy

    def refresh(self) -> None:
        """The policy is looked at anew each time."""

    def run(self, *args: Any, **settings: Any) -> None:
        raise NotImplementedError

    def sample(
        self,
        problems: Sequence[Problem],
        spec: SamplingSpec,
        *,
        skip: AbstractSet[tuple[str, int]] = frozenset(),
        on_rollout: Callable[[Rollout], None] | None = None,
    ) -> list[list[Rollout]]:
        made: dict[str, list[Rollout]] = {problem.id: [] for problem in problems}
        for part in self._trained.batch(self._name, spec.policy_step):
            for row, problem in enumerate(part["problem"].tolist()):
                ids = part["completion_ids"][row][part["completion_mask"][row] == 1]
                prompt = part["prompt_ids"][row][part["prompt_mask"][row] == 1]
                made[problem].append(self._rollout(problem, len(made[problem]), prompt, ids, spec))
        return list(made.values())

    def _rollout(
        self, problem: str, sample: int, prompt: Any, ids: Any, spec: SamplingSpec
    ) -> Rollout:
        model, tokenizer = self._policy
        stopped = int(ids[-1]) == tokenizer.eos_token_id
        row = torch.tensor([[*prompt.tolist(), *ids.tolist()]])
        with torch.no_grad():
            logits_TV = model(input_ids=row).logits[0, len(prompt) - 1 : -1] / spec.temperature
        logp_TV = logits_TV.log_softmax(dim=1)
        return Rollout(
            problem_id=problem,
            sample=sample,
            prompt_ids=tuple(prompt.tolist()),
            completion_ids=tuple(ids.tolist()),
            logprobs=logp_TV.gather(1, row[0, len(prompt) :, None])[:, 0].numpy(),
            entropy=float(-(logp_TV.exp() * logp_TV).sum(dim=1).mean()),
            finish=Finish.STOP if stopped else Finish.LENGTH,
            policy_step=spec.policy_step,
            text=tokenizer.decode(ids[:-1] if stopped else ids, skip_special_tokens=False),
        )


@pytest.fixture(scope="module")
def ours(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Our own loop's runs of the same recipes on the same rollouts."""
    torch.set_num_threads(1)
    runs = {}
    for name in RECIPES:
        folder = tmp_path_factory.mktemp("ours") / name
        session = begin(recipe_of(name), folder, resume=False)
        run = load_run(session, observer=QUIET)
        open_folder(session)
        run = run._replace(sampler=Replay(trained, name, run.policy))
        state: Any = {}
        for step in range(STEPS):
            state = take_step(run, step, state).state
        runs[name] = run
    return runs


def rollouts(folder: Path, step: int) -> list[RolloutRecord]:
    return list(jsonl.read(folder / "rollouts" / f"step-{step:06d}.jsonl.zst", RolloutRecord))


@pytest.mark.parametrize("name", RECIPES)
def test_rewards_masks_and_advantages_are_those_of_our_own_loop_on_the_same_rollouts(
    trained: Trained, ours: dict[str, Run], name: str
) -> None:
    masked = 0
    for step in range(STEPS):
        here, there = rollouts(ours[name].folder, step), rollouts(trained.folders / name, step)
        section = recipe_of(name).sampling
        assert len(here) == section.prompts_per_step * section.samples_per_prompt
        for a, b in zip(here, there, strict=True):
            assert (a.problem, a.sample, a.text) == (b.problem, b.sample, b.text)
            assert (a.grade, a.finish, a.tokens, a.kept) == (b.grade, b.finish, b.tokens, b.kept)
            assert a.reward == pytest.approx(b.reward, abs=1e-6)
            assert a.advantage == pytest.approx(b.advantage, abs=1e-6)
            masked += not a.kept
    assert (masked > 0) == (name in ("masked", "filtered"))


def weights(recipe: Recipe, records: Sequence[RolloutRecord]) -> tuple[list[float], float]:
    """A second, naive aggregation: each row's weight, and the step's denominator."""
    kept = [r for r in records if r.kept]
    total = sum(r.tokens for r in kept)
    match recipe.loss.aggregation:
        case "token_mean":
            return [float(r.kept) for r in records], total
        case "sequence_mean":
            return [r.kept / r.tokens for r in records], len(kept)
        case "constant":
            return [float(r.kept) for r in records], len(kept) * recipe.sampling.cap_tokens
        case _:
            tokens = {r.problem: 0 for r in kept}
            for r in kept:
                tokens[r.problem] += r.tokens
            return [r.kept / tokens[r.problem] if r.kept else 0.0 for r in records], len(tokens)


@pytest.mark.parametrize("name", RECIPES)
def test_trl_s_loss_is_given_the_advantages_the_masks_and_the_denominator(
    trained: Trained, name: str
) -> None:
    apart = 0
    for step in range(STEPS):
        records = rollouts(trained.folders / name, step)
        weight, denominator = weights(recipe_of(name), records)
        wanted: dict[str, list[tuple[float, bool, int]]] = {}
        for record, w in zip(records, weight, strict=True):
            entry = (record.advantage * w, record.kept, record.tokens)
            wanted.setdefault(record.problem, []).append(entry)
        for part in trained.batch(name, step):
            assert part["num_items_in_batch"] == pytest.approx(max(denominator, 1))
            for row, problem in enumerate(part["problem"].tolist()):
                advantage, kept, tokens = wanted[problem].pop(0)
                own = np.atleast_1d(part["advantages"][row])
                assert own[0] == pytest.approx(advantage, abs=1e-6)
                apart += len(set(own[:tokens].tolist())) > 1
                loss_mask = part["completion_mask"][row] * part["tool_mask"][row]
                assert loss_mask.sum() == tokens * kept
        assert not any(wanted.values())
    assert (apart > 0) == (name == "credited")


@pytest.mark.parametrize("name", SAME_UPDATES)
def test_loss_and_gradient_are_those_of_our_own_learner(
    trained: Trained, ours: dict[str, Run], name: str
) -> None:
    here, there = (
        list(jsonl.read(folder / "steps.jsonl", StepRecord))
        for folder in (ours[name].folder, trained.folders / name)
    )
    assert len(here) == len(there) == STEPS
    for a, b in zip(here, there, strict=True):
        if np.isnan(a.grad_norm):  # no row had a signal: our learner makes no update
            assert b.grad_norm == 0
            continue
        # From the second step on two optimizers have moved the weights, with rounding.
        bound = 1e-3 if a.step == 0 else 1e-2
        assert b.loss == pytest.approx(a.loss, rel=bound, abs=1e-6)
        assert b.grad_norm == pytest.approx(a.grad_norm, rel=bound)
    fields = ("accuracy", "tokens_mean", "target_tokens", "zero_signal_share", "update_tokens")
    for field in (*fields, "dropped_groups", "positive_share", "learning_rate"):
        left, right = ([getattr(r, field) for r in side] for side in (here, there))
        assert left == pytest.approx(right, nan_ok=True), field
    # TRL's KL is a mean over micro-batches, whatever their number of tokens.
    for field, bound in (("entropy_mean", 1e-2), ("kl_mean", 0.5)):
        left, right = ([getattr(r, field) for r in side] for side in (here, there))
        assert left == pytest.approx(right, rel=bound, abs=1e-6, nan_ok=True), field


@pytest.mark.parametrize("name", SAME_UPDATES)
def test_the_weights_move_as_our_own_do(trained: Trained, ours: dict[str, Run], name: str) -> None:
    start = load_policy(str(lab_folder("lab-v1"))).model.state_dict()
    saved = latest(trained.folders / name / "checkpoints")
    assert saved is not None
    assert saved.step == STEPS
    theirs = load_policy(str(saved.folder)).model.state_dict()
    mine = ours[name].policy.model.state_dict()
    a = torch.cat([(mine[k] - start[k]).flatten() for k in start])
    b = torch.cat([(theirs[k] - start[k]).flatten() for k in start])
    assert float(torch.nn.functional.cosine_similarity(a, b, dim=0)) > 0.999


def start_cli(folder: Path, recipe: Path, *more: str) -> list[str]:
    tersely = str(Path(sys.executable).parent / "tersely")
    return [tersely, "launch", "trl", str(recipe), "--out", str(folder), *more]


def workers_of(folder: Path) -> list[int]:
    """The processes that work on this run folder, their torchrun included."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            if {"tersely.flows.trl.worker", str(folder)} <= set(words):
                found.append(int(entry.name))
    return found


def wait_until(condition: Callable[[], bool], *, seconds: float) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds
        time.sleep(0.02)


def test_killed_and_resumed_in_two_processes_it_is_the_run_that_was_never_killed(
    tmp_path: Path,
) -> None:
    recipe = tmp_path / "recipe.toml"
    settings = recipe_of("masked").model_dump(exclude_none=True)
    settings["learner"]["steps"], settings["checkpoint"]["every_steps"] = 6, 2
    settings["sampling"]["prompts_per_step"] = 4
    recipe.write_text(as_toml(check_recipe(settings)))
    said = run(start_cli(tmp_path / "whole", recipe, "--processes", "2"))
    assert "step 6/6" in said
    killed = tmp_path / "killed"
    command = start_cli(killed, recipe, "--processes", "2")
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        steps = killed / "steps.jsonl"
        wait_until(lambda: steps.is_file() and steps.read_bytes().count(b"\n") >= 3, seconds=600)
        assert len(workers_of(killed)) == 3
        process.kill()
    # Nobody goes on writing into the folder of a dead run.
    wait_until(lambda: not workers_of(killed), seconds=60)
    saved = latest(killed / "checkpoints")
    assert saved is not None
    assert saved.step in (2, 4)
    run(start_cli(killed, recipe, "--processes", "2", "--resume"))
    for name in ("steps.jsonl", "rollouts/step-000005.jsonl.zst"):
        assert (killed / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    ends = [
        (tmp_path / name / "eval" / "step-000006.jsonl").read_text().replace(name, "")
        for name in ("whole", "killed")
    ]
    assert ends[0] == ends[1]
    assert (killed / "report.html").is_file()


def test_a_failing_process_ends_the_run_with_its_reason_and_what_to_do(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(as_toml(recipe_of("plain")))
    # The worker's own setting is wrong in a way that only GRPOConfig knows.
    bad = ("--processes", "2", "--set", "trl.report_to='nowhere'")
    said = run(start_cli(tmp_path / "run", recipe, *bad), code=1)
    assert "TRL stopped with exit code 1" in said
    assert "no checkpoint was written: go on with --resume" in said


def test_a_prompt_that_leaves_no_room_is_bad_input_as_it_is_for_train(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(as_toml(recipe_of("plain")))
    for key, setting in (
        ("sampling.cap_tokens", "sampling.cap_tokens=100000"),
        ("evaluation.budgets", "evaluation.budgets=[100000]"),
    ):
        said = run(start_cli(tmp_path / "run", recipe, "--set", setting), code=2)
        assert f"error: {key}: " in said
        assert "positions" in said
    assert not (tmp_path / "run").exists()


def test_a_dry_run_checks_all_and_writes_nothing(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(as_toml(recipe_of("plain")))
    said = run([*start_cli(tmp_path / "run", recipe), "--processes", "2", "--dry-run"])
    assert "tersely.flows.trl.worker" in said
    said = run(
        start_cli(tmp_path / "run", recipe, "--dry-run", "--set", "trl.learnin_rate=1"), code=2
    )
    assert "did you mean learning_rate?" in said
    assert not (tmp_path / "run").exists()
