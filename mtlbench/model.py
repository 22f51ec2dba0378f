"""What every architecture promises."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.optim import Optimizer

from mtlbench.backbones.base import Backbone
from mtlbench.published import Rule
from mtlbench.search.spaces import Domain
from mtlbench.tasks import Tasks
from mtlbench.variants import kept_quirks


@dataclass
class Outputs:
    """Predictions of a network, raw (no activation).

    Attributes:
        final: task -> (B, K, H, W), at image size.
        auxiliary: endpoint -> task -> (B, C, h, w), at a scale of its own: deep supervision, resized to the
            labels for its loss (`Method.auxiliary_loss`), not evaluated.
    """

    final: dict[str, Tensor]
    auxiliary: dict[str, dict[str, Tensor]] = field(default_factory=dict)


class Method(nn.Module):
    """An architecture: a backbone and what makes predictions for all tasks of its features.

    A subclass's options are the keyword-only arguments of its constructor; it implements `decode`.
    """

    paper: ClassVar[str] = ""
    """Authors, venue and year, as `mtlbench list` shows them; a plain string, read without an import."""

    code: ClassVar[str] = ""
    """What it was written after, read likewise: "after the released code, OWNER/REPO", "our reading"."""

    needs_backbone: ClassVar[bool] = True
    """False: no backbone is built, and the constructor gets None."""

    inside_backbone: ClassVar[bool] = False
    """True: it looks into the backbone's blocks, so that no tuning can put another backbone in its place."""

    one_task: ClassVar[bool] = False
    """True: one network per task; a grid row of it becomes one cell per task."""

    published_keys: tuple[Rule, ...] = ()
    """How the state-dict keys of the published code become ours (`mtlbench.published`)."""

    variants: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Variants beside `corrected` and `published`, and the quirks that each keeps (`mtlbench.variants`)."""

    search_space: ClassVar[Mapping[str, Domain]] = {}
    """Option -> the values that it is sensible to tune it over; the default is one of them."""

    sample_mixing: ClassVar[tuple[str, ...]] = ()
    """The quirks that let the samples of a batch see each other, in evaluation too."""

    quirks: frozenset[str] = frozenset()
    """The quirks of the published code that this network keeps."""

    def __init__(self, backbone: Backbone, tasks: Tasks) -> None:
        super().__init__()
        self.backbone = backbone
        self.tasks = dict(tasks)

    def keep_quirks(self, variant: str, without: Sequence[str] = ()) -> None:
        """Set which quirks this network keeps: those of the variant but for the ones in `without`.

        Raises:
            MtlbenchError: no such variant, or it has no such quirk.
        """
        self.variant = variant
        self.quirks = kept_quirks(type(self), variant, without)

    @property
    def mixes_samples(self) -> bool:
        """Whether a prediction depends on the batch's other samples, in evaluation too."""
        return not self.quirks.isdisjoint(self.sample_mixing)

    @property
    def dead_parameters(self) -> tuple[str, ...]:
        """Prefixes of the names of parameters that reach no output, as some published code has them."""
        return ()

    @property
    def own_parameters(self) -> Mapping[str, tuple[str, ...]]:
        """Task -> prefixes of the names of parameters that only its predictions depend on.

        Only those need to be named that the graph shows to other tasks as well, because weights of several
        tasks are put together for one operation. Balancers treat parameters of one task as its own.
        """
        return {}

    @property
    def task_blocks(self) -> Mapping[str, tuple[int | tuple[int, ...], Sequence[str]]]:
        """Name of a state-dict entry -> axis, or axes, along which there is a block for each of these tasks.

        For networks that start from one for other tasks. Weights of one task go into entries that have the
        task in their names (`nn.ModuleDict`); where an operation needs those of several tasks in one tensor,
        this says whose is what. All blocks have the same size.
        """
        return {}

    @property
    def meanings(self) -> Mapping[str, str]:
        """Prefix of state-dict entries -> what they are for, where neither name nor shape says it.

        A network that starts from another takes over only what is for the same.
        """
        return {}

    @classmethod
    def auxiliary_tasks(cls, options: Mapping[str, Any]) -> tuple[str, ...]:
        """Tasks that a network with these options learns beside the cell's, without evaluating them."""
        return tuple(options.get("auxiliary", ()))

    @classmethod
    def unsupported(cls, tasks: Iterable[str], backbone: str) -> str | None:
        """Why it can't run on these tasks with this backbone, or None; asked before anything is built."""
        return None

    @classmethod
    def joins(cls, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
        """The method, by its name and options, whose trained networks of one task each a network with these
        options is put together of; None: it needs none. They become cells of their own, which are run first.
        """
        return None

    def check_size(self, size: tuple[int, int]) -> None:
        """Whether it takes images of this height and width; asked before anything starts, where a data set
        tells its images' size.

        Raises:
            MtlbenchError: it doesn't.
        """

    def name_of_joined(self, task: str, name: str) -> str:
        """An entry of the state dict of a task's trained network (`joins`) -> the name that it gets here."""
        return name

    def forward(self, images: Tensor) -> Outputs:
        """Normalised images (B, 3, H, W) -> predictions at (H, W)."""
        height, width = images.shape[-2:]
        features = self.backbone(images)
        if isinstance(features, dict):
            own = {task: [*map(laid_out, maps)] for task, maps in features.items()}
            return self.decode_each(own, (height, width))
        return self.decode([*map(laid_out, features)], (height, width))

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Outputs:
        """Four feature maps, fine to coarse, (B, C_i, h_i, w_i) -> predictions at `size` = (H, W)."""
        raise NotImplementedError

    def decode_each(self, features: Mapping[str, list[Tensor]], size: tuple[int, int]) -> Outputs:
        """Maps that each task has for itself, as some tunings make them -> predictions at `size` = (H, W).

        A task's predictions are those that `decode` makes of the task's own maps, so by default the whole
        decoder runs once a task. A method whose heads share nothing does it at the cost of one.
        """
        outputs = Outputs({})
        for task, maps in features.items():
            found = self.decode(maps, size)
            if task in found.final:
                outputs.final[task] = found.final[task]
            for endpoint, values in found.auxiliary.items():
                if task in values:
                    outputs.auxiliary.setdefault(endpoint, {})[task] = values[task]
        return outputs

    def auxiliary_loss(self, endpoint: str, task: str) -> Callable[[Tensor, Tensor], Tensor]:
        """The loss of an auxiliary prediction: (logits (B, C, H, W), labels) -> mean over valid pixels."""
        return self.tasks[task].loss

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 RGB (B, 3, H, W) -> what `forward` takes."""
        return self.backbone.normalise(images) if self.needs_backbone else images.float()

    def backbone_parameters(self) -> list[nn.Parameter]:
        """The parameters that start from the backbone's weights."""
        return list(self.backbone.parameters()) if self.needs_backbone else []

    def fit_constants(self, labels: Iterable[dict[str, Tensor]]) -> None:
        """Called once before training with batches of training labels, to set what is not trained."""

    def schedule(self, progress: float) -> None:
        """Called before each optimizer step with the share of training that is done, in [0, 1)."""

    def penalty(self, tasks: Collection[str]) -> Tensor | None:
        """A term of the loss that no balancer weighs, added once a step; `tasks` are those that train."""
        return None

    def own_optimizer(self) -> Optimizer | None:
        """An optimizer of the network's own, for parameters that the recipe's then leaves alone."""
        return None

    def findings(self) -> dict[str, Any]:
        """What training found beside weights, as JSON: it goes into the cell's result."""
        return {}


def laid_out(x: Tensor) -> Tensor:
    """A map (B, C, H, W), on a CPU contiguous: convolutions are slow there with channels last."""
    return x.contiguous() if x.is_cpu else x
