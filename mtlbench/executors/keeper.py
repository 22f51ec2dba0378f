"""Stands between a cell and a parent that kills its children as it ends, as Ray's workers do.

    python -m mtlbench.executors.keeper GRACE COMMAND...

runs the command and ends with its exit code, 128 + N where signal N ended it. SIGTERM and SIGABRT are passed
on. When the keeper is killed, the cell notices that its parent is gone, writes a checkpoint and ends; when
the keeper's own parent is gone, the cell gets a SIGTERM, and GRACE seconds later a SIGKILL.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

_INTERVAL = 0.1


def keep(command: Sequence[str], *, grace: float) -> int:
    """Run it to its end; `MTLBENCH_DRIVER` is the process that must stay the parent of this one."""
    parent = int(os.environ["MTLBENCH_DRIVER"])
    process = subprocess.Popen(command, env=os.environ | {"MTLBENCH_DRIVER": str(os.getpid())})
    for number in (signal.SIGTERM, signal.SIGABRT):
        signal.signal(number, lambda received, frame: process.send_signal(received))
    kill_at: float | None = None
    while (code := process.poll()) is None:
        if kill_at is None and os.getppid() != parent:
            kill_at = time.monotonic() + grace
            process.terminate()
        elif kill_at is not None and time.monotonic() > kill_at:
            process.kill()
        time.sleep(_INTERVAL)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(keep(sys.argv[2:], grace=float(sys.argv[1])))
