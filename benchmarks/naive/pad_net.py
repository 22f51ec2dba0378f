"""PAD-Net, as in the code released with MTI-Net."""

from torch import Tensor

from mtlbench.model import Outputs
from naive.shared import NaiveForm, Size, concatenated, distilled, fused, resized


class NaivePadNet(NaiveForm):
    """Two convolutions for every ordered pair of tasks, one after the other."""

    def decode(self, features: list[Tensor], size: Size) -> Outputs:
        """Features (B, C_i, h_i, w_i) -> predictions (B, K_t, *size), initial ones (B, K_a, h_0, w_0)."""
        net = self.network
        x = fused(net.fuse, concatenated(features))
        found = {a: net.initial[a](x) for a in net.tasks}
        initial = {a: net.initial_logits[a](f) for a, f in found.items()}
        final = {}
        for t in net.main:
            refined = net.refine[t](distilled(net.distillation, found, t))
            final[t] = resized(net.final_logits[t](refined), size)
        return Outputs(final, {"initial": initial})
