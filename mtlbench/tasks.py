"""What a task is: all that differs between semseg, human_parts, sal, edge, normals and depth, in one place
each.

No other code asks for a task's name. A data set holds its tasks as a mapping name -> `Task`; the factories
below make them. Losses and default primary variants are those of the ATRC code family (ATRC, MQTransformer,
DeMT, DeGMix); `primary` may be any variant that the catalogue has for the task (`mtlbench.catalogue`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import torch
from torch import Tensor
from torchvision.tv_tensors import TVTensor

from mtlbench import catalogue, constants, drawing, losses
from mtlbench.boundary.protocols import find_protocol
from mtlbench.ignored import IGNORE
from mtlbench.labels import ClassMap, Depth, Normals

if TYPE_CHECKING:
    from torchmetrics import Metric

Draw = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One dense prediction task of one data set.

    Attributes:
        name: the field's name (`semseg`, `depth`, ...), key of labels and predictions.
        channels: of the network's output.
        label_type: the TVTensor class of its labels (`mtlbench.labels`).
        fill: the label value that means "no label here": 255 for class maps, 0 for depth and normals.
        loss: (logits (B, C, H, W), labels) -> scalar mean over valid pixels, 0 where no pixel is valid.
        valid: labels -> bool mask (B, H, W) of the pixels that have a label.
        metric: makes a fresh torchmetrics metric; its `update(logits, labels)` takes what `loss` takes, its
            `compute()` returns a dict from variant name (`miou.dataset.absent0`) to a float.
        primary: the variant that tables show and `delta_m` compares.
        higher_is_better: direction of `primary`.
        column: short heading of `primary` in tables, without an arrow.
        scale: what `primary` is multiplied with for display (100 shows a share as a percentage).
        weight: the weight that the published recipes give this task's loss (balancer `fixed`).
        decode: logits (B, C, H, W) -> predictions in the form of labels.
        constant: labels -> logits (C,), the constant prediction that suits `primary` best.
        draw: (one label or decoded prediction as array, the label to take the colour scale from) -> (H, W, 3)
            uint8.
        classes: names of the classes, where there are any.
    """

    name: str
    channels: int
    label_type: type[TVTensor]
    fill: int
    loss: Callable[[Tensor, Tensor], Tensor]
    valid: Callable[[Tensor], Tensor]
    metric: Callable[[], Metric]
    primary: str
    higher_is_better: bool
    column: str
    scale: float
    weight: float
    decode: Callable[[Tensor], Tensor]
    constant: Callable[[Tensor], Tensor]
    draw: Draw
    classes: tuple[str, ...] = ()


Tasks = Mapping[str, Task]


def valid_classes(labels: Tensor) -> Tensor:
    """(B, H, W) -> bool (B, H, W)."""
    return labels != IGNORE


def semseg(classes: Sequence[str], *, primary: str = "miou.dataset.absent0") -> Task:
    """Semantic segmentation: cross-entropy; by default mIoU over all classes (absent ones count as 0)."""
    metric = _scores("SegmentationScores", len(classes))
    return _classification("semseg", classes, metric, primary, weight=1.0, draw=drawing.draw_classes)


def human_parts(classes: Sequence[str], *, primary: str = "parts.atrc") -> Task:
    """Human part segmentation, background counted; images without a person are ignored (labels all 255)."""
    metric = _scores("PartsScores", len(classes))
    return _classification("human_parts", classes, metric, primary, weight=2.0, draw=drawing.draw_parts)


def _scores(name: str, *arguments: Any, **options: Any) -> Callable[[], Metric]:
    """Makes a metric of `mtlbench.metrics`, imported only then: torchmetrics takes longer than torch."""

    def make() -> Metric:
        from mtlbench import metrics

        metric: Metric = getattr(metrics, name)(*arguments, **options)
        return metric

    return make


def _classification(
    name: str,
    classes: Sequence[str],
    metric: Callable[[], Metric],
    primary: str,
    *,
    weight: float,
    draw: Draw,
) -> Task:
    return Task(
        name=name,
        channels=len(classes),
        label_type=ClassMap,
        fill=IGNORE,
        loss=losses.cross_entropy,
        valid=valid_classes,
        metric=metric,
        **_shown(name, primary),
        weight=weight,
        decode=_argmax,
        constant=partial(constants.class_frequencies, num_classes=len(classes)),
        draw=draw,
        classes=tuple(classes),
    )


class _Shown(TypedDict):
    """What the catalogue says of a primary variant."""

    primary: str
    higher_is_better: bool
    column: str
    scale: float


def _shown(task: str, primary: str) -> _Shown:
    variant = catalogue.find(task, primary)
    return _Shown(
        primary=primary,
        higher_is_better=variant.higher_is_better,
        column=variant.column,
        scale=variant.scale,
    )


def sal(*, primary: str = "sal.maxF.dataset.b0.3") -> Task:
    """Saliency: class-balanced cross-entropy on two channels, maximal F (beta^2 = 0.3) over the data set."""
    return Task(
        name="sal",
        channels=2,
        label_type=ClassMap,
        fill=IGNORE,
        loss=losses.balanced_cross_entropy,
        valid=valid_classes,
        metric=_scores("SaliencyScores"),
        **_shown("sal", primary),
        weight=5.0,
        decode=_argmax,
        constant=constants.always_positive,
        draw=drawing.draw_binary,
        classes=("background", "salient"),
    )


def edge(pos_weight: float = 0.95, protocol: str = "edge.seism.nyud") -> Task:
    """Boundary detection: weighted binary cross-entropy on one logit, odsF of `protocol`.

    Positives weigh `pos_weight`; published: 0.8 on NYUD-v2, 0.95 on PASCAL-Context. Protocols are those of
    `mtlbench.boundary.protocols`.
    """
    if not 0 < pos_weight < 1:
        raise ValueError(f"`pos_weight` must lie between 0 and 1, got {pos_weight}")
    return Task(
        name="edge",
        channels=1,
        label_type=ClassMap,
        fill=IGNORE,
        loss=partial(losses.weighted_binary_cross_entropy, pos_weight=pos_weight),
        valid=valid_classes,
        metric=_scores("BoundaryScores", protocol, pos_weight=pos_weight),
        primary=f"{find_protocol(protocol).name}.odsF",
        higher_is_better=True,
        column="odsF",
        scale=100.0,
        weight=50.0,
        decode=lambda logits: logits.sigmoid()[:, 0],
        constant=partial(constants.positive_logit, pos_weight=pos_weight),
        draw=drawing.draw_binary,
    )


def depth(*, primary: str = "depth.rmse.pixels", batch: int = 2) -> Task:
    """Monocular depth in metres: L1 loss, root mean square error over all valid pixels of the data set.

    Variants that are means over batches (`depth.abs_err`) take `batch` images for one.
    """
    return Task(
        name="depth",
        channels=1,
        label_type=Depth,
        fill=0,
        loss=losses.depth_l1,
        valid=losses.valid_depth,
        metric=_scores("DepthScores", batch=batch),
        **_shown("depth", primary),
        weight=1.0,
        decode=lambda logits: logits.clamp(min=0),
        constant=constants.mean_depth,
        draw=drawing.draw_depth,
    )


def normals(*, primary: str = "normals.mean.pixels.atan2", batch: int = 2) -> Task:
    """Surface normals: L1 on normalised predictions, mean angle in degrees over all valid pixels.

    Variants that are means over batches (`normals.mean.batches`) take `batch` images for one.
    """
    return Task(
        name="normals",
        channels=3,
        label_type=Normals,
        fill=0,
        loss=losses.normals_l1,
        valid=losses.valid_normals,
        metric=_scores("NormalsScores", batch=batch),
        **_shown("normals", primary),
        weight=10.0,
        decode=lambda logits: torch.nn.functional.normalize(logits, dim=1),
        constant=constants.mean_normal,
        draw=drawing.draw_normals,
    )


def _argmax(logits: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H, W) class ids."""
    return logits.argmax(dim=1)
