"""Protocols: which networks a setting means. One line a plugin; listing them imports nothing."""

plugins = {
    "protocol": {
        "joint": "mtlbench.protocols.joint:joint",
        "single_task": "mtlbench.protocols.single_task:single_task",
        "subsets": "mtlbench.protocols.subsets:subsets",
        "task_addition": "mtlbench.protocols.task_addition:task_addition",
        "leave_one_out": "mtlbench.protocols.leave_one_out:leave_one_out",
    }
}
