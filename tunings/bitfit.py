"""BitFit (Ben Zaken et al. 2022): of the backbone, biases train."""

from mtlbench.errors import MtlbenchError
from mtlbench.model import Method
from mtlbench.tuning import BackboneMode, Tuning, freeze_backbone, named_parameters, norm_parameters, train

from .layers.passes import WHY_NOT_MERGED, one_for_each_task


class BitFit(Tuning):
    """BitFit: of the backbone only the biases train, and the whole decoder.

    Args:
        norms: the scales of normalisation layers train as well (their offsets are biases).
        also: what else of the backbone trains: all parameters with one of these in their names.
        per_task: each task has all of that, and a pass of the encoder, of its own.
        backbone_mode: `eval` keeps the statistics of batch normalisation and every path.
    """

    def __init__(
        self,
        *,
        norms: bool = False,
        also: tuple[str, ...] = (),
        per_task: bool = False,
        backbone_mode: BackboneMode = "train",
    ) -> None:
        self.norms = norms
        self.also = also
        self.per_task = per_task
        self.backbone_mode = backbone_mode

    def apply(self, network: Method) -> Method:
        if not network.needs_backbone:
            return network
        backbone = network.backbone
        freeze_backbone(network, self.backbone_mode)
        biases = [p for name, p in backbone.named_parameters() if name.endswith("bias")]
        if not biases:
            raise MtlbenchError("`bitfit` needs a backbone with biases; this one has none")
        train([*biases, *named_parameters(backbone, self.also, option="also")])
        if self.norms:
            train(norm_parameters(backbone))
        if self.per_task:
            one_for_each_task(network)
        return network

    def merge(self, network: Method) -> str | None:
        return WHY_NOT_MERGED if self.per_task and network.needs_backbone else None
