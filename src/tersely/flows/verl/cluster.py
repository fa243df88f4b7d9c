"""Whether the Ray that verl would use has what verl asks of it, before anything is started.

verl waits without end for processors that Ray does not have.
"""

import os
import socket
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tersely.core.errors import ConfigError
from tersely.flows.recipe.recipe import Recipe
from tersely.flows.verl.given import given
from tersely.flows.verl.settings import FULLY_ASYNC, MODE, ROLLOUT

# What verl reserves of Ray's processors: for each GPU of a learner and of a sampler apart, for its
# queue, and one for each storage unit.
GPU_CPUS, SAMPLER_CPUS, QUEUE_CPUS = 3, 2, 1
UNITS, DEFAULT_UNITS = "transfer_queue.backend.SimpleStorage.num_data_storage_units", 8
# All runs on one Ray share the queue of this name: they would train on each other's rollouts.
QUEUE = "TransferQueueController"
_ANSWER_S = 5.0


class Cluster(NamedTuple):
    """A Ray that runs: accelerators of its machines, and what is free of it now.

    ``trains``: another run of verl's has its queue there.
    """

    gpus_of_nodes: tuple[int, ...]
    free_gpus: int
    free_cpus: int
    trains: bool = False


def accelerator() -> str:
    """Ray's name for what verl's platform trains on: GPU, NPU or another's."""
    from verl.plugin.platform import get_platform

    return str(get_platform().ray_resource_name())


def count_here() -> int:
    """This machine's accelerators: CUDA's, or those of another kind that Ray finds."""
    import torch
    from ray._private.accelerators import get_accelerator_manager_for_resource

    if (found := int(torch.cuda.device_count())) > 0:
        return found
    kind = get_accelerator_manager_for_resource(accelerator())
    return int(kind.get_current_node_num_accelerators()) if kind else 0


def check_gpus(*, nodes: int, gpus_per_node: int) -> None:
    """ConfigError where nothing can sample or learn as verl does."""
    if os.environ.get("RAY_ADDRESS"):
        return
    if (found := count_here()) < gpus_per_node:
        raise ConfigError(
            f"--gpus-per-node {gpus_per_node} exceeds the {found} GPUs of this machine; start Ray "
            "where they are and set RAY_ADDRESS, or train with tersely train or launch trl"
        )
    if nodes > 1:
        raise ConfigError(
            f"--nodes {nodes} needs a Ray cluster: run `ray start --head` on one machine, `ray "
            "start --address=...` on the others, and set RAY_ADDRESS=auto"
        )


def find_cluster() -> Cluster | None:
    """The Ray that verl would connect to; None if it would start one.

    Raises:
        ConfigError: RAY_ADDRESS names one that does not answer.
    """
    import ray

    address = os.environ.get("RAY_ADDRESS")
    _check_answers(address)
    try:
        ray.init(address=address or "auto", log_to_driver=False, configure_logging=False)
    except (ConnectionError, RuntimeError) as error:
        if not address:
            return None
        raise ConfigError(_say_gone(address, error)) from error
    try:
        alive, free = [each for each in ray.nodes() if each["Alive"]], ray.available_resources()
        named = [each["name"] for each in ray.util.list_named_actors(all_namespaces=True)]
    finally:
        ray.shutdown()
    found = as_cluster([each["Resources"] for each in alive], free, kind=accelerator())
    return found._replace(trains=QUEUE in named)


def as_cluster(
    nodes: Sequence[Mapping[str, float]], free: Mapping[str, float], *, kind: str
) -> Cluster:
    """What Ray says of its machines and of what is free."""
    gpus = tuple(int(each.get(kind, 0)) for each in nodes)
    return Cluster(gpus, int(free.get(kind, 0)), int(free.get("CPU", 0)))


def _check_answers(address: str | None) -> None:
    """Refuses HOST:PORT where nothing listens; Ray would try for long."""
    host, _, port = (address or "").rpartition(":")
    if not host or "/" in host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(_say_gone(address or "", error)) from error


def gone() -> str:
    """That the Ray of RAY_ADDRESS does not answer any more; empty if it does or there is none."""
    try:
        _check_answers(address := os.environ.get("RAY_ADDRESS"))
    except ConfigError:
        return f"the Ray at RAY_ADDRESS = {address!r} is gone; start it again"
    return ""


def _say_gone(address: str, error: Exception) -> str:
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    said = (" ".join(str(cause).split()) or type(cause).__name__).split(". ")[0]
    return (
        f"RAY_ADDRESS = {address!r}: no Ray answers there ({said}); start it with `ray start "
        "--head`, or unset RAY_ADDRESS to have verl start one"
    )


def check_cluster(recipe: Recipe, *, nodes: int, gpus_per_node: int) -> None:
    """ConfigError where a Ray that runs, or this machine, lacks what verl will wait for."""
    cluster, own = find_cluster(), given(recipe)
    gpus, apart = nodes * gpus_per_node, sampler_gpus(recipe)
    units = own.get(UNITS, DEFAULT_UNITS)
    cpus = GPU_CPUS * gpus + SAMPLER_CPUS * apart + QUEUE_CPUS
    cpus += units if isinstance(units, int) else DEFAULT_UNITS
    where = os.environ.get("RAY_ADDRESS") or "the Ray that runs here"
    if cluster is None:
        free_cpus = own.get("ray_kwargs.ray_init.num_cpus") or os.cpu_count() or 1
        fix, where = f"set verl.ray_kwargs.ray_init.num_cpus = {cpus}", "this machine"
    else:
        _check_nodes(cluster, nodes=nodes, gpus_per_node=gpus_per_node, where=where)
        _check_free(cluster, gpus=gpus, apart=apart, where=where)
        free_cpus, fix = cluster.free_cpus, f"start Ray with --num-cpus={cpus} or more"
    if isinstance(free_cpus, int) and free_cpus < cpus:
        raise ConfigError(
            f"{where} has {free_cpus} free processors and verl reserves {cpus} ({GPU_CPUS} for "
            f"each of {gpus} GPUs, the rest for its queue and samplers), for which it would wait "
            f"for ever; {fix}"
        )


def _check_nodes(cluster: Cluster, *, nodes: int, gpus_per_node: int, where: str) -> None:
    if cluster.trains:
        raise ConfigError(
            f"{where} has a run of verl's already, and all runs on one Ray share verl's queue, so "
            "that they would train on each other's rollouts; wait for its end, or start a Ray on "
            "another port and set RAY_ADDRESS"
        )
    large = [gpus for gpus in cluster.gpus_of_nodes if gpus >= gpus_per_node]
    if len(large) < nodes:
        said = ", ".join(map(str, cluster.gpus_of_nodes)) or "none"
        raise ConfigError(
            f"{where} has {len(large)} machines with {gpus_per_node} GPUs and --nodes {nodes} asks "
            f"for {nodes} (GPUs of its machines: {said}); lower --nodes or --gpus-per-node, or "
            "start Ray with --num-gpus"
        )


def _check_free(cluster: Cluster, *, gpus: int, apart: int, where: str) -> None:
    if cluster.free_gpus < gpus + apart:
        beside = f" and {apart} for a sampler apart" if apart else ""
        raise ConfigError(
            f"{where} has {cluster.free_gpus} of its {sum(cluster.gpus_of_nodes)} GPUs free, fewer "
            f"than the {gpus} to train{beside}; end what else runs there (ray status), or start "
            "Ray with more"
        )


def sampler_gpus(recipe: Recipe) -> int:
    """GPUs of a sampler apart from the learner, which only fully asynchronous training has."""
    own = given(recipe)
    if own.get(MODE) != FULLY_ASYNC:
        return 0
    nodes, of_each = (own.get(f"{ROLLOUT}.{key}") for key in ("nnodes", "n_gpus_per_node"))
    return nodes * of_each if isinstance(nodes, int) and isinstance(of_each, int) else 0
