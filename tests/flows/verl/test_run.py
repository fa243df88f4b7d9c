"""verl, whole, from the command line to the report, on a CPU: `make test-verl`.

A Ray of its own lends GPUs that are only numbers, and `cpu_platform` stands in for the device and
for vLLM. All else is verl's: validation, generation, reward workers, TransferQueue, FSDP2, weight
synchronization, checkpoints, resuming, merging. Each run is then taken again by our own loop on the
very rollouts that verl sampled.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("verl", reason="verl's pins conflict with ours; runs beside 0.9.1")

import torch

from tersely.core import jsonl
from tersely.core.types import (
    EvalRecord,
    Finish,
    Problem,
    Rollout,
    RolloutRecord,
    SamplingSpec,
    StepRecord,
)
from tersely.engines.learning import learner
from tersely.engines.local.jobs import rendered
from tersely.engines.models import lab_folder, load_policy
from tersely.flows.observer import QUIET
from tersely.flows.recipe.recipe import as_toml, read_recipe
from tersely.flows.train import loop
from tersely.flows.train.session import begin, open_folder
from tersely.flows.train.step import Run, take_step

HERE = Path(__file__).parent
# The launches, the workers of each, and what they are beside `tiny.toml`.
RECIPES = {
    "quantile": (1, ()),
    # Two updates of each batch: verl deals the rows out by length, so each update holds part of
    # every group, and only an aggregation that counts rows weighs them as our loop does.
    "kimi": (
        2,
        (
            "reward={name='kimi'}",
            "target={name='fixed',tokens=20}",
            "learner.staleness=2",
            "loss.aggregation='sequence_mean'",
        ),
    ),
    # With rows enough that every step has a signal: without one our loop leaves the weights as they
    # are, and verl's optimizer moves them on by what it remembers.
    "table": (
        1,
        (
            "sampling.prompts_per_step=8",
            "learner.learning_rate=2e-4",
            "target={name='fixed',tokens=32}",
            "treatment.cells='no-long-correct'",
            "treatment.mask_scope='loss-only'",
        ),
    ),
}
STEPS = {"quantile": 4, "kimi": 3, "table": 3}
LIMIT_S = 600


class Launches(NamedTuple):
    """Run folders by recipe, what each launch wrote to stderr, and the merged model's folder."""

    folders: Path
    said: dict[str, list[str]]
    merged: Path


class Cluster(NamedTuple):
    """The environment in which a launch finds Ray and its platform."""

    environment: dict[str, str]


@contextlib.contextmanager
def ray_cluster() -> Iterator[Cluster]:
    """A Ray of this test's own, ended by its own process."""
    # Its sockets' names are bounded, and pytest's folders are long.
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {
        **os.environ,
        "PYTHONPATH": path,
        "OMP_NUM_THREADS": "1",
        "VERL_PLATFORM": "cpu",
        "VERL_ENGINE_DEVICE": "cuda",
        "VERL_USE_EXTERNAL_MODULES": "cpu_platform",
        "RAY_AUTH_MODE": "disabled",
        # 15 otherwise: beside other work the workers would starve.
        "RAY_worker_niceness": "0",
        "RAY_ADDRESS": f"127.0.0.1:{port}",
    }
    own = {key: value for key, value in environment.items() if key != "RAY_ADDRESS"}
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    command += [f"--port={port}", f"--temp-dir={folder}", "--num-gpus=4", "--num-cpus=40"]
    command += ["--include-dashboard=false", "--disable-usage-stats"]
    with subprocess.Popen(command, env=own, stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: answers(port), seconds=120)
            wait_until(lambda: has_joined(environment), seconds=120)
            yield Cluster(environment)
        finally:
            process.terminate()
            process.wait(timeout=60)
            shutil.rmtree(folder, ignore_errors=True)


def has_joined(environment: Mapping[str, str]) -> bool:
    """Whether Ray lends its GPUs: its machine joins after its port answers."""
    code = "import ray; ray.init(log_to_driver=False); assert ray.cluster_resources()['GPU'] == 4"
    asked = [sys.executable, "-c", code]
    return not subprocess.run(asked, env=environment, capture_output=True, check=False).returncode


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def wait_until(condition: Callable[[], bool], *, seconds: float = LIMIT_S) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds
        time.sleep(0.1)


def pids_of(folder: Path, *, named: str = "") -> list[int]:
    """verl's processes that work for this run, those of Ray's too."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "environ").read_bytes().split(b"\0")
                title = (entry / "cmdline").read_bytes().decode()
                if f"TERSELY_RUN={folder}".encode() in words and named in title and title:
                    found.append(int(entry.name))
    return found


def steps_logged(folder: Path) -> int:
    """By verl itself, in all starts: the next step has just begun, and its checkpoint is far."""
    files = folder.glob("verl/metrics-*.jsonl")
    return sum(file.read_bytes().count(b"training/global_step") for file in files)


class Launcher(NamedTuple):
    """Starts `tersely launch verl` for one recipe as a user would."""

    cluster: Cluster
    folders: Path
    name: str

    @property
    def folder(self) -> Path:
        return self.folders / self.name

    @property
    def command(self) -> list[str]:
        workers, _ = RECIPES[self.name]
        recipe = self.folders / f"{self.name}.toml"
        return [
            *(sys.executable, "-m", "tersely", "launch", "verl", str(recipe)),
            *("--gpus-per-node", str(workers), "--out", str(self.folder), "--stall-s", "600"),
        ]

    def write(self) -> None:
        _, overrides = RECIPES[self.name]
        steps = (f"learner.steps={STEPS[self.name]}", f"evaluation.every_steps={STEPS[self.name]}")
        recipe = read_recipe(HERE / "tiny.toml", overrides=[*overrides, *steps])
        (self.folders / f"{self.name}.toml").write_text(as_toml(recipe))

    def run(self, *more: str, code: int = 0) -> str:
        done = subprocess.run(
            [*self.command, *more],
            env=self.cluster.environment,
            text=True,
            capture_output=True,
            check=False,
            timeout=LIMIT_S,
        )
        assert done.returncode == code, done.stderr[-6000:]
        return done.stderr

    def run_until(self, after_steps: int, kill: Callable[[int], None]) -> tuple[int, str]:
        """Kills something once verl has logged so many steps; the exit code and stderr."""
        more = ["--resume"] if self.folder.exists() else []
        with (
            tempfile.TemporaryFile() as said,
            subprocess.Popen(
                [*self.command, *more], env=self.cluster.environment, stderr=said
            ) as process,
        ):
            try:
                wait_until(
                    lambda: steps_logged(self.folder) >= after_steps or process.poll() is not None
                )
                kill(process.pid)
                code = process.wait(timeout=LIMIT_S)
            finally:
                # Whatever failed: it is not waited for without end.
                process.kill()
            said.seek(0)
            return code, said.read().decode(errors="replace")


def kill_a_worker(folder: Path) -> None:
    (worker,) = pids_of(folder, named="WorkerDict")
    os.kill(worker, signal.SIGKILL)


def run_killed_twice(launcher: Launcher) -> list[str]:
    """A worker is killed in the second step, the launch itself in a later one; then to the end."""
    launcher.write()
    folder = launcher.folder
    code, first = launcher.run_until(1, lambda _: kill_a_worker(folder))
    assert code == 1, first[-6000:]
    code, second = launcher.run_until(2, lambda pid: os.kill(pid, signal.SIGKILL))
    assert code == -signal.SIGKILL, second[-6000:]
    # Nobody goes on writing into the folder of a dead launch.
    wait_until(lambda: not pids_of(folder), seconds=120)
    return [first, second, launcher.run("--resume")]


def run_plainly(launcher: Launcher) -> list[str]:
    launcher.write()
    return [launcher.run()]


@pytest.fixture(scope="module")
def launches(tmp_path_factory: pytest.TempPathFactory) -> Launches:
    """All runs, two at a time: most of a start is imports, one process after the other.

    Each on a Ray of its own: verl's queue is one for all of a Ray.
    """
    folders = tmp_path_factory.mktemp("verl")

    def chain(names: Sequence[str]) -> dict[str, list[str]]:
        with ray_cluster() as cluster:
            of = {name: Launcher(cluster, folders, name) for name in names}
            return {
                name: run_killed_twice(of[name]) if name == "quantile" else run_plainly(of[name])
                for name in names
            }

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(chain, (["quantile"], ["kimi", "table"]))
    said = first | second
    merged = folders / "merged"
    run_module("verl.model_merger", "merge", "--backend", "fsdp", "--local_dir",
               str(last(folders / "quantile")), "--target_dir", str(merged))  # fmt: skip
    return Launches(folders, said, merged)


def run_module(name: str, *arguments: str) -> str:
    plain = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", name, *arguments],
        env=plain,
        text=True,
        capture_output=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def last(folder: Path) -> Path:
    """The learner's newest checkpoint."""
    inside = folder / "checkpoints"
    newest = (inside / "latest_checkpointed_iteration.txt").read_text().strip()
    return inside / f"global_step_{newest}" / "actor"


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    """The weights in verl's newest checkpoint, its workers' parts put together."""
    parts = [
        torch.load(file, weights_only=False)
        for file in sorted(last(folder).glob("model_world_size_*.pt"))
    ]
    whole = {}
    for name, first in parts[0].items():
        own = [getattr(part[name], "_local_tensor", part[name]) for part in parts]
        whole[name] = torch.cat(own)[: first.shape[0]] if hasattr(first, "_local_tensor") else first
    return whole


def batches(folder: Path, step: int) -> list[dict[str, Any]]:
    """What each worker's learner was given in a step, for the step's last attempt."""
    found = sorted((folder / "verl" / "batches").glob(f"*-{step}-*.json"))
    return [json.loads(file.read_text()) for file in found]


class Replay:
    """Samples what verl sampled, with the log-probs that the policy gives it now."""

    def __init__(self, folder: Path, policy: Any) -> None:
        self._folder, self._policy = folder, policy

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
        prompts = {each.id: rendered(self._policy.tokenizer, each) for each in problems}
        for record in rollouts(self._folder, spec.policy_step):
            made[record.problem].append(self._rollout(record, prompts[record.problem], spec))
        return list(made.values())

    def _rollout(self, record: RolloutRecord, prompt: list[int], spec: SamplingSpec) -> Rollout:
        model, tokenizer = self._policy
        ids = tokenizer.encode(record.text, add_special_tokens=False)
        ids += [tokenizer.eos_token_id] * (record.finish is Finish.STOP)
        assert len(ids) == record.tokens
        row = torch.tensor([[*prompt, *ids]])
        with torch.no_grad():
            logits_TV = model(input_ids=row).logits[0, len(prompt) - 1 : -1] / spec.temperature
        logp_TV = logits_TV.log_softmax(dim=1)
        return Rollout(
            problem_id=record.problem,
            sample=record.sample,
            prompt_ids=tuple(prompt),
            completion_ids=tuple(ids),
            logprobs=logp_TV.gather(1, row[0, len(prompt) :, None])[:, 0].numpy(),
            entropy=float(-(logp_TV.exp() * logp_TV).sum(dim=1).mean()),
            finish=record.finish,
            policy_step=spec.policy_step,
            text=record.text,
        )


def as_verl_cuts(folder: Path, step: int) -> Callable[..., list[list[Any]]]:
    """In place of ``split_by_group``: the updates that verl's workers made of the rows."""

    def split(rows: Sequence[Any], *, parts: int) -> list[list[Any]]:
        left, updates = list(rows), [[] for _ in range(parts)]
        for batch in batches(folder, step):
            of_worker = batch["responses"]
            for place, ids in enumerate(of_worker):
                found = [n for n, row in enumerate(left) if list(row.completion_ids) == ids]
                if found:  # else masked
                    updates[place * parts // len(of_worker)].append(left.pop(found[0]))
        assert not left
        return updates

    return split


@pytest.fixture(scope="module")
def ours(launches: Launches, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Our own loop's runs of the same recipes on the same rollouts."""
    torch.set_num_threads(1)
    runs = {}
    for name in RECIPES:
        folder, theirs = tmp_path_factory.mktemp("ours") / name, launches.folders / name
        session = begin(read_recipe(theirs / "recipe.toml"), folder, resume=False)
        run = loop.load_run(session, observer=QUIET)
        open_folder(session)
        run = run._replace(sampler=Replay(theirs, run.policy))
        state: Any = {}
        for step in range(STEPS[name]):
            with pytest.MonkeyPatch.context() as cut:
                if name == "kimi":
                    cut.setattr(learner, "split_by_group", as_verl_cuts(theirs, step))
                state = take_step(run, step, state).state
        runs[name] = run
    return runs


def rollouts(folder: Path, step: int) -> list[RolloutRecord]:
    return list(jsonl.read(folder / "rollouts" / f"step-{step:06d}.jsonl.zst", RolloutRecord))


def key(record: RolloutRecord) -> tuple[str, int]:
    return record.problem, record.sample


def test_a_worker_that_is_killed_ends_the_launch_with_one_line_and_the_run_goes_on(
    launches: Launches,
) -> None:
    first, _, third = launches.said["quantile"]
    (line,) = [line for line in first.splitlines() if line.startswith("error: ")]
    assert "verl stopped with exit code 1: a process of verl's died" in line
    assert line.endswith("is the last checkpoint: go on with --resume")
    assert first.splitlines()[-1] == line
    assert "step 4/4" in third
    assert (launches.folders / "quantile" / "report.html").is_file()


@pytest.mark.parametrize("name", RECIPES)
def test_a_run_leaves_what_ours_leaves(launches: Launches, name: str) -> None:
    folder = launches.folders / name
    for step in (0, STEPS[name]):
        records = list(jsonl.read(folder / "eval" / f"step-{step:06d}.jsonl", EvalRecord))
        assert len(records) == 8 * 2
    assert [r.step for r in jsonl.read(folder / "steps.jsonl", StepRecord)] == [*range(STEPS[name])]
    assert (folder / "report.html").is_file()
    assert f"step {STEPS[name]}/{STEPS[name]}" in launches.said[name][-1]


@pytest.mark.parametrize("name", RECIPES)
def test_rewards_masks_and_advantages_are_those_of_our_own_loop_on_the_same_rollouts(
    launches: Launches, ours: dict[str, Run], name: str
) -> None:
    masked = 0
    for step in range(STEPS[name]):
        here, there = (
            sorted(rollouts(folder, step), key=key)
            for folder in (ours[name].folder, launches.folders / name)
        )
        sampling = ours[name].recipe.sampling
        assert len(here) == sampling.prompts_per_step * sampling.samples_per_prompt
        assert len(there) == len(here)
        for a, b in zip(here, there, strict=True):
            assert key(a) == key(b)
            assert (a.grade, a.finish, a.tokens, a.kept) == (b.grade, b.finish, b.tokens, b.kept)
            assert (a.reward, a.advantage) == (b.reward, b.advantage)
            masked += not a.kept
    assert (masked > 0) == (name == "table")


@pytest.mark.parametrize("name", ["kimi", "table"])
def test_verl_s_learners_are_given_these_advantages(launches: Launches, name: str) -> None:
    """What came through TransferQueue to the workers, by a second, naive weighing."""
    for step in range(STEPS[name]):
        records = rollouts(launches.folders / name, step)
        kept = [r for r in records if r.kept]
        updates, by_row = (2, True) if name == "kimi" else (1, False)
        denominator = len(kept) if by_row else sum(r.tokens for r in kept)
        wanted = sorted(
            (r.tokens, r.kept * r.advantage * updates / denominator / (r.tokens if by_row else 1))
            for r in records
        )
        found = sorted(
            (len(ids), adv_T[0])
            for batch in batches(launches.folders / name, step)
            for ids, adv_T in zip(batch["responses"], batch["advantages"], strict=True)
        )
        assert [tokens for tokens, _ in found] == [tokens for tokens, _ in wanted]
        assert [adv for _, adv in found] == pytest.approx([adv for _, adv in wanted], abs=1e-7)


@pytest.mark.parametrize("name", RECIPES)
def test_loss_and_gradient_are_those_of_our_own_learner(
    launches: Launches, ours: dict[str, Run], name: str
) -> None:
    here, there = (
        list(jsonl.read(folder / "steps.jsonl", StepRecord))
        for folder in (ours[name].folder, launches.folders / name)
    )
    for a, b in zip(here, there, strict=True):
        assert b.loss == pytest.approx(a.loss, rel=1e-5, abs=1e-5)
        assert b.grad_norm == pytest.approx(a.grad_norm, rel=1e-5, abs=1e-5)
        assert b.entropy_mean == pytest.approx(a.entropy_mean, rel=1e-4)
    fields = ("accuracy", "tokens_mean", "target_tokens", "zero_signal_share", "update_tokens")
    for field in (*fields, "reward_mean", "positive_share", "truncated_share"):
        left, right = ([getattr(r, field) for r in side] for side in (here, there))
        assert left == pytest.approx(right, nan_ok=True), field


@pytest.mark.parametrize("name", RECIPES)
def test_the_weights_move_as_our_own_do(
    launches: Launches, ours: dict[str, Run], name: str
) -> None:
    start = load_policy(str(lab_folder("lab-v1"))).model.state_dict()
    mine, theirs = ours[name].policy.model.state_dict(), weights_of(launches.folders / name)
    shared = sorted(start.keys() & theirs.keys())
    assert len(shared) >= len(start) - 1  # a tied head is saved once
    a = torch.cat([(mine[k] - start[k]).flatten() for k in shared])
    b = torch.cat([(theirs[k].float() - start[k]).flatten() for k in shared])
    assert float(a.norm()) > 0.1
    assert float(torch.nn.functional.cosine_similarity(a, b, dim=0)) >= 0.9999


def test_the_merged_model_is_the_checkpoint_s_and_is_evaluated(
    launches: Launches, tmp_path: Path
) -> None:
    merged = load_policy(str(launches.merged)).model.state_dict()
    for name, weight in weights_of(launches.folders / "quantile").items():
        # verl merges into bfloat16.
        torch.testing.assert_close(merged[name], weight.bfloat16().float())
    run_module(
        "tersely", "eval", "--model", str(launches.merged), "--benchmark", "lab", "--cap-tokens",
        "48", "--samples", "2", "--limit", "8", "--out", str(tmp_path / "eval"),
    )  # fmt: skip
    assert list((tmp_path / "eval").glob("**/*.jsonl"))
