"""Connecting to a Ray cluster, and what its nodes have room for."""

from __future__ import annotations

import logging
import os
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from mtlbench.errors import MissingExtra, MtlbenchError
from mtlbench.executors.local import usable_cores
from mtlbench.executors.slots import Slots
from mtlbench.spec import Execution

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else it warns that this will change; cells are told anyway
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # nodes have mtlbench installed: nothing is to be shipped
}
_OBJECT_STORE_BYTES = 80 * 2**20
"""About the least that Ray allows: nothing of ours goes through it."""
_REACH_SECONDS = 5.0

log = logging.getLogger(__name__)


def connect(address: str | None) -> ModuleType:
    """The module `ray`, connected.

    Args:
        address: HOST:PORT; `auto`: the cluster that `ray start` made this machine a part of; `local`: a new
            one, on this machine alone; default: what RAY_ADDRESS says, else `local`.

    Raises:
        MtlbenchError: Ray is absent, or there is no such cluster.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    wanted = address or os.environ.get("RAY_ADDRESS") or "local"
    if wanted == "local" and "RAY_AUTH_MODE" not in os.environ:  # its ports are open to the network
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("ray", "ray", "the Ray executor") from error
    options: dict[str, Any] = {"address": wanted}
    if wanted == "local":
        options.update(
            num_cpus=usable_cores(), object_store_memory=_OBJECT_STORE_BYTES, include_dashboard=False
        )
    else:
        options["address"] = _reachable(_last_started() if wanted == "auto" else wanted)
    try:
        ray.init(**options, log_to_driver=False, logging_level=logging.ERROR)
    except (RuntimeError, ValueError, OSError, AssertionError) as error:
        raise MtlbenchError(f"--address {wanted}: Ray says: {error}") from error
    _silence(ray)
    return ray


def _last_started() -> str:
    """Read by ourselves: Ray waits for minutes for a cluster that is gone."""
    file = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster"
    try:
        return file.read_text().strip()
    except OSError as error:
        text = (
            "--address auto: no Ray cluster was started on this machine; `ray start` does, or --address local"
        )
        raise MtlbenchError(text) from error


def _reachable(address: str) -> str:
    found = re.fullmatch(r"\[?([^/]+?)\]?:(\d+)", address)
    if found is None:
        raise MtlbenchError(f"--address must be HOST:PORT, `auto` or `local`, got {address}")
    try:
        socket.create_connection((found[1], int(found[2])), timeout=_REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise MtlbenchError(f"--address: no Ray cluster answers at {address}: {error}") from error
    return address


def _silence(ray: ModuleType) -> None:
    """Ray prints the last log lines of every node that dies, in the middle of the live view."""
    worker = ray._private.worker
    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = _note


def _note(data: Mapping[str, Any], ignore_prefix: bool) -> None:
    log.debug("Ray: %s", "\n".join(map(str, data.get("lines", ()))))


@dataclass(frozen=True)
class Need:
    """What one cell takes of a node; memory in bytes."""

    cpus: int
    gpus: float
    memory: int = 0

    def times_in(self, resources: Mapping[str, float]) -> int:
        """How many such cells a node with these resources holds at a time."""
        wanted = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory}
        return min(int(resources.get(name, 0.0) / much + 1e-6) for name, much in wanted.items() if much)

    def __str__(self) -> str:
        memory = f" and {self.memory / 1e9:.1f} GB of memory" if self.memory else ""
        return f"{self.gpus:g} GPUs, {self.cpus} CPUs{memory}"


class Nodes:
    """The nodes of a cluster, also those that are gone again: what fits one of these may wait for its return.

    Args:
        nodes: as `ray.nodes()` gives them.
    """

    def __init__(self, nodes: list[dict[str, Any]]) -> None:
        self._seen: dict[str, dict[str, Any]] = {}
        self._alive: set[str] = set()
        self._threads: dict[Execution, int] = {}
        self.update(nodes)

    def update(self, nodes: list[dict[str, Any]]) -> None:
        self._seen |= {node["NodeID"]: node for node in nodes if node["Resources"]}
        self._alive = {node["NodeID"] for node in nodes if node["Alive"]}

    @property
    def working(self) -> dict[str, str]:
        """Id -> name of the living nodes on which cells may run."""
        nodes = {key: self._seen[key] for key in self._alive if key in self._seen}
        return {
            key: node["NodeManagerHostname"] for key, node in nodes.items() if node["Resources"].get("CPU")
        }

    def need(self, execution: Execution) -> Need:
        """What a cell takes: whole GPUs where it has several devices, none in a cluster without GPUs."""
        gpus = float(execution.devices) if execution.devices > 1 else execution.gpu
        return Need(
            cpus=self.threads(execution) * execution.devices,
            gpus=gpus if self._have_gpus() else 0.0,
            memory=int((execution.memory_gb or 0) * 1e9),
        )

    def threads(self, execution: Execution) -> int:
        """As the grid says, else an equal part of a node's cores; the same all the time, for equal sums."""
        if execution.threads is not None:
            return execution.threads
        if execution not in self._threads:
            least = execution.devices if self._have_gpus() else 0
            found = [r for r in self._resources() if r.get("GPU", 0) >= least and r.get("CPU", 0) >= 1]
            self._threads[execution] = min((_threads_on(r, execution) for r in found), default=1)
        return self._threads[execution]

    def check(self, need: Need) -> None:
        """Refuse what would wait for ever.

        Raises:
            MtlbenchError: no node is large enough; it says what there is.
        """
        if any(need.times_in(resources) for resources in self._resources()):
            return
        nodes = "; ".join(
            f"{n['NodeManagerHostname']}: {_describe(n['Resources'])}" for n in self._seen.values()
        )
        keys = "`execution.devices`, `threads` and `memory_gb`"
        raise MtlbenchError(f"no node of the Ray cluster has {need}, which {keys} ask for; there are {nodes}")

    def slots(self, need: Need) -> int:
        """How many such cells the living nodes hold at a time."""
        return sum(need.times_in(self._seen[key]["Resources"]) for key in self._alive if key in self._seen)

    def _have_gpus(self) -> bool:
        return any(resources.get("GPU") for resources in self._resources())

    def _resources(self) -> list[dict[str, float]]:
        return [node["Resources"] for node in self._seen.values()]


def _threads_on(resources: Mapping[str, float], execution: Execution) -> int:
    gpus = [str(i) for i in range(int(resources.get("GPU", 0)))]
    return Slots(jobs=None, cores=int(resources["CPU"]), gpus=gpus).threads(execution)


def _describe(resources: Mapping[str, float]) -> str:
    gpus, cpus = resources.get("GPU", 0), resources.get("CPU", 0)
    return f"{gpus:g} GPUs, {cpus:g} CPUs and {resources.get('memory', 0) / 1e9:.1f} GB of memory"
