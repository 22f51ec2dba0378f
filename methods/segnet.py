"""SegNets of the loss-balancing benchmarks: hard sharing in three sizes, dense, and cross-stitched.

The baselines of MTAN (Liu, Johns, Davison, "End-to-End Multi-Task Learning with Attention", CVPR 2019),
after its released code, lorenmt/mtan; balancers (PCGrad, CAGrad, Nash-MTL ...) are compared on the same
network. SegNet: Badrinarayanan, Kendall, Cipolla, "SegNet: A Deep Convolutional Encoder-Decoder
Architecture for Image Segmentation", PAMI 2017.

    D   = SegNet(image)                            encoder and decoder of five stages, see layers/segnet
    y_t = logits_t(conv3x3_t(D))                   `standard`, `wide`, `deep`: all tasks share D
    y_t = logits_t(conv3x3_t(D_t))                 `dense`, `cross`: every task has a SegNet of its own

`wide` has twice the channels in the last stage, `deep` twice the convolutions. In `dense` the tasks' networks
read the maps of a shared one, in `cross` all mix their maps. With one task `standard` is the single-task
network of the same papers.

Departures from the released code: predictions are raw (there log-softmax for classes and unit length for
normals are part of the network; here they are part of the tasks' losses and metrics), and images whose sides
are no multiples of 32 are padded. No loss weights are learned in the network (`logsigma`): the balancer
`uncertainty` has its own.
"""

from typing import Literal

from torch import Tensor, nn

from mtlbench.backbones.base import Backbone
from mtlbench.errors import MtlbenchError
from mtlbench.published import Rule, for_tasks
from mtlbench.registry import unknown
from mtlbench.tasks import Tasks

from .layers.segnet import WIDTHS, Split, initialise
from .layers.segnet_cross import Cross
from .layers.segnet_dense import Dense
from .layers.segnet_method import PREFIX, SegNetMethod, published_predictions

LAYOUTS = ("standard", "wide", "deep", "dense", "cross")
SPLIT = (
    Rule(PREFIX + r"(encoder|decoder)_block\.(\d+)\.", r"network.\1.\2.first."),
    Rule(PREFIX + r"conv_block_(enc|dec)\.(\d+)\.", r"network.\1oder.\2.rest."),
)
OWN = (Rule(r"(encoder|decoder)_block_t\.TASK\.", r"network.\1s.TASK."),)
DENSE = (Rule(r"decoder_block\.0\.", "network.unused."), Rule(r"(encoder|decoder)_block\.", r"network.\1."))
CROSS = (Rule(r"cs_unit_(encoder|decoder)$", r"network.\1_mix.weight"),)


class SegNet(SegNetMethod):
    """SegNet: hard sharing (standard, wide, deep), a dense or a cross-stitched network, of MTAN's benchmark.

    Args:
        backbone: none; the network is its own.
        tasks: what to predict.
        layout: `standard`, `wide` or `deep` (one network), `dense` or `cross` (one for each task).
        widths: channels of the five stages; `wide` doubles the last.
        variant: `corrected` or `published`.
        without: quirks of the variant to leave out.

    Quirks:
        unused_weights: there are three `logsigma`, which only the loss reads, and in `dense` a last shared
            stage that nothing reads; corrected: neither.
        one_mixture: in `cross` one sum of all tasks' maps, its weights 1 at the start, goes to all tasks;
            corrected: each task has weights of its own, at the start 0.9 for itself and in sum 1.
    """

    paper = "Badrinarayanan et al., PAMI 2017; Liu, Johns and Davison, CVPR 2019"
    code = "after the code released with MTAN, lorenmt/mtan"

    def __init__(
        self,
        backbone: Backbone | None,
        tasks: Tasks,
        *,
        layout: Literal["standard", "wide", "deep", "dense", "cross"] = "standard",
        widths: tuple[int, ...] = WIDTHS,
        variant: Literal["corrected", "published"] = "corrected",
        without: tuple[str, ...] = (),
    ) -> None:
        super().__init__(tasks, widths, method="segnet")
        if layout not in LAYOUTS:
            raise MtlbenchError(unknown("`layout` of segnet", layout, LAYOUTS))
        self.keep_quirks(variant, without)
        self.layout = layout
        self.network = self._network(widths)
        self.add_predictions(widths[0])
        initialise(self, uniform=layout in ("dense", "cross"))
        own = {"dense": DENSE, "cross": CROSS}.get(layout, SPLIT)
        self.published_keys = (*for_tasks(OWN, tasks), *own, *published_predictions(tasks))

    def _network(self, widths: tuple[int, ...]) -> nn.Module:
        if self.layout == "dense":
            widest = max(task.channels for task in self.tasks.values())
            return Dense(self.tasks, widths, unused=widest if "unused_weights" in self.quirks else None)
        if self.layout == "cross":
            return Cross(list(self.tasks), widths, one_mix="one_mixture" in self.quirks)
        if self.layout == "wide":
            widths = (*widths[:-1], 2 * widths[-1])
        return Split(self.tasks, widths, doubled=self.layout == "deep")

    @property
    def dead_parameters(self) -> tuple[str, ...]:
        """What released code has and nothing reads."""
        return (*super().dead_parameters, "network.unused.")

    @property
    def task_blocks(self) -> dict[str, tuple[int, list[str]]]:
        """The weights of mixtures have a column for each task."""
        mixes = (name for name, _ in self.network.named_parameters() if "_mix." in name)
        return {f"network.{name}": (1, list(self.tasks)) for name in mixes}

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """Images (B, 3, H, W), sides multiples of 32 -> task -> (B, C_0, H, W)."""
        maps: dict[str, Tensor] = self.network(x)
        return maps
