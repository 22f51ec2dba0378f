"""A Slurm of one machine: jobs are local processes, their states are files in the folder `$FAKE_SLURM`.

Commands that a test puts first on the PATH call the functions of the same name here. Each `sbatch` leaves
one process behind that runs the tasks of the array; it ends with them, or when the file `stop` appears.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

FINAL = ("COMPLETED", "FAILED", "CANCELLED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT")
KILL_WAIT = 5.0
LONGEST = 300.0

Task = dict[str, Any]


class Cluster:
    """The tasks: `12_3` of arrays, `12` of single jobs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def tasks(self) -> Iterator[dict[str, Task]]:
        """All of them, to be read or changed; no one else changes them meanwhile."""
        file = self.folder / "tasks.json"
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            tasks = json.loads(file.read_text()) if file.exists() else {}
            before = json.dumps(tasks)
            yield tasks
            if json.dumps(tasks) != before:
                temporary = file.with_suffix(".new")
                temporary.write_text(json.dumps(tasks))
                temporary.replace(file)

    def calls(self, command: str) -> list[list[str]]:
        """The arguments of each call of a command."""
        lines = (self.folder / "calls").read_text().splitlines()
        return [call[1:] for call in map(json.loads, lines) if call[0] == command]

    def states(self) -> dict[str, str]:
        with self.tasks() as tasks:
            return {name: task["state"] for name, task in tasks.items()}

    def preempt(self, name: str) -> None:
        """Send the notice that `--signal` asks for."""
        with self.tasks() as tasks:
            os.kill(tasks[name]["step"], signal.SIGUSR2)

    def fail_node(self, name: str) -> None:
        self.end(name, "NODE_FAIL")

    def end(self, name: str, state: str) -> None:
        """In this state, without a word of the job."""
        with self.tasks() as tasks:
            tasks[name]["state"] = state
            _kill(tasks[name])

    def stop(self) -> None:
        """End all that runs, and wait for it."""
        (self.folder / "stop").touch()
        deadline = time.monotonic() + 30
        while list(self.folder.glob("controller-*")) and time.monotonic() < deadline:
            time.sleep(0.02)


def _here() -> Cluster:
    cluster = Cluster(Path(os.environ["FAKE_SLURM"]))
    with (cluster.folder / "calls").open("a") as file:
        file.write(json.dumps([Path(sys.argv[0]).name, *sys.argv[1:]]) + "\n")
    return cluster


def sbatch() -> None:
    cluster, script = _here(), Path(sys.argv[1]).absolute()
    flags = re.findall(r"^#SBATCH --(.*)$", script.read_text(), re.MULTILINE)
    options = dict(("".join(shlex.split(flag)) + "=").split("=", 1) for flag in flags)
    options = {key: value.removesuffix("=") for key, value in options.items()}
    if options.get("partition") == "closed":
        sys.exit("sbatch: error: Batch job submission failed: invalid partition specified: closed")
    match = re.fullmatch(r"0-(\d+)%(\d+)", options.get("array", ""))
    with cluster.tasks() as tasks:
        job = 1 + max((task["job"] for task in tasks.values()), default=100)
        names = [f"{job}_{i}" for i in range(int(match[1]) + 1)] if match else [str(job)]
        task = {"job": job, "state": "PENDING", "options": options, "script": str(script), "runs": 0}
        tasks.update({name: dict(task) for name in names})
    (cluster.folder / f"controller-{job}").touch()
    text = script.read_text()
    (cluster.folder / f"{job}.sh").write_text(text)
    subprocess.Popen(
        [sys.executable, __file__, str(job), match[2] if match else "1"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=(cluster.folder / "controller.log").open("a"),
        start_new_session=True,
    )
    sys.stdout.write(f"Submitted batch job {job}\n")


def srun() -> None:
    """Become the command, with output going where the options say."""
    arguments = sys.argv[1:]
    files = {}
    while arguments[0].startswith("--"):
        option = arguments.pop(0)
        if option in ("--output", "--error"):
            files[option] = arguments.pop(0)
    cluster, name = _here(), os.environ["FAKE_SLURM_TASK"]
    array, _, index = name.partition("_")
    for stream, option in ((1, "--output"), (2, "--error")):
        path = files[option]
        for mark, value in {"%j": name, "%A": array, "%a": index, "%t": "0"}.items():
            path = path.replace(mark, value)
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    with cluster.tasks() as tasks:
        tasks[name]["step"] = os.getpid()
    os.execvp(arguments[0], arguments)


def sacct() -> None:
    """Also lines of steps, as the real one; waiting tasks of an array in one line."""
    if (_here().folder / "no_accounts").exists():
        sys.exit("Slurm accounting storage is disabled")
    sys.stdout.write("JobID|State\n")
    for name, state in _listed():
        sys.stdout.write(f"{name}|{state}\n")
        if state != "PENDING":
            sys.stdout.write(f"{name}.batch|{state.split()[0]}\n")


def squeue() -> None:
    _here()
    for name, state in _listed():
        sys.stdout.write(f"{name}|{state.split()[0]}\n")


def _listed() -> list[tuple[str, str]]:
    lines = []
    waiting: dict[str, list[int]] = {}
    for name, state in Cluster(Path(os.environ["FAKE_SLURM"])).states().items():
        if state == "PENDING" and "_" in name:
            waiting.setdefault(name.split("_")[0], []).append(int(name.split("_")[1]))
        else:
            lines.append((name, "CANCELLED by 0" if state == "CANCELLED" else state))
    lines += [(f"{job}_[{','.join(map(str, found))}%9]", "PENDING") for job, found in waiting.items()]
    return lines


def scancel() -> None:
    cluster = _here()
    options = [a for a in sys.argv[1:] if a.startswith("--")]
    wanted = [a for a in sys.argv[1:] if not a.startswith("--")]
    with cluster.tasks() as tasks:
        for name in wanted:
            task = tasks[name]
            if "--state=PENDING" in options and task["state"] != "PENDING":
                continue
            if "--signal=TERM" in options:
                if task["state"] == "RUNNING":
                    _signal(task, signal.SIGTERM)
            elif task["state"] in ("RUNNING", "REQUEUED"):
                task["cancelled"] = time.time()
                _signal(task, signal.SIGTERM)
            elif task["state"] == "PENDING":
                task["state"] = "CANCELLED"


def scontrol() -> None:
    """Of all that it can do, `requeue`."""
    assert sys.argv[1] == "requeue"
    with _here().tasks() as tasks:
        tasks[sys.argv[2]]["state"] = "REQUEUED"


def run_tasks(cluster: Cluster, job: str, most: int) -> None:
    """Until all tasks of a job have ended."""
    running: dict[str, subprocess.Popen[bytes]] = {}
    deadline = time.monotonic() + LONGEST
    while True:
        stopping = (cluster.folder / "stop").exists() or time.monotonic() > deadline
        with cluster.tasks() as tasks:
            ours = {name: task for name, task in tasks.items() if name.split("_")[0] == job}
            for name, task in ours.items():
                _update(task, running, name, stopping)
            for name, task in ours.items():
                if task["state"] == "PENDING" and len(running) < most and not stopping:
                    running[name] = _start(cluster, name, task)
            if not running and (stopping or all(task["state"] in FINAL for task in ours.values())):
                break
        time.sleep(0.05)
    (cluster.folder / f"controller-{job}").unlink()


def _update(task: Task, running: dict[str, subprocess.Popen[bytes]], name: str, stopping: bool) -> None:
    process = running.get(name)
    if process is None:
        return
    if stopping or ("cancelled" in task and time.time() - task["cancelled"] > KILL_WAIT):
        _kill(task)
    if process.poll() is None:
        return
    del running[name]
    if task["state"] == "REQUEUED":
        task["state"] = "PENDING"
    if "cancelled" in task:
        task["state"] = "CANCELLED"
    elif task["state"] == "RUNNING":
        task["state"] = "COMPLETED" if process.returncode == 0 else "FAILED"


def _start(cluster: Cluster, name: str, task: Task) -> subprocess.Popen[bytes]:
    array, _, index = name.partition("_")
    variables = {
        "FAKE_SLURM_TASK": name,
        "SLURM_JOB_ID": str(1000 * int(array) + int(index or 0)),
        "SLURM_JOB_NAME": task["options"]["job-name"],
        "SLURM_JOB_NODELIST": "localhost",
        "SLURM_JOB_NUM_NODES": "1",
        "SLURM_NTASKS": "1",
        "SLURM_NTASKS_PER_NODE": "1",
        "SLURM_NODEID": "0",
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
        "SLURM_CPUS_ON_NODE": "1",
    }
    variables |= {"SLURM_ARRAY_JOB_ID": array, "SLURM_ARRAY_TASK_ID": index} if index else {}
    if not index:
        variables["SLURM_JOB_ID"] = array
    task.pop("step", None)
    task.update(state="RUNNING", runs=task["runs"] + 1)
    process = subprocess.Popen(
        ["bash", str(cluster.folder / f"{array}.sh")], env=os.environ | variables, start_new_session=True
    )
    task["script_process"] = process.pid
    return process


def _signal(task: Task, number: int) -> None:
    if "step" in task:
        with suppress(ProcessLookupError):
            os.kill(task["step"], number)


def _kill(task: Task) -> None:
    _signal(task, signal.SIGKILL)
    if "script_process" in task:
        with suppress(ProcessLookupError):
            os.killpg(task["script_process"], signal.SIGKILL)


if __name__ == "__main__":
    run_tasks(Cluster(Path(os.environ["FAKE_SLURM"])), sys.argv[1], int(sys.argv[2]))
