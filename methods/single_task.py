"""The single-task baseline: the multi-task baseline's network, once per task.

What `delta_m` compares with. A grid row of it becomes one cell per task; each has a backbone of its own.
"""

from collections.abc import Iterable
from typing import ClassVar

from .multi_task import MultiTask


class SingleTask(MultiTask):
    """Single-task baseline: a network for each task, with the multi-task baseline's head."""

    paper = "Bruggemann et al., ICCV 2021"
    code = "the baseline in the released code, brdav/atrc"
    one_task: ClassVar[bool] = True

    @classmethod
    def unsupported(cls, tasks: Iterable[str], backbone: str) -> str | None:
        """More than one task: each has to be a network of its own."""
        names = list(tasks)
        if len(names) == 1:
            return None
        return f"one network per task, got {len(names)} tasks for one network ({', '.join(names)})"
