"""Who may run which cell: drivers that contend, die, pause, or lose the database."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from postgres_server import PostgresServer

from mtlbench import claims as module
from mtlbench.claims import Claims, is_gone, name_of_this_process
from mtlbench.store import Runs

TIMEOUT = 300


class Clock:
    """The monotonic clock of all claims of a test."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module.time, "monotonic", made.monotonic)
    return made


def claims(folder: Path, url: str | None, owner: str) -> Claims:
    return Claims(Runs(folder, url), owner, lease=60)


def test_a_cell_is_only_ours(tmp_path: Path, url: str | None, clock: Clock) -> None:
    mine, other = claims(tmp_path, url, "mine"), claims(tmp_path, url, "other")
    assert mine.take(["a", "b"]) == {"a", "b"}
    assert other.take(["b", "c"]) == {"c"}
    assert mine.take(["a", "c"]) == {"a"}, "what we have stays ours"
    assert mine.others() == {"c": "other"}
    mine.release(["b"])
    assert other.take(["b"]) == {"b"}
    other.release()
    assert mine.others() == {}
    assert mine.take(["b", "c"]) == {"b", "c"}
    elsewhere = claims(tmp_path / "elsewhere", url, "elsewhere")
    assert elsewhere.take(["a"]) == {"a"}, "another folder of runs has cells of its own"


def test_a_lease_runs_out_by_the_clock_of_who_waits(tmp_path: Path, url: str | None, clock: Clock) -> None:
    mine, other = claims(tmp_path, url, "mine"), claims(tmp_path, url, "other")
    mine.take(["a", "b", "c"])
    assert other.take(["a"]) == set()
    clock.now += 59
    assert other.take(["a"]) == set()
    assert mine.renew() == set()
    clock.now += 59
    assert other.take(["a"]) == set(), "it has shown that it lives"
    clock.now += 61
    assert other.take(["a"]) == {"a"}
    clock.now += 1
    assert mine.renew() == {"a"}, "it was only paused, and keeps what nobody took"
    assert other.take(["a", "b", "c"]) == {"a"}
    assert mine.take(["a", "b", "c"]) == {"b", "c"}


def test_renewing_writes_now_and_then(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = claims(tmp_path, None, "mine")
    mine.take(["a"])
    transactions = []
    transact = Runs.transact
    monkeypatch.setattr(
        Runs,
        "transact",
        lambda runs, work, *, write: transactions.append(write) or transact(runs, work, write=write),
    )
    for _ in range(100):
        clock.now += 1
        mine.renew()
    assert 5 < len(transactions) < 10


@pytest.mark.parametrize("count", [200])
def test_processes_that_contend_share_all_cells(tmp_path: Path, url: str | None, count: int) -> None:
    script = str(Path(__file__).with_name("claiming.py"))
    drivers = [
        subprocess.Popen(
            [sys.executable, script, str(tmp_path), url or "", str(first), str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for first in (0, count // 2)
    ]
    try:
        for driver in drivers:
            assert driver.stdout is not None
            assert driver.stdout.readline() == "ready\n"
        for driver in drivers:
            _tell(driver)
        taken = [set(driver.stdout.readline().split()) for driver in drivers if driver.stdout]
        assert not taken[0] & taken[1]
        assert len(taken[0] | taken[1]) == count
        more = max((0, 1), key=lambda i: len(taken[i]))  # on a busy machine one may come too late for any
        third = Claims(Runs(tmp_path, url))
        assert third.take(taken[more]) == set()
        os.kill(drivers[more].pid, signal.SIGKILL)
        drivers[more].wait(TIMEOUT)
        assert third.take(taken[0] | taken[1]) == taken[more], "a process of this machine is known to be gone"
    finally:
        for driver in drivers:
            driver.kill()
            driver.communicate(timeout=TIMEOUT)


def _tell(driver: "subprocess.Popen[str]") -> None:
    assert driver.stdin is not None
    driver.stdin.write("go\n")
    driver.stdin.flush()


def test_the_wall_clock_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, other = claims(tmp_path, None, "mine"), claims(tmp_path, None, "other")
    mine.take(["a"])
    other.take(["a"])
    for jump in (10**6, -(10**6)):
        monkeypatch.setattr(module.time, "time", lambda jump=jump: jump)
        assert other.take(["a"]) == set()
        assert mine.renew() == set()


def test_who_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = name_of_this_process()
    host, process, start, machine, instance = ours.rsplit(":", 4)
    assert not is_gone(ours)
    assert ours != name_of_this_process(), "two in one process differ"
    assert is_gone(":".join((host, process, f"{int(start) + 1}", machine, instance))), (
        "the number was used again"
    )
    assert not is_gone(":".join((host, "999999999", start, "another machine", instance)))
    assert is_gone(":".join((host, "999999999", start, machine, instance)))
    assert not is_gone("some name")


def test_without_the_database_the_locks_have_to_do(
    tmp_path: Path, server: PostgresServer, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    mine, other = claims(tmp_path, server.url, "mine"), claims(tmp_path, server.url, "other")
    assert other.take(["b"]) == {"b"}
    server.stop()
    try:
        assert mine.take(["a", "b"]) == {"a", "b"}
        assert mine.renew() == set()
        assert mine.others() == {}
        mine.release(["c"])
        assert caplog.text.count("other drivers of this store can't be seen") == 1
    finally:
        server.start()
    assert mine.renew() == {"b"}, "the other one had it"
    assert other.take(["a"]) == set()


def test_claims_survive_a_new_index(tmp_path: Path, clock: Clock) -> None:
    mine, other = claims(tmp_path, None, "mine"), claims(tmp_path, None, "other")
    mine.take(["a"])
    Runs(tmp_path).reindex()
    assert other.take(["a"]) == set()
    (tmp_path / "index.db").write_bytes(b"damaged" * 1000)
    assert mine.renew() == set()
    assert other.take(["a"]) == set()
