"""The faults: each does its harm and says which cells it concerns, or None where there is nothing to harm."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from chaos_scene import Scene, wait_until

HOUR = 3600
JUMPS = (6 * HOUR, -3 * 24 * HOUR, 400 * 24 * HOUR, -HOUR)
DISK = "a full disk for some seconds"
FULL_SECONDS = (2.0, 6.0)


@dataclass
class Chaos:
    """What faults have at hand.

    Attributes:
        driver: the one that runs now.
        mounted: whether the runs lie on a file system of their own, which can be filled.
        filling: threads that keep the disk full.
        killed: processes that were killed.
    """

    scene: Scene
    draw: random.Random
    driver: subprocess.Popen[bytes]
    mounted: bool
    filling: list[threading.Thread] = field(default_factory=list)
    killed: set[int] = field(default_factory=set)

    def pick(self, found: list[str]) -> str | None:
        return self.draw.choice(sorted(found)) if found else None

    def kill(self, pid: int) -> None:
        self.killed.add(pid)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def a_running_cell(self) -> str | None:
        """One that has a checkpoint."""
        folders = self.scene.folders()
        return self.pick([cell for cell in self.scene.running() if folders[cell].checkpoint.exists()])

    def a_done_cell(self) -> str | None:
        return self.pick(list(self.scene.scores()))


@dataclass(frozen=True)
class Harm:
    """What a fault concerns.

    Attributes:
        cells: they have got over it when one of them is further than before.
        mended: says when it is over, where that is not their next step.
        processes: that were lost: progress is that of other ones.
        after: nothing before this time is progress.
    """

    cells: tuple[str, ...]
    mended: Callable[[], bool] | None = None
    processes: tuple[int, ...] = ()
    after: float = 0.0


Fault = Callable[[Chaos], Harm | None]


def kill_cell(chaos: Chaos) -> Harm | None:
    cell = chaos.a_running_cell()
    if cell is None:
        return None
    pid = chaos.scene.running()[cell]
    chaos.kill(pid)
    return Harm((cell,), processes=(pid,))


def kill_driver(chaos: Chaos) -> Harm | None:
    running = chaos.scene.running()
    if not running:
        return None
    chaos.kill(chaos.driver.pid)
    return Harm(tuple(running), processes=tuple(running.values()))


def kill_server(chaos: Chaos) -> Harm | None:
    running = chaos.scene.running()
    servers = [
        child
        for child in psutil.Process(chaos.driver.pid).children()
        if "mtlbench.executors.forked" in child.cmdline()
    ]
    if not running or not servers:
        return None
    chaos.kill(servers[0].pid)
    return Harm(tuple(running), processes=tuple(running.values()))


def kill_worker(chaos: Chaos) -> Harm | None:
    """Ray's process that looks after a cell; its title holds the cell's id."""
    cell = chaos.a_running_cell()
    if cell is None:
        return None
    title = "ray::" + cell
    for process in psutil.process_iter(["cmdline"]):
        if " ".join(process.info["cmdline"] or []).startswith(title):
            pid = chaos.scene.running()[cell]
            chaos.kill(process.pid)
            return Harm((cell,), processes=(pid,))
    return None


def kill_raylet(chaos: Chaos) -> Harm | None:
    """What stands for a node of the cluster."""
    running = chaos.scene.running()
    children = psutil.Process(chaos.driver.pid).children(recursive=True)
    raylets = [child for child in children if child.name() == "raylet"]
    if not running or not raylets:
        return None
    chaos.kill(raylets[0].pid)
    return Harm(tuple(running), processes=tuple(running.values()))


def stop_cell(chaos: Chaos) -> Harm | None:
    cell = chaos.a_running_cell()
    if cell is None:
        return None
    pid = chaos.scene.running()[cell]
    os.kill(pid, signal.SIGSTOP)
    chaos.killed.add(pid)
    return Harm((cell,), processes=(pid,))


def fill_disk(chaos: Chaos) -> Harm | None:
    running = chaos.scene.running()
    if not chaos.mounted or not running:
        return None
    until = time.monotonic() + chaos.draw.uniform(*FULL_SECONDS)
    thread = threading.Thread(target=_keep_full, args=(chaos.scene.runs / "filling", until))
    thread.start()
    chaos.filling.append(thread)
    return Harm(tuple(running), after=until)


def _keep_full(file: Path, until: float) -> None:
    """Also what others give back meanwhile is taken."""
    with file.open("wb", buffering=0) as filling:
        while time.monotonic() < until:
            for size in (2**16, 2**10):
                with suppress(OSError):
                    while filling.write(bytes(size)) == size:
                        pass
            time.sleep(0.02)
    file.unlink()


def truncate_checkpoint(chaos: Chaos) -> Harm | None:
    return _damage_and_kill(chaos, _truncate)


def flip_checkpoint(chaos: Chaos) -> Harm | None:
    return _damage_and_kill(chaos, _flip)


def _damage_and_kill(chaos: Chaos, damage: Callable[[Path, random.Random], None]) -> Harm | None:
    """Of a running cell, which is killed so that it has to read it."""
    cell = chaos.a_running_cell()
    if cell is None:
        return None
    pid = chaos.scene.running()[cell]
    os.kill(pid, signal.SIGSTOP)  # else it might write the next one in between
    damage(chaos.scene.folders()[cell].checkpoint, chaos.draw)
    chaos.kill(pid)
    return Harm((cell,), processes=(pid,))


def damage_stopped(chaos: Chaos) -> Harm | None:
    """The driver is killed, its cells stop, and the checkpoint of one is damaged before the next begins."""
    cell = chaos.a_running_cell()
    if cell is None:
        return None
    folder, pid = chaos.scene.folders()[cell], chaos.scene.running()[cell]
    chaos.kill(chaos.driver.pid)
    chaos.driver.wait()
    wait_until(lambda: not psutil.pid_exists(pid), 60)
    if folder.checkpoint.exists():
        chaos.draw.choice((_truncate, _flip))(folder.checkpoint, chaos.draw)
    return Harm((cell,), processes=(pid,))


def damage_result(chaos: Chaos) -> Harm | None:
    cell = chaos.a_done_cell()
    if cell is None:
        return None
    folder = chaos.scene.folders()[cell]
    chaos.draw.choice((_truncate, _flip, _empty))(folder.path / "result.json", chaos.draw)
    return Harm((cell,), lambda: folder.result() is not None)


def damage_index(chaos: Chaos) -> Harm | None:
    file = chaos.scene.runs / "index.db"
    if not file.exists():
        return None
    chaos.draw.choice((_truncate, _scramble))(file, chaos.draw)
    return Harm((), lambda: _is_whole(file))


def spoil_history(chaos: Chaos) -> Harm | None:
    cell = chaos.a_running_cell()
    if cell is None:
        return None
    pid = chaos.scene.running()[cell]
    os.kill(pid, signal.SIGSTOP)
    with chaos.scene.folders()[cell].history.open("ab") as file:
        file.write(b'{"step": 99, "losses": {"dep\0\xff')
    chaos.kill(pid)
    return Harm((cell,), processes=(pid,))


def jump_clock(chaos: Chaos) -> Harm | None:
    """The time of day of driver and cells, and the times of the files of running cells."""
    running = chaos.scene.running()
    if not running:
        return None
    jump = chaos.draw.choice(JUMPS)
    if chaos.scene.clock is not None:
        chaos.scene.clock.write_text(f"{jump}\n")
    for cell in running:
        for file in chaos.scene.folders()[cell].path.rglob("*"):
            with suppress(OSError):
                os.utime(file, times=(time.time() + jump,) * 2)
    return Harm(tuple(running))


def _truncate(file: Path, draw: random.Random) -> None:
    os.truncate(file, draw.randrange(file.stat().st_size))


def _flip(file: Path, draw: random.Random) -> None:
    """One bit, in place."""
    data = bytearray(file.read_bytes())
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    with file.open("r+b") as opened:
        opened.write(data)


def _empty(file: Path, draw: random.Random) -> None:
    os.truncate(file, 0)


def _scramble(file: Path, draw: random.Random) -> None:
    """Noise in the first page, and in another."""
    with file.open("r+b") as opened:
        for place in (0, 4096 * draw.randrange(1, max(2, file.stat().st_size // 4096))):
            opened.seek(place)
            opened.write(draw.randbytes(512))


def _is_whole(file: Path) -> bool:
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=1)) as connection:
            return bool(connection.execute("PRAGMA integrity_check").fetchone() == ("ok",))
    except sqlite3.Error:
        return False


Faults = Mapping[str, tuple[Fault, int]]
"""Name -> what it does, and how often it comes among about fifty."""
FAULTS: Faults = {
    "kill -9 of a cell": (kill_cell, 11),
    "kill -9 of the driver": (kill_driver, 7),
    "kill -9 of the fork server": (kill_server, 4),
    "a truncated checkpoint of a running cell": (truncate_checkpoint, 4),
    "a corrupted result of a done cell": (damage_result, 4),
    DISK: (fill_disk, 4),
    "a flipped bit in a checkpoint of a running cell": (flip_checkpoint, 4),
    "a damaged checkpoint of a stopped cell": (damage_stopped, 3),
    "a cell that stands still (SIGSTOP)": (stop_cell, 3),
    "a jump of the clock": (jump_clock, 3),
    "garbage at the end of a history": (spoil_history, 2),
    "a corrupted index": (damage_index, 2),
}

RAY_FAULTS: Faults = {
    "kill -9 of a Ray worker": (kill_worker, 3),
    "kill -9 of a cell on Ray": (kill_cell, 2),
    "kill -9 of the driver of a Ray cluster": (kill_driver, 1),
    "kill -9 of a raylet": (kill_raylet, 1),
}


def schedule(count: int, draw: random.Random, faults: Faults = FAULTS) -> list[str]:
    """So many faults, each kind once before the shares count, in random order."""
    names = list(faults)[:count]
    rest = [name for name, (_, share) in faults.items() for _ in range(share - 1)]
    while len(names) < count:
        names.append(rest.pop(draw.randrange(len(rest))) if rest else draw.choice(list(faults)))
    draw.shuffle(names)
    return names
