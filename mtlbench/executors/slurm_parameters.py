"""What is asked of Slurm for a cell: parameters that the user gives, and those that follow from the cell."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mtlbench.errors import MissingExtra, MtlbenchError
from mtlbench.options import Problem
from mtlbench.registry import unknown
from mtlbench.spec import Execution

ROOM_MINUTES = 5
"""Of a job beyond its cell's time limit: to start, and to write a checkpoint."""
ROOM_GB = 1.0
"""Of a job beyond its cell's memory: so that the cell is ended with a reason before the kernel ends it."""
MANY_TIMEOUTS = 1000
"""A cell may take many jobs' time one after the other; one that makes no progress is ended as stuck."""

_FIXED = {
    "nodes": "a cell runs on one node",
    "ntasks_per_node": "a cell is one task",
    "tasks_per_node": "a cell is one task",
    "use_srun": "without srun Slurm's notice before a pre-emption does not arrive",
    "num_gpus": "use `gpus_per_node`",
}
_NUMBERS = ("time", "signal_delay_s", "array_parallelism", "cpus_per_task", "max_num_timeout")
_LISTS = ("setup", "teardown", "srun_args")
_GPUS = ("gpus_per_node", "gpus_per_task", "gres")
_CPUS = ("cpus_per_task", "cpus_per_gpu")
_MEMORY = ("mem", "mem_per_cpu", "mem_per_gpu")


def check_parameters(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Parameters under the names of submitit's Slurm executor, and all that is wrong with them.

    `name`, `timeout_min` and `mem_gb` stand for `job_name`, `time` and `mem`; a prefix `slurm_` is ignored.
    """
    parameters: dict[str, Any] = {}
    problems: list[Problem] = []
    for key, value in given.items():
        name = key.removeprefix("slurm_")
        place = f"--slurm {key}"
        if name in _FIXED:
            problems.append(Problem(place, f"can't be set: {_FIXED[name]}"))
        elif name not in valid_names():
            problems.append(Problem(place, unknown("parameter", name, valid_names())))
        else:
            name, value, problem = _read(name, value)
            problems += [Problem(place, problem)] if problem else []
            parameters[name] = value
    return parameters, problems


def valid_names() -> list[str]:
    """Those that a user may give."""
    slurm = _submitit_slurm()
    names = {*slurm._get_default_parameters(), *slurm.SlurmExecutor._equivalence_dict(), "max_num_timeout"}
    return sorted(names - set(_FIXED))


def parameters_of(execution: Execution, given: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters of the Slurm job of a cell; what the user gave comes before what the cell asks for.

    Raises:
        MtlbenchError: no time is known, or the cell wants a part of a GPU and the user does not say how.
    """
    parameters = {"job_name": "mtlbench", **given}
    problems = []
    if not any(key in given for key in _GPUS):
        parameters["gpus_per_node"] = execution.devices
        if execution.gpu < 1:
            problems.append(
                Problem(
                    "execution.gpu",
                    f"Slurm gives whole GPUs, got {execution.gpu:g}: set it to 1, or say how this cluster "
                    "shares them, for example --slurm gres=shard:1",
                )
            )
    if parameters.get("gpus_per_node") == 0:
        del parameters["gpus_per_node"]
    if "time" not in given:
        if execution.time_limit is None:
            text = "say how many minutes a Slurm job may take: --slurm time=600, or `execution.time_limit`"
            problems.append(Problem("--slurm time", text))
        else:
            parameters["time"] = math.ceil(execution.time_limit) + ROOM_MINUTES
    if problems:
        raise MtlbenchError("; ".join(map(str, problems)))
    if execution.memory_gb is not None and not any(key in given for key in _MEMORY):
        parameters["mem"] = _submitit_slurm()._convert_mem(execution.memory_gb + ROOM_GB)
    _add_cores(parameters, execution)
    extra = {"requeue": True, **parameters.get("additional_parameters", {})}
    return parameters | {"additional_parameters": extra}


def describe_array(parameters: Mapping[str, Any], command: str, folder: str, cells: int) -> str:
    """The batch file that submitit hands to sbatch."""
    options = {key: value for key, value in parameters.items() if key != "max_num_timeout"}
    count = cells if cells > 1 else None
    text: str = _submitit_slurm()._make_sbatch_string(command, folder, map_count=count, **options)
    return text


def _add_cores(parameters: dict[str, Any], execution: Execution) -> None:
    """Since Slurm 22.05 srun does not take over the batch file's `--cpus-per-task`: it is told again."""
    if (execution.threads or execution.workers) and not any(key in parameters for key in _CPUS):
        each = (execution.threads or 1) + execution.workers
        parameters["cpus_per_task"] = execution.devices * each
    if "cpus_per_task" in parameters:
        told = f"--cpus-per-task={parameters['cpus_per_task']}"
        parameters["srun_args"] = [told, *parameters.get("srun_args", [])]


def _read(name: str, value: Any) -> tuple[str, Any, str]:
    """The name that submitit knows, the value as it wants it, and what is wrong with it."""
    slurm = _submitit_slurm()
    if name == "mem_gb":
        good = isinstance(value, int | float) and value > 0
        return "mem", slurm._convert_mem(value) if good else value, "" if good else _must("a number", value)
    name = slurm.SlurmExecutor._equivalence_dict().get(name, name)
    if isinstance(value, str) and value.isdigit():
        value = int(value)
    if name in _LISTS:
        value = [value] if isinstance(value, str) else value
        return name, value, "" if isinstance(value, list) else _must("a list of commands", value)
    if name in _NUMBERS and not (isinstance(value, int) and value >= 1):
        unit = " of minutes" if name == "time" else ""
        return name, value, _must(f"a whole number{unit} >= 1", value)
    if name == "additional_parameters" and not isinstance(value, dict):
        return name, value, _must("a mapping of options of sbatch", value)
    return name, value, ""


def _must(be: str, value: Any) -> str:
    return f"must be {be}, got {value!r}"


def _submitit_slurm() -> Any:
    try:
        from submitit.slurm import slurm
    except ImportError as error:
        raise MissingExtra("submitit", "slurm", "--executor slurm") from error
    return slurm
