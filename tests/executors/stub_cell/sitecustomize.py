"""With this folder on PYTHONPATH, `mtlbench run-cell JOB` is a stub: its imports would take seconds.

The method's options say what it does: `steps` of so many `seconds`, one line of `history.jsonl` each; `kill`
at which step it kills itself. It stops and goes on as a cell does.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any


def run(job: dict[str, Any]) -> int:
    folder, options = Path(job["folder"]), job["cell"]["method"]["options"]
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    history, told = folder / "history.jsonl", ("OMP_NUM_THREADS", "SLURM_NTASKS")
    (folder / "environment.json").write_text(json.dumps({name: os.environ.get(name) for name in told}))
    done = len(history.read_text().splitlines()) if history.exists() else 0
    for step in range(done + 1, options["steps"] + 1):
        if asked or os.getppid() != int(os.environ["MTLBENCH_DRIVER"]):
            return 75
        time.sleep(options.get("seconds", 0))
        if step == options.get("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        with history.open("a") as file:
            file.write(json.dumps({"step": step}) + "\n")
        (folder / "alive").touch()
    return 0


if "run-cell" in sys.orig_argv:
    os._exit(run(json.loads(Path(sys.orig_argv[-1]).read_text())))
