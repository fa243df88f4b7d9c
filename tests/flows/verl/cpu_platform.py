"""verl without an accelerator, through verl's own registries: a platform named ``cpu``, and a
rollout named ``tersely`` that samples with our own sampler.

verl loads it in every process by ``VERL_USE_EXTERNAL_MODULES=cpu_platform``, with this folder on
``PYTHONPATH``, ``VERL_PLATFORM=cpu``, and ``VERL_ENGINE_DEVICE=cuda``, by which verl takes its FSDP
engine. The number of workers is Ray's: ``ray start --num-gpus=2``.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import Iterator
from functools import wraps
from itertools import count
from pathlib import Path
from typing import Any

import torch
import verl.utils.distributed
from verl.plugin.platform import PlatformBase, PlatformRegistry
from verl.workers.rollout.base import _ROLLOUT_REGISTRY
from verl.workers.rollout.replica import RolloutReplicaRegistry

NAME = "tersely"
# Requests that come within this time are sampled in one batch.
GATHER_S = 0.1


class _Device:
    """``torch.cpu`` with what ``torch.cuda`` has besides: it counts no memory and empties none."""

    get_rng_state = staticmethod(torch.get_rng_state)
    set_rng_state = staticmethod(torch.set_rng_state)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(torch.cpu, name, lambda *_: 0)

    def get_device_name(self, *_: Any) -> str:
        return "cpu"

    def mem_get_info(self, *_: Any) -> tuple[int, int]:
        return 1 << 33, 1 << 34


@PlatformRegistry.register(platform="cpu")
class PlatformCPU(PlatformBase):
    """What verl asks of a device; it forces the names and the base class."""

    device_name = vendor_name = "cpu"
    device_module = _Device()

    def is_available(self) -> bool:
        return True

    def current_device(self) -> Any:
        return torch.device("cpu")

    def device_count(self) -> int:
        return 1

    def set_device(self, device_index: int) -> None:
        """There is one."""

    def synchronize(self, device_index: int | None = None) -> None:
        """Nothing runs beside."""

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    manual_seed_all = manual_seed

    def set_allocator_settings(self, settings: str) -> None:
        """There is none."""

    def empty_cache(self) -> None:
        """There is none."""

    def get_device_capability(self, device_index: int = 0) -> tuple[None, None]:
        return None, None

    def communication_backend_name(self) -> str:
        return "gloo"

    def visible_devices_envvar(self) -> str:
        return "CUDA_VISIBLE_DEVICES"

    @contextlib.contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        yield

    def profiler_start(self) -> None:
        """There is none."""

    def profiler_stop(self) -> None:
        """There is none."""

    def ray_resource_name(self) -> str:
        return "GPU"

    def ray_noset_envvars(self) -> list[str]:
        return ["RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"]

    def is_ipc_supported(self) -> bool:
        return False

    def cudart(self) -> None:
        return None


class Server:
    """A Ray actor that samples whatever requests are waiting, in one batch."""

    def __init__(self, path: str, cap_tokens: int) -> None:
        from tersely.engines.fallback import make_sampler
        from tersely.engines.models import load_policy

        torch.set_num_threads(1)
        self.model, tokenizer = load_policy(path)
        self.sampler = make_sampler(self.model, tokenizer, rows=64)
        self.cap_tokens, self.weights_step = cap_tokens, 0
        self.waiting: list[tuple[Any, dict[str, Any], asyncio.Future[Any]]] = []
        self.task: asyncio.Task[None] | None = None
        # Weights do not change under a batch.
        self.sampling = asyncio.Lock()

    async def generate(
        self, prompt_ids: Any, sampling_params: Any, request_id: str, **_: Any
    ) -> Any:
        from verl.workers.rollout.replica import TokenOutput

        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.waiting.append((tuple(map(int, prompt_ids)), dict(sampling_params), done))
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._drain())
        rollout, step = await done
        return TokenOutput(
            token_ids=list(rollout.completion_ids),
            log_probs=rollout.logprobs.tolist(),
            stop_reason="completed",
            num_preempted=0,
            extra_fields={"global_steps": step},
        )

    async def _drain(self) -> None:
        await asyncio.sleep(GATHER_S)
        while self.waiting:
            taken, self.waiting = self.waiting, []
            try:
                async with self.sampling:
                    rollouts = await asyncio.to_thread(self._sample, taken)
                    step = self.weights_step
            except Exception as error:  # whatever it is, those who wait are told
                rollouts = [error] * len(taken)
            for (_, _, done), rollout in zip(taken, rollouts, strict=True):
                if isinstance(rollout, Exception):
                    done.set_exception(rollout)
                else:
                    done.set_result((rollout, step))

    def _sample(self, taken: Any) -> list[Any]:
        from tersely.core.types import SamplingSpec
        from tersely.engines.local.jobs import Job

        params = taken[0][1]
        self.seed = getattr(self, "seed", 0) + 1
        spec = SamplingSpec(
            samples=1,
            cap_tokens=params.get("max_tokens") or self.cap_tokens,
            temperature=params["temperature"],
            top_p=params["top_p"],
            top_k=max(0, params["top_k"]),
            seed=self.seed,
        )
        numbers: dict[tuple[int, ...], int] = {}
        jobs = [
            Job(numbers.setdefault(prompt, len(numbers)), str(place), place, prompt)
            for place, (prompt, _, _) in enumerate(taken)
        ]
        made: dict[int, Any] = {}
        self.sampler.run(jobs, spec, on_rollout=lambda each: made.update({each.sample: each}))
        return [made[place] for place in range(len(taken))]

    async def load(self, state: dict[str, torch.Tensor], step: int | None) -> None:
        """Takes over weights; all of them must be the model's."""
        own = self.model.state_dict()
        cast = {name: weight.to(own[name].dtype) for name, weight in state.items()}
        async with self.sampling:
            self.model.load_state_dict(cast, strict=False)
            self.sampler.refresh()
            self.weights_step = step or 0

    async def ready(self) -> bool:
        return True

    async def control(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Nothing sleeps, is profiled or aborted here."""
        return {"aborted_count": 0, "request_ids": []}

    wake_up = sleep = abort_all_requests = resume_generation = clear_kv_cache = control
    release_kv_cache = resume_kv_cache = start_profile = stop_profile = control


def _server_name(rank: int) -> str:
    return f"{NAME}_server_{rank}"


def _replica() -> Any:
    import ray
    from verl.workers.rollout.replica import RolloutReplica

    class Replica(RolloutReplica):
        async def launch_servers(self) -> None:
            name = _server_name(self.replica_rank)
            options = {"name": name, "max_concurrency": 1000, "num_cpus": 0}
            server = ray.remote(Server).options(**options)
            started = server.remote(str(self.model_config.path), self.config.response_length)
            await started.ready.remote()
            self.servers, self._server_handle, self._server_address = [started], started, name

    return Replica


def _adapter() -> Any:
    import ray
    from verl.workers.rollout.base import BaseRollout

    class Adapter(BaseRollout):
        """Hands the learner's weights to the server of this worker."""

        def __init__(self, *args: Any, replica_rank: int | None = None, **settings: Any) -> None:
            super().__init__(*args, **settings)
            # A learner's own sampler has its rank.
            own = int(os.environ["RANK"])
            self.replica_rank = own if replica_rank is None or replica_rank < 0 else replica_rank

        async def resume(self, tags: Any) -> None:
            """Nothing sleeps."""

        async def release(self) -> None:
            """Nothing sleeps."""

        @torch.no_grad()
        async def update_weights(self, weights: Any, global_steps: Any = None, **_: Any) -> None:
            if hasattr(weights, "__aiter__"):
                found = [each async for each in weights]
            else:
                found = list(weights)
            state = {name: weight.detach().cpu().clone() for name, weight in found}
            server = ray.get_actor(_server_name(self.replica_rank))
            await server.load.remote(state, global_steps)

    return Adapter


def __getattr__(name: str) -> Any:
    """verl's registry of rollouts names a class, which a learner looks up when it is made."""
    if name != "Adapter":
        raise AttributeError(name)
    globals()[name] = made = _adapter()
    _note_batches()
    return made


def _note_batches() -> None:
    """Has this learner write down the rows of every batch, in the order of its updates."""
    from verl.workers.engine_workers import TrainingWorker

    learn, numbers = TrainingWorker.train_mini_batch, count()

    @wraps(learn)
    def noting(self: Any, data: Any) -> Any:
        folder = Path(os.environ["TERSELY_RUN"]) / "verl" / "batches"
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{os.environ['TERSELY_ATTEMPT']}-{next(numbers)}-{os.environ['RANK']}.json"
        columns = ("responses", "advantages", "response_mask")
        rows = {key: [row.tolist() for row in data[key].unbind()] for key in columns}
        (folder / name).write_text(json.dumps(rows))
        return learn(self, data)

    TrainingWorker.train_mini_batch = noting


RolloutReplicaRegistry.register(NAME, _replica)
_ROLLOUT_REGISTRY[NAME, "async"] = "cpu_platform.Adapter"

if os.environ.get("VERL_PLATFORM") == "cpu":
    # verl would ask for "cpu:gloo,cpu:gloo", which torch refuses (verl issue 6237).
    _of_verl = verl.utils.distributed.initialize_global_process_group_ray
    verl.utils.distributed.initialize_global_process_group_ray = (
        lambda timeout_second=None, backend=None: _of_verl(timeout_second, backend or "cpu:gloo")
    )
