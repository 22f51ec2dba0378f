"""Shares of pixels and regions: class maps, saliency, boundaries."""

from mtlbench.catalogue.variant import (
    ATRC,
    INVPT,
    LIBMTL,
    MTAN,
    MTAN_LEGACY,
    MTI,
    MTI_FILES,
    MTI_ONLINE,
    MTLORA,
    OURS,
    Variant,
    region,
)  # fmt: skip

SEGMENTATION = (
    region(
        "miou.dataset.absent0",
        "mean IoU over all classes of counts over the data set; a class never seen counts as 0",
        f"{MTI}, {ATRC}, {INVPT}, {MTLORA}",
        tasks=("semseg", "human_parts"),
    ),
    region(
        "miou.dataset.absentnan",
        "mean IoU over all classes of counts over the data set; NaN if a class is never seen",
        f"{MTAN}, {LIBMTL}",
    ),
    region(
        "miou.image",
        "mean over images of the mean IoU over the classes in the image; predictions on void are wrong",
        MTAN_LEGACY,
    ),
    region(
        "pixacc.dataset", "share of the data set's pixels that are right", f"{MTAN}, {LIBMTL}", column="acc"
    ),
    region(
        "pixacc.image", "mean over images of the share of pixels that are right", MTAN_LEGACY, column="acc"
    ),
)


def _parts(name: str, left_out: str, published_by: str) -> Variant:
    text = f"mean IoU over all parts and background, without the images whose label is {left_out}"
    return region(f"parts.{name}", text, published_by, tasks=("human_parts",))


PARTS = (
    _parts("skip_empty_in_file", "0 everywhere or 255 everywhere; on files of native size", MTI_FILES),
    _parts("mti_online", "0 everywhere; at the network's size", f"{MTI_ONLINE}, {MTLORA}"),
    _parts("atrc", "0 or 255 everywhere, so also padded ones", f"{ATRC}, {INVPT}"),
)


def _saliency(name: str, text: str, published_by: str) -> Variant:
    column = "mIoU" if name.startswith("miou") else "maxF"
    return region(f"sal.{name}", text, published_by, tasks=("sal",), column=column)


_DATASET_F = "largest F (beta^2 = 0.3) over 19 thresholds, counts over the data set"
_IMAGE_F = "largest F (beta = 1) over 15 thresholds, of precision and recall averaged over images"
_IMAGE_IOU = "largest mean over images of the salient class's IoU over 15 thresholds; 1 where it is absent"
_SECOND_SIGMOID = "with a second sigmoid by mistake, which leaves 5 of the thresholds"
_EIGHT_BITS = "of probabilities cut to 8 bits"

SALIENCY = (
    _saliency("maxF.dataset.b0.3", _DATASET_F, ATRC),
    _saliency(
        "maxF.dataset.b0.3.doublesigmoid",
        f"{_DATASET_F}; {_SECOND_SIGMOID}",
        f"{INVPT}, {MTLORA} (Beta maxF)",
    ),
    _saliency(
        "miou.dataset", "largest IoU of the salient class over 19 thresholds, counts over the data set", OURS
    ),
    _saliency("maxF.image.b1", _IMAGE_F, f"{MTI_ONLINE}, {MTLORA} (maxF)"),
    _saliency("maxF.image.b1.file", f"{_IMAGE_F}; {_EIGHT_BITS}", MTI_FILES),
    _saliency("miou.image", _IMAGE_IOU, f"{MTI_ONLINE}, {MTLORA}"),
    _saliency("miou.image.file", f"{_IMAGE_IOU}; {_EIGHT_BITS}", MTI_FILES),
)


def _boundary(prefix: str, text: str, published_by: str) -> tuple[Variant, ...]:
    kinds = {
        "odsF": "F-measure of boundaries at the data set's best threshold",
        "oisF": "F-measure of boundaries at every image's best threshold",
        "AP": "average precision of boundaries",
    }
    return tuple(
        region(f"edge.{prefix}.{kind}", f"{words}; {text}", published_by, tasks=("edge",), column=kind)
        for kind, words in kinds.items()
    )


EDGE = (
    *_boundary(
        "seism.nyud",
        "non-maximum suppression, 101 thresholds, tolerance 0.011 of the diagonal",
        f"{ATRC}, {INVPT}",
    ),
    *_boundary(
        "seism.pascal",
        "non-maximum suppression, 101 thresholds, tolerance 0.0075 of the diagonal",
        f"{ATRC}, {INVPT}",
    ),
    *_boundary("mti.pascal", "no suppression, 99 thresholds, tolerance 0.0075 of the diagonal", MTI),
    *_boundary("bsds", "no suppression, 99 thresholds, tolerance 0.0075 of the diagonal", "py-bsds500"),
    Variant(
        "edge.loss",
        ("edge",),
        "weighted binary cross-entropy of training over the data set's pixels; no boundary score",
        "loss",
        False,
        "loss",
        OURS,
    ),
    Variant(
        "edge.loss.meter",
        ("edge",),
        "the published meters' loss, which takes probabilities for logits; only to compare logs with",
        "loss",
        False,
        "loss",
        f"{MTI}, {INVPT}, MTLoRA",
    ),
)
