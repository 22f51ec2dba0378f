"""What the nodes of a Ray cluster have room for, from descriptions as Ray gives them; no Ray is needed."""

from typing import Any

import pytest

from mtlbench.errors import MtlbenchError
from mtlbench.executors.ray_nodes import Need, Nodes, connect
from mtlbench.executors.ray_task import differences
from mtlbench.spec import Execution


def node(name: str, *, alive: bool = True, **resources: float) -> dict[str, Any]:
    return {"NodeID": name, "NodeManagerHostname": name, "Alive": alive, "Resources": resources}


BIG = {"CPU": 16.0, "GPU": 4.0, "memory": 64e9}
SMALL = {"CPU": 8.0, "GPU": 1.0, "memory": 16e9}


@pytest.mark.parametrize(
    ("execution", "need", "slots"),
    [
        (Execution(), Need(cpus=4, gpus=1.0), 4 + 1),
        (Execution(gpu=0.5), Need(cpus=2, gpus=0.5), 8 + 2),
        (Execution(devices=2, gpu=0.5, threads=3), Need(cpus=6, gpus=2.0), 2 + 0),
        (Execution(threads=2, memory_gb=10), Need(cpus=2, gpus=1.0, memory=10 * 10**9), 4 + 1),
        (Execution(threads=2, memory_gb=20), Need(cpus=2, gpus=1.0, memory=20 * 10**9), 3 + 0),
        (Execution(gpu=1 / 3, threads=1), Need(cpus=1, gpus=1 / 3), 12 + 3),
    ],
)
def test_what_a_cell_takes_and_how_many_run_at_a_time(execution: Execution, need: Need, slots: int) -> None:
    nodes = Nodes([node("big", **BIG), node("small", **SMALL)])
    assert nodes.need(execution) == need
    assert nodes.slots(need) == slots


def test_without_gpus_a_cell_takes_cores_only() -> None:
    nodes = Nodes([node("a", CPU=8.0, memory=16e9)])
    assert nodes.need(Execution(devices=2)) == Need(cpus=2, gpus=0.0)
    assert nodes.slots(nodes.need(Execution())) == 8


def test_a_cell_may_wait_for_a_node_that_is_gone() -> None:
    nodes = Nodes([node("big", **BIG), node("small", **SMALL)])
    need = nodes.need(Execution(devices=4))
    nodes.update([node("big", alive=False), node("small", **SMALL)])
    assert nodes.slots(need) == 0
    nodes.check(need)
    assert list(nodes.working) == ["small"]
    with pytest.raises(
        MtlbenchError, match=r"has 5 GPUs, 5 CPUs, .*; there are big: 4 GPUs.*; small: 1 GPUs"
    ):
        nodes.check(nodes.need(Execution(devices=5, threads=1)))


def test_differing_versions_are_named() -> None:
    here = {"Python": "3.11", "mtlbench": "1.0", "torch": "2.8"}
    assert differences(here, here) == ""
    assert differences(here, {"Python": "3.11", "torch": "2.9"}) == (
        "mtlbench is absent instead of 1.0, torch is 2.9 instead of 2.8"
    )


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ray://head:10001", "must be HOST:PORT, `auto` or `local`, got ray://head:10001"),
        ("head", "must be HOST:PORT"),
        ("127.0.0.1:1", "no Ray cluster answers at 127.0.0.1:1"),
        ("127.0.0.1:99999", "no Ray cluster answers"),
    ],
)
def test_wrong_addresses_are_refused_at_once(address: str, message: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(MtlbenchError, match=message):
        connect(address)
