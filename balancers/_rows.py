"""State with one number per task and parameter, for balancers that keep rows."""

import torch
from torch import Tensor, nn

from mtlbench.errors import MtlbenchError


def state_of_rows(balancer: nn.Module, name: str, num_tasks: int, rows: Tensor) -> Tensor:
    """The buffer `name` (num_tasks, P), on the device of the rows (T, P); zeros on first use.

    Raises:
        MtlbenchError: it is from gradients of another length.
    """
    state = balancer.get_buffer(name)
    if state.shape[1] == 0:
        kind = torch.promote_types(rows.dtype, torch.float32)
        state = torch.zeros(num_tasks, rows.shape[1], dtype=kind, device=rows.device)
    elif state.shape[1] != rows.shape[1]:
        raise MtlbenchError(
            f"the balancer's state `{name}` is for {state.shape[1]} shared parameters, not {rows.shape[1]}"
        )
    state = state.to(rows.device)
    balancer.register_buffer(name, state)
    return state


def of_active(state: Tensor, active: Tensor) -> Tensor:
    """The rows of the active tasks; without a copy where these are all."""
    return state if len(active) == len(state) else state[active.to(state.device)]
