"""What verl's own parts make of a run folder of ours: its schema, data set and reward loop; and a
launch, from its files to its report.

Runs where verl is installed. Its main process, which wants a GPU, is played by a script that
writes what it would.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("verl", reason="verl's pins conflict with ours; runs beside 0.9.1")

import torch

from tersely.core import jsonl
from tersely.core.errors import ConfigError, EngineError
from tersely.core.types import Finish, Message, StepRecord
from tersely.engines.models import lab_folder, load_settings, load_tokenizer
from tersely.flows.observer import QUIET
from tersely.flows.recipe.problems import load_problems
from tersely.flows.recipe.recipe import Recipe, read_recipe, shipped
from tersely.flows.train.session import begin
from tersely.flows.train.step import all_steps_problems
from tersely.flows.verl import cluster, process
from tersely.flows.verl import hooks as verl_hooks
from tersely.flows.verl import launch as launch_verl
from tersely.flows.verl.cluster import Cluster
from tersely.flows.verl.estimator import GradedLine
from tersely.flows.verl.launch import plan_verl, write_inputs
from tersely.flows.verl.schema import compose_config
from tersely.flows.verl.settings import HOOKS, RUN
from tersely.report.pages.run import write_report

TINY = Path(__file__).parents[1] / "tiny.toml"
CAP = 48


def tiny(*overrides: str) -> Recipe:
    plain = ["learner.staleness=1", "loss.importance_cap=2.0"]
    return read_recipe(TINY, overrides=[*plain, *overrides])


COMPOSED = {
    "tiny": (TINY, ["loss.importance_cap=2.0", "learner.staleness=2"], 1, 1),
    "distill": (shipped("r1-distill-1.5b"), [], 1, 8),
    "mixture": (shipped("qwen3-30b-a3b-thinking"), ["verl.model_engine=megatron"], 4, 8),
    "fsdp2": (
        shipped("qwen3-8b"),
        [
            "verl.actor_rollout_ref.actor.strategy=fsdp2",
            "verl.actor_rollout_ref.rollout.name=sglang",
            "verl.actor_rollout_ref.rollout.tensor_model_parallel_size=2",
        ],
        2,
        8,
    ),
    "one step off": (
        TINY,
        ["loss.importance_cap=2.0", "verl.trainer.v1.trainer_mode=colocate_async"],
        1,
        1,
    ),
    "asynchronous": (
        TINY,
        [
            "learner.staleness=2",
            "loss.importance_cap=2.0",
            "verl.trainer.v1.trainer_mode=separate_async",
            "verl.actor_rollout_ref.rollout.nnodes=1",
            "verl.actor_rollout_ref.rollout.n_gpus_per_node=1",
            "verl.actor_rollout_ref.rollout.checkpoint_engine.backend=nccl",
        ],
        1,
        1,
    ),
    # Fields of verl's dataclasses that its YAML leaves out, beside one that it has.
    "left out": (
        TINY,
        [
            "loss.importance_cap=2.0",
            "verl.actor_rollout_ref.actor.fsdp_config.mixed_precision.param_dtype=fp32",
            "verl.actor_rollout_ref.rollout.enable_sleep_mode=false",
            "verl.critic.optim.lr_scheduler_type=constant",
        ],
        1,
        1,
    ),
    "refilled": (TINY, ["loss.importance_cap=2.0", "sampling.without_signal='refill'"], 1, 1),
}


@pytest.mark.parametrize("name", COMPOSED)
def test_verl_composes_and_validates_what_a_recipe_means(name: str, tmp_path: Path) -> None:
    file, overrides, nodes, gpus = COMPOSED[name]
    recipe = read_recipe(file, overrides=overrides)
    lines = plan_verl(recipe, tmp_path, nodes=nodes, gpus_per_node=gpus)
    config = compose_config(lines)
    assert config.algorithm.adv_estimator == "tersely"
    assert config.algorithm.filter_groups.metric == "acc"
    assert config.actor_rollout_ref.rollout.n == recipe.sampling.samples_per_prompt
    assert config.ray_kwargs.ray_init.runtime_env.env_vars[RUN] == str(tmp_path)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("verl.actor_rollout_ref.rollout.tensor_parallel_size=2", "is no setting.*did you mean"),
        ("verl.model_engine=horovod", "cannot compose"),
        ("verl.actor_rollout_ref.actor.use_dynamic_bsz=false", "verl refuses its configuration"),
    ],
)
def test_what_verl_does_not_know_is_refused(setting: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_verl(tiny(setting), tmp_path, nodes=1, gpus_per_node=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run folder of the tiny recipe with all that verl reads, which this process is told of."""
    recipe = tiny()
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    write_inputs(begin(recipe, folder, resume=False), nodes=1, gpus_per_node=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(RUN, str(folder))
        verl_hooks.run_folder.cache_clear()
        verl_hooks.recipe_of_run.cache_clear()
        yield folder


def config_of(run: Path) -> Any:
    return compose_config(plan_verl(tiny(), run, nodes=1, gpus_per_node=1))


def data_set(run: Path, name: str) -> Any:
    from verl.utils.dataset.rl_dataset import RLHFDataset

    file = str(run / "verl" / f"{name}.parquet")
    return RLHFDataset(file, load_tokenizer("lab-v1"), config_of(run).data)


def test_verl_s_data_set_reads_every_step_s_prompts_in_our_order(run: Path) -> None:
    recipe = tiny()
    wanted = all_steps_problems(recipe, load_problems(recipe)[0])
    rows = data_set(run, "train")
    assert len(rows) == 20
    assert [rows[place]["extra_info"]["id"] for place in range(20)] == [p.id for p in wanted]
    assert rows[0]["raw_prompt"] == [{"role": "user", "content": wanted[0].prompt}]
    assert data_set(run, "test")[0]["extra_info"]["split"] == "test"


def reward_input(row: dict[str, Any], ids: Sequence[int], *, session: int, uid: str) -> Any:
    """One rollout as verl's agent loop hands it to its reward loop."""
    from tensordict import TensorDict
    from verl import DataProto

    prompt, response = torch.tensor([[5, 6]]), torch.tensor([list(ids)])
    batch = TensorDict(
        {
            "prompts": prompt,
            "responses": response,
            "attention_mask": torch.ones(1, 2 + len(ids), dtype=torch.int64),
        },
        batch_size=1,
    )
    told = {**row, "uid": uid, "session_id": session, "global_steps": 1}
    del told["dummy_tensor"]
    columns = {name: np.array([value]) for name, value in told.items()}
    return DataProto(batch=batch, non_tensor_batch=columns)


def test_verl_s_reward_loop_grades_by_our_grader_and_writes_it_down(run: Path) -> None:
    from verl.experimental.reward_loop.reward_loop import RewardLoopWorker
    from verl.trainer.ppo.reward import resolve_reward_manager_cls

    config = config_of(run)
    assert resolve_reward_manager_cls(config) is verl_hooks.RecipeReward
    worker = RewardLoopWorker(config)
    row, tokenizer = data_set(run, "train")[0], load_tokenizer("lab-v1")
    answer = row["reward_model"]["ground_truth"]
    stop = tokenizer.eos_token_id
    right = [*tokenizer.encode(f"</think>{answer}", add_special_tokens=False), stop]
    cut = (right[:-1] * CAP)[:CAP]
    results = [
        asyncio.run(worker.compute_score(reward_input(row, ids, session=place, uid="u")))
        for place, ids in enumerate((right, cut))
    ]
    assert [result["reward_extra_info"]["acc"] for result in results] == [1.0, 0.0]
    assert [result["reward_score"] >= 1 for result in results] == [True, False]
    (file,) = (run / "verl" / "graded").glob("*.jsonl")
    lines = jsonl.read(file, GradedLine)
    assert [(line.sample, line.tokens, line.finish) for line in lines] == [
        (0, len(right), Finish.STOP),
        (1, CAP, Finish.LENGTH),
    ]
    assert {(line.problem, line.uid, line.step, line.split) for line in lines} == {
        (row["extra_info"]["id"], "u", 1, "train")
    }


def test_a_process_of_verl_s_that_only_imports_it_knows_the_estimator(run: Path) -> None:
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "from verl.trainer.ppo.core_algos import get_adv_estimator_fn\n"
            "print(get_adv_estimator_fn('tersely'))",
        ],
        env={**os.environ, "VERL_USE_EXTERNAL_MODULES": HOOKS, RUN: str(run)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "tersely" in told.stdout, told.stderr


def test_stop_tokens_are_the_model_s(run: Path) -> None:
    tokenizer = load_tokenizer("lab-v1")
    grader = verl_hooks.make_rollout_grader(tiny(), tokenizer)
    listed = load_settings("lab-v1").generation_config.eos_token_id
    assert grader.stop_ids >= {tokenizer.eos_token_id}
    assert set(np.atleast_1d(listed)) <= grader.stop_ids
    assert lab_folder("lab-v1").is_dir()


# Writes what verl's processes would: three steps from the files that verl reads, the last of them
# after a validation, and dies in the first start before the step of DIES is logged.
PLAYED = """
import json, os, sys
from pathlib import Path
import polars as pl
run, attempt = Path(os.environ["TERSELY_RUN"]), os.environ["TERSELY_ATTEMPT"]
DIES = int(os.environ["DIES"])
checkpoint = run / "checkpoints" / "latest_checkpointed_iteration.txt"
done = int(checkpoint.read_text()) if checkpoint.is_file() else 0
rows = pl.read_parquet(run / "verl" / "train.parquet").to_dicts()
def write(kind, line):
    file = run / "verl" / kind / f"{attempt}-me.jsonl"
    file.parent.mkdir(exist_ok=True)
    with file.open("a") as out:
        out.write(json.dumps({"schema": 1, **line}) + chr(10))
def graded(row, step, uid, sample, right):
    write("graded", {"step": step, "split": row["extra_info"]["split"], "uid": uid,
        "sample": sample, "problem": row["extra_info"]["id"], "grade": right, "extracted": "1",
        "tokens": 30 - 5 * step + (attempt == "000" and step == DIES), "finish": "stop",
        "text": "1"})
def validate(step):
    for row in pl.read_parquet(run / "verl" / "test.parquet").to_dicts():
        for sample in range(2):
            graded(row, step, f"t{step}{row['extra_info']['id']}", sample, "correct")
if not done:
    validate(0)
for step in range(done + 1, 4):
    for row in rows[4 * step - 4 : 4 * step]:
        for sample in range(4):
            graded(row, step, f"{attempt}-{step}-{row['extra_info']['id']}", sample,
                   "correct" if sample else "wrong")
    dies = step == DIES and attempt == "000"
    write("judged", {"uids": [f"{attempt}-{step}-{row['extra_info']['id']}"
        for row in rows[4 * step - 4 : 4 * step] for _ in range(4)]})
    if dies:
        sys.exit(7)
    if step == 3:
        validate(3)
    with open(os.environ["VERL_FILE_LOGGER_PATH"], "a") as log:
        log.write(json.dumps({"step": step, "data": {"training/global_step": step,
            "actor/grad_norm": 0.5}}) + chr(10))
    (checkpoint.parent / f"global_step_{step}").mkdir(parents=True, exist_ok=True)
    checkpoint.write_text(str(step))
"""


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "find_cluster", lambda: Cluster((1,), 1, 16))
    monkeypatch.setattr(process, "command", lambda lines: [sys.executable, "-c", PLAYED])


def launched(folder: Path, *, resume: bool) -> None:
    recipe = tiny("learner.steps=3", "evaluation.every_steps=3", "checkpoint.every_steps=1")
    launch_verl.launch_verl(
        recipe, folder, nodes=1, gpus_per_node=1, resume=resume, stall_s=60.0, observer=QUIET
    )


def test_a_template_that_leaves_a_message_out_as_verl_uses_it_is_refused(
    tmp_path: Path, played: None
) -> None:
    training, _ = load_problems(tiny())
    said, file = (Message(role="system", content="3+4="),), tmp_path / "train.jsonl"
    jsonl.write(file, [replace(problem, earlier=said) for problem in training])
    model = shutil.copytree(lab_folder("lab-v1"), tmp_path / "model")
    (model / "chat_template.jinja").write_text(
        "{% for m in messages %}{% if m['role'] == 'user' or not brief %}<user>{{ m['content'] }}"
        "{% endif %}{% endfor %}<assistant>"
    )
    settings = (f"problems.train={file}", f"model.path={model}")
    longest = max(map(len, begin(tiny(*settings), tmp_path / "run").prompts))
    brief = tiny(*settings, "verl.data.apply_chat_template_kwargs.brief=true")
    with pytest.raises(ConfigError, match=r"role 'system' before .*leaves out"):
        launch_verl.launch_verl(
            brief, tmp_path / "run", nodes=1, gpus_per_node=1, stall_s=60.0, observer=QUIET
        )
    assert not (tmp_path / "run").exists()
    # Prompts are as long as verl's own template makes them.
    own = "{% for m in messages %}<user><user>{{ m['content'] }}{% endfor %}<assistant>"
    session = begin(tiny(*settings), tmp_path / "run", template={"chat_template": own})
    assert max(map(len, session.prompts)) == longest + 2


@pytest.mark.parametrize("dies", [1, 2])
def test_a_launch_that_dies_goes_on_and_ends_in_a_report(
    tmp_path: Path, played: None, monkeypatch: pytest.MonkeyPatch, dies: int
) -> None:
    folder = tmp_path / "run"
    monkeypatch.setenv("DIES", str(dies))
    said = rf"exit code 7.*step {dies - 1} is the last checkpoint.*--resume"
    with pytest.raises(EngineError, match=said):
        launched(folder, resume=False)
    steps = folder / "steps.jsonl"
    assert steps.is_file() == (dies == 2)
    with pytest.raises(ConfigError, match="continue it with --resume"):
        launched(folder, resume=False)
    launched(folder, resume=True)
    records = jsonl.read(steps, StepRecord)
    # L_T = 20: of 25, 20 and 15 tokens the last two are short enough; three of four are right.
    assert [(r.step, r.rollouts, r.tokens_mean) for r in records] == [
        (0, 16, 25),
        (1, 16, 20),
        (2, 16, 15),
    ]
    assert [r.reward_mean for r in records] == [0, 0.75, 0.75]
    assert {r.accuracy for r in records} == {0.75}
    assert write_report(folder).page.is_file()
    overrides = json.loads((folder / "verl" / "overrides.json").read_text())
    assert "algorithm.adv_estimator=tersely" in overrides


def test_records_are_never_dropped_for_a_checkpoint_that_was_made_and_is_gone(
    tmp_path: Path, played: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    monkeypatch.setenv("DIES", "3")
    with pytest.raises(EngineError, match="step 2 is the last checkpoint"):
        launched(folder, resume=False)
    kept = (folder / "steps.jsonl").read_bytes()
    assert kept.count(b"\n") == 2
    note = folder / "checkpoints" / "latest_checkpointed_iteration.txt"
    note.write_text("7")
    with pytest.raises(ConfigError, match=r"names step 7, and there is no .*global_step_7"):
        launched(folder, resume=True)
    note.unlink()
    with pytest.raises(ConfigError, match=r"checkpoint of step 1 is missing .*restore it or start"):
        launched(folder, resume=True)
    assert (folder / "steps.jsonl").read_bytes() == kept


def test_steps_that_a_killed_launch_did_not_record_are_recorded_when_it_goes_on(
    tmp_path: Path, played: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    monkeypatch.setenv("DIES", "3")
    with pytest.raises(EngineError, match="step 2 is the last checkpoint"):
        launched(folder, resume=False)
    lost = [folder / "steps.jsonl", folder / "rollouts" / "step-000001.jsonl.zst"]
    kept = [file.read_bytes() for file in lost]
    # As a launch leaves it that was killed in the second step, while verl saved and logged it.
    lost[0].write_bytes(kept[0].splitlines(keepends=True)[0])
    lost[1].unlink()
    shutil.rmtree(folder / "eval")
    launched(folder, resume=True)
    assert lost[0].read_bytes().startswith(kept[0])
    assert [r.step for r in jsonl.read(lost[0], StepRecord)] == [0, 1, 2]
    assert lost[1].read_bytes() == kept[1]
    assert sorted(file.name for file in (folder / "eval").iterdir()) == [
        "step-000000.jsonl",
        "step-000003.jsonl",
    ]


def test_verl_ends_with_its_launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(process, "POLL_S", 0.5)
    monkeypatch.setattr(process, "GRACE_S", 2.0)
    # One that goes on at Ctrl-C is killed.
    stubborn = "import signal, time; signal.signal(signal.SIGINT, lambda *_: None); time.sleep(60)"
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def noted(*arguments: Any, **settings: Any) -> Any:
        started.append(popen([sys.executable, "-c", stubborn], start_new_session=True))
        return started[-1]

    monkeypatch.setattr(process.subprocess, "Popen", noted)
    (tmp_path / "verl").mkdir()
    with pytest.raises(KeyboardInterrupt):
        launch_verl._run([], tmp_path, interrupted, attempt="000", stall_s=60.0)
    assert started[0].poll() is not None


def test_a_cut_off_note_of_a_checkpoint_is_refused(tmp_path: Path) -> None:
    assert launch_verl.last_checkpoint(tmp_path) == 0
    note = tmp_path / "checkpoints" / "latest_checkpointed_iteration.txt"
    note.parent.mkdir()
    note.write_text("")
    with pytest.raises(ConfigError, match="which is no step"):
        launch_verl.last_checkpoint(tmp_path)


def test_a_machine_without_gpus_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ConfigError, match="exceeds the 0 GPUs of this machine; start Ray"):
        cluster.check_gpus(nodes=1, gpus_per_node=8)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    cluster.check_gpus(nodes=1, gpus_per_node=8)
    with pytest.raises(ConfigError, match="--nodes 4 needs a Ray cluster"):
        cluster.check_gpus(nodes=4, gpus_per_node=8)
