"""A keeper, and what becomes of its process when one of those around it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

KEEPER = [sys.executable, "-m", "mtlbench.executors.keeper", "30"]
CELL = """
import os, signal, sys, time
asked = []
signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
open(sys.argv[1], "w").write(f"{os.environ['MTLBENCH_DRIVER']} {os.getpid()}\\n")
while not asked:
    time.sleep(0.02)
open(sys.argv[1], "a").write("stopped")
sys.exit(75)
"""


def command(out: Path) -> list[str]:
    return [*KEEPER, sys.executable, "-c", CELL, str(out)]


def wait_for(out: Path, words: int) -> list[str]:
    deadline = time.monotonic() + 60
    while not out.exists() or len(out.read_text().split()) < words:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return out.read_text().split()


def test_it_passes_signals_and_exit_codes_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    environment = os.environ | {"MTLBENCH_DRIVER": str(os.getpid())}
    with subprocess.Popen(command(out), env=environment) as keeper:
        assert wait_for(out, 2)[0] == str(keeper.pid)
        keeper.terminate()
        assert keeper.wait(60) == 75


@pytest.mark.parametrize(("code", "expected"), [("raise SystemExit(3)", 3), ("import os; os.abort()", 134)])
def test_it_ends_as_its_process_does(code: str, expected: int) -> None:
    environment = os.environ | {"MTLBENCH_DRIVER": str(os.getpid())}
    done = subprocess.run([*KEEPER, sys.executable, "-c", code], env=environment, timeout=60, check=False)
    assert done.returncode == expected


def test_its_process_is_asked_to_stop_when_its_parent_is_gone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    start = (
        "import os, subprocess, sys; "
        "subprocess.Popen(sys.argv[1:], env=os.environ | {'MTLBENCH_DRIVER': str(os.getpid())}).wait()"
    )
    with subprocess.Popen([sys.executable, "-c", start, *command(out)]) as parent:
        kept = psutil.Process(int(wait_for(out, 2)[1]))
        parent.send_signal(signal.SIGKILL)
    assert wait_for(out, 3)[2] == "stopped"
    psutil.wait_procs([kept], timeout=60)
    assert not kept.is_running()
