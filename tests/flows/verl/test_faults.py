"""What may go wrong around verl, each told in one line: a Ray that lacks something or is not there,
a process that dies, one that hangs. Played by small scripts; `test_run.py` kills a real worker."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

pytest.importorskip("verl", reason="verl's pins conflict with ours; runs beside 0.9.1")

import torch
from ray._private import utils

from tersely.core.errors import ConfigError, EngineError
from tersely.flows.observer import QUIET
from tersely.flows.recipe.recipe import Recipe, read_recipe
from tersely.flows.verl import cluster, process
from tersely.flows.verl import launch as launch_verl
from tersely.flows.verl.cluster import Cluster, as_cluster
from tersely.flows.verl.launch import plan_verl
from tersely.flows.verl.settings import HOOKS, LAUNCHER

TINY = Path(__file__).parents[1] / "tiny.toml"


def tiny(*overrides: str) -> Recipe:
    plain = ["learner.staleness=1", "loss.importance_cap=2.0"]
    return read_recipe(TINY, overrides=[*plain, *overrides])


def played(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """A script in the place of verl's main process, on a Ray that has enough."""
    monkeypatch.setattr(cluster, "find_cluster", lambda: Cluster((1,), 1, 16))
    monkeypatch.setattr(process, "command", lambda lines: [sys.executable, "-c", code])
    monkeypatch.setattr(process, "POLL_S", 0.1)
    monkeypatch.setattr(process, "GRACE_S", 1.0)


def launched(folder: Path, *, stall_s: float = 60.0, resume: bool = False) -> None:
    launch_verl.launch_verl(
        tiny(), folder, nodes=1, gpus_per_node=1, stall_s=stall_s, resume=resume, observer=QUIET
    )


def one_line(error: BaseException, folder: Path) -> str:
    """The message, which is short without the path in it."""
    text = str(error)
    assert "\n" not in text
    assert len(text.replace(str(folder), "RUN")) < 500
    assert text.endswith("go on with --resume")
    return text


ENDS = {
    "an actor": (
        "\x1b[36m(TaskRunnerV1 pid=7)\x1b[0m step:3 - actor/loss:0.1\n"
        'Traceback (most recent call last):\n  File "x.py", line 3, in f\n'
        "ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task.\n"
        "\tclass_name: WorkerDict\n\tpid: 8059\n",
        "a process of verl's died .*before finishing this task",
    ),
    "memory": (
        "ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory.\n",
        "memory ran out in a process of verl's; lower learner.micro_batch_tokens",
    ),
    "cuda memory": (
        "ray.exceptions.RayTaskError(OutOfMemoryError): \x1b[36mray::WorkerDict.f()\x1b[39m\n"
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB.\n",
        "memory ran out in a process of verl's",
    ),
    "a port": (
        "torch.distributed.DistNetworkError: The server socket has failed to listen on any local "
        "network address. port: 29500, useIpv6: false, code: -98, name: EADDRINUSE, message: "
        "address already in use\n",
        "a port that it wanted is taken by another program",
    ),
    "another port": (
        "(vLLMHttpServer pid=4) OSError: [Errno 98] Address already in use\n",
        "a port that it wanted is taken by another program",
    ),
    "Ray": (
        "ConnectionError: Failed to connect to Ray cluster at 10.0.0.1:6379\n",
        "Ray is gone, or was not there; see that it runs",
    ),
    "Ray on the way": (
        "[2026-11-29 12:00:00,000 C 1 2] gcs_rpc_client.h:1: Failed to connect to GCS at address "
        "10.0.0.1:6379 within 60 seconds. GCS is dead or there are network issues\n",
        "Ray is gone, or was not there; see that it runs",
    ),
    "something else": (
        "Traceback (most recent call last):\n"
        "(WorkerDict pid=3) TypeError: argument of type 'int' is not iterable\n"
        "Set the environment variable HYDRA_FULL_ERROR=1 for a complete stack trace.\n",
        "TypeError: argument of type 'int' is not iterable",
    ),
    "nothing": ("good night\n", "see above"),
}


@pytest.mark.parametrize("name", ENDS)
def test_an_end_of_verl_s_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    output, said = ENDS[name]
    played(monkeypatch, f"import sys\nsys.stdout.write({output!r})\nsys.exit(3)")
    with pytest.raises(EngineError, match=f"exit code 3: {said}") as error:
        launched(tmp_path / "run")
    assert "output-000.txt" in one_line(error.value, tmp_path)
    # Nothing of verl's is on stdout, which is for data; everything is on stderr and in the file.
    shown = capfd.readouterr()
    assert output.splitlines()[0] in shown.err
    assert (tmp_path / "run" / "verl" / "output-000.txt").read_text() == output


def test_a_ray_that_vanishes_is_told_whatever_verl_says_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = "ray.exceptions.ActorUnavailableError: The actor 3e is unavailable: Socket closed\n"
    played(monkeypatch, f"import sys\nsys.stdout.write({output!r})\nsys.exit(1)")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(EngineError, match=f"exit code 1: the Ray .* '{address}' is gone; start"):
        launched(tmp_path / "run")


def test_a_hang_is_ended_however_much_is_printed_and_the_run_may_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played(monkeypatch, "import time\nwhile True: print('still here', flush=True); time.sleep(.1)")
    folder = tmp_path / "run"
    for resume in (False, True):
        began = time.monotonic()
        with pytest.raises(EngineError, match=r"verl hangs: for 2 s .* set --stall-s") as error:
            launched(folder, stall_s=2.0, resume=resume)
        one_line(error.value, tmp_path)
        assert time.monotonic() - began < 30


def test_slow_progress_is_no_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import os, time\nfrom pathlib import Path\n"
        "kept = Path(os.environ['TERSELY_RUN']) / 'checkpoints' / 'global_step_1'\n"
        "kept.mkdir(parents=True)\n"
        "for n in range(8): time.sleep(.5); (kept / str(n)).write_text('weights')\n"
    )
    played(monkeypatch, code)
    launched(tmp_path / "run", stall_s=2.0)


def ended(pid: int, *, within_s: float = 30.0) -> bool:
    """Whether a process ends in time; one that nobody has waited for has ended too."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.1)
    return False


def test_verl_ends_when_its_launcher_is_killed(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.orig_argv = ['', '-m', {process.MAIN!r}]\n"
        f"import {HOOKS}, time; print('ready', flush=True); time.sleep(120)"
    )
    launcher = (
        "import os, subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {code!r}], start_new_session=True,\n"
        f"    env={{**os.environ, {LAUNCHER!r}: str(os.getpid())}}, stdout=subprocess.PIPE)\n"
        "print(child.pid, child.stdout.readline().decode(), flush=True)\nchild.wait()\n"
    )
    with subprocess.Popen([sys.executable, "-c", launcher], stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        pid, ready = started.stdout.readline().split()
        assert ready == b"ready"
        started.kill()
    assert ended(int(pid))


def test_verl_does_not_start_without_its_launcher() -> None:
    code = f"import sys; sys.orig_argv = ['', '-m', {process.MAIN!r}]; import {HOOKS}"
    gone = {**os.environ, LAUNCHER: str(os.getpid() + 1)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=gone, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.strip().endswith("continue its run with --resume")


def test_what_verl_leaves_behind_is_killed(tmp_path: Path) -> None:
    left = "import time; print('ready', flush=True); time.sleep(120)"
    code = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {left!r}], stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\nprint(child.pid, flush=True)\n"
    )
    log = tmp_path / "output.txt"
    assert not process.follow(
        [sys.executable, "-c", code], tmp_path, lambda: None, environment={}, log=log, stall_s=60.0
    )
    assert ended(int(log.read_text()))


def test_a_letter_that_is_half_written_is_said_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "POLL_S", 0.1)
    code = (
        "import os, time\n"
        "os.write(1, 'ü'.encode()[:1]); time.sleep(1); os.write(1, 'ü'.encode()[1:])\n"
    )
    process.follow(
        [sys.executable, "-c", code],
        tmp_path,
        lambda: None,
        environment={},
        log=tmp_path / "output.txt",
        stall_s=60.0,
    )
    assert capsys.readouterr().err == "ü"


LACKS = {
    "machines": (Cluster((8,), 8, 64), 2, 8, "has 1 machines with 8 GPUs and --nodes 2 asks for 2"),
    "GPUs": (Cluster((1, 1), 2, 64), 1, 2, r"has 0 machines with 2 GPUs .*its machines: 1, 1"),
    "another's": (
        Cluster((4, 4), 3, 64),
        2,
        2,
        "has 3 of its 8 GPUs free, fewer than the 4 to train;",
    ),
    "processors": (Cluster((2,), 2, 8), 1, 2, r"8 free processors and verl reserves 15 .*=15"),
    "no accelerator": (Cluster((0,), 0, 2), 1, 1, "machines with 1 GPUs"),
    "a queue of its own": (Cluster((4,), 3, 64, True), 1, 1, "has a run of verl's already"),
    "empty": (Cluster((), 0, 0), 1, 1, "GPUs of its machines: none"),
}


@pytest.mark.parametrize("name", LACKS)
def test_a_ray_that_lacks_something_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    there, nodes, gpus, said = LACKS[name]
    monkeypatch.setattr(cluster, "find_cluster", lambda: there)
    with pytest.raises(ConfigError, match=said):
        cluster.check_cluster(tiny(), nodes=nodes, gpus_per_node=gpus)


def test_the_gpus_of_a_sampler_apart_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    apart = tiny(
        "verl.trainer.v1.trainer_mode=separate_async",
        *(f"verl.{cluster.ROLLOUT}.{key}=1" for key in ("nnodes", "n_gpus_per_node")),
        f"verl.{cluster.ROLLOUT}.checkpoint_engine.backend=nccl",
    )
    monkeypatch.setattr(cluster, "find_cluster", lambda: Cluster((1,), 1, 64))
    with pytest.raises(ConfigError, match="than the 1 to train and 1 for a sampler apart"):
        cluster.check_cluster(apart, nodes=1, gpus_per_node=1)
    monkeypatch.setattr(cluster, "find_cluster", lambda: Cluster((2,), 2, 14))
    cluster.check_cluster(apart, nodes=1, gpus_per_node=1)


def test_a_machine_with_few_processors_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "find_cluster", lambda: None)
    monkeypatch.setattr(cluster, "check_gpus", lambda **_: None)
    monkeypatch.setattr(cluster, "count_cpus", lambda: 4)
    with pytest.raises(ConfigError, match=r"this machine has 4 .*set verl.ray_kwargs.*= 12"):
        cluster.check_cluster(tiny(), nodes=1, gpus_per_node=1)
    few = tiny(f"verl.{cluster.UNITS}=1", "verl.ray_kwargs.ray_init.num_cpus=5")
    cluster.check_cluster(few, nodes=1, gpus_per_node=1)
    monkeypatch.setattr(cluster, "find_cluster", lambda: Cluster((1,), 1, 16))
    with pytest.raises(ConfigError, match=r"num_cpus = 5 is for a Ray that verl starts"):
        cluster.check_cluster(few, nodes=1, gpus_per_node=1)


def test_processors_are_those_that_ray_would_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utils, "get_num_cpus", lambda: 3)
    assert cluster.count_cpus() == 3


def test_gpus_of_a_ray_that_runs_count_and_not_those_of_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(cluster, "find_cluster", lambda: Cluster((1,), 1, 16))
    cluster.check_cluster(tiny(), nodes=1, gpus_per_node=1)
    monkeypatch.setattr(cluster, "find_cluster", lambda: None)
    with pytest.raises(ConfigError, match="exceeds the 0 GPUs of this machine"):
        cluster.check_cluster(tiny(), nodes=1, gpus_per_node=1)


def test_accelerators_of_other_kinds_are_counted_by_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._private.accelerators import NPUAcceleratorManager

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(cluster, "accelerator", lambda: "NPU")
    monkeypatch.setattr(
        NPUAcceleratorManager, "get_current_node_num_accelerators", staticmethod(lambda: 4)
    )
    cluster.check_gpus(nodes=1, gpus_per_node=4)
    with pytest.raises(ConfigError, match="exceeds the 4 GPUs of this machine"):
        cluster.check_gpus(nodes=1, gpus_per_node=5)
    nodes = [{"CPU": 192.0, "NPU": 16.0}, {"CPU": 192.0, "GPU": 1.0}]
    assert as_cluster(nodes, {"CPU": 300.0, "NPU": 9.0}, kind="NPU") == Cluster((16, 0), 9, 300)


def test_an_address_where_no_ray_answers_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()[1]
    for address in (f"127.0.0.1:{free}", "127.0.0.1:99999"):
        monkeypatch.setenv("RAY_ADDRESS", address)
        began = time.monotonic()
        with pytest.raises(ConfigError, match=r"RAY_ADDRESS = '127.0.0.1:\d+': no Ray answers"):
            cluster.find_cluster()
        assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("listed", "own", "wanted"),
    [
        ("", (), HOOKS),
        ("their_platform", (), f"their_platform,{HOOKS}"),
        (f" a, {HOOKS},,b", (), f"a,{HOOKS},b"),
        ("a", ("c",), f"c,{HOOKS}"),
    ],
)
def test_what_the_user_has_verl_load_is_loaded_too(
    monkeypatch: pytest.MonkeyPatch, listed: str, own: Sequence[str], wanted: str
) -> None:
    monkeypatch.setenv("VERL_USE_EXTERNAL_MODULES", listed)
    key = "verl.ray_kwargs.ray_init.runtime_env.env_vars.VERL_USE_EXTERNAL_MODULES"
    lines = plan_verl(
        tiny(*(f"{key}={name}" for name in own)), Path("mine"), nodes=1, gpus_per_node=1
    )
    (told,) = [line for line in lines if "EXTERNAL_MODULES" in line]
    assert told.partition("=")[2].strip("'") == wanted


def test_a_signal_that_ends_verl_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played(monkeypatch, f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})")
    with pytest.raises(EngineError, match="verl stopped with SIGKILL") as error:
        launched(tmp_path / "run")
    one_line(error.value, tmp_path)
