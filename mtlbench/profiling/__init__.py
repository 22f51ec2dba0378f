"""What networks cost: parameters, multiply-accumulates in two conventions, time and memory.

* **MACs** (`count_macs`): all convolutions (deformable and transposed ones too) and all matrix products of
  one image, those of attention included, and nothing else.
* **Module MACs** (`count_module_macs`): what a counter sees that hooks modules, as the published tables of
  the ATRC code family were made. Products and operators that aren't modules are not seen.

A published module may do in one operator what ours does in a module, or hand its attention tensors of other
shapes. Such a module of ours has a method

    def module_macs(self, inputs: tuple[Any, ...], output: Any, counted: Mapping[str, int]) -> int

that returns its count as the published module would have it, in place of its own and that of all modules in
it. `inputs` are the positional arguments of its forward pass, `counted` has what was counted in each module
that it called, by its name relative to this one (`"offsets"`). `conv_macs`, `linear_macs`, `norm_macs` and
`attention_macs` help where layers are given other shapes.
"""

from mtlbench.profiling.modules import (
    attention_macs,
    conv_macs,
    count_module_macs,
    linear_macs,
    norm_macs,
)
from mtlbench.profiling.networks import Counts, count_cell, count_network
from mtlbench.profiling.products import count_macs, count_parameters

__all__ = [
    "Counts",
    "attention_macs",
    "conv_macs",
    "count_cell",
    "count_macs",
    "count_module_macs",
    "count_network",
    "count_parameters",
    "linear_macs",
    "norm_macs",
]
