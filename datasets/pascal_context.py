"""PASCAL-Context: photographs of many sizes with semseg, body parts, saliency, normals and edges."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torchvision.tv_tensors import TVTensor

from mtlbench import tasks as make
from mtlbench.boundary.thinning import thin
from mtlbench.boundary.truth import true_boundaries
from mtlbench.data import Sample, Split, Transform, listing_fingerprint
from mtlbench.errors import DataError, MtlbenchError
from mtlbench.labels import ClassMap
from mtlbench.tasks import Tasks

from . import decoding, files, transforms
from .archive import Archive
from .mti import mti_with, outdoor
from .pascal_classes import CLASSES, HAS_NORMALS, PARTS
from .pascal_maps import laplacian, read_label_map
from .pascal_parts import ids_with_people, read_parts

log = logging.getLogger(__name__)

_SEMSEG = np.full(256, decoding.FORBIDDEN, np.uint8)
_SEMSEG[: len(CLASSES)] = range(len(CLASSES))
_SEMSEG[255] = 255
LONGEST_SIDE = 500
"""Of the archives' images."""
LABEL_MAP = "label map"
"""The key among files of the 459 classes that normals and edges are made with."""
SHORT_LIST = Path("ImageSets", "Context", "test_new.txt")
"""Where the list of the 2498 images with published boundary scores may lie."""

_ATRC = {
    "semseg": "miou.dataset.absent0",
    "human_parts": "parts.atrc",
    "sal": "sal.maxF.dataset.b0.3",
    "normals": "normals.mean.pixels.atan2",
    "edge": "edge.seism.pascal.odsF",
}
_MTLORA = {
    "semseg": "miou.dataset.absent0",
    "human_parts": "parts.mti_online",
    "sal": "sal.miou.image",
    "normals": "normals.mean.pixels.acos",
}


class PASCALContext(Archive):
    """PASCAL-Context: 4998 + 5105 photographs with semseg (21), body parts (7), saliency, normals and edges.

    Reads the archives `PASCALContext` (InvPT) and `PASCAL_MT` (MTI-Net, ATRC), which have the same tree.
    Saliency and normals are the outputs of networks. If `human_parts` is the only task, training images
    without a person are left out.

    Edges are made from the maps of 459 classes: for training wherever a class differs from its neighbours',
    for evaluation as SEISM outlines segments; both thinned. Published boundary scores are those of 2498 of
    the validation images: where the archive holds their list, `ImageSets/Context/test_new.txt`, only they
    have an `edge` label.

    Args:
        split: "train" or "val".
        tasks: the labels that samples hold.
        root: the unpacked archive, the folder that holds `JPEGImages`.
        size: "HEIGHTxWIDTH" of training crops, to which evaluation images are padded.
    """

    tasks: ClassVar[Tasks] = {
        task.name: task
        for task in (
            make.semseg(CLASSES),
            make.human_parts(PARTS),
            make.sal(),
            make.normals(),
            make.edge(pos_weight=0.95, protocol="edge.seism.pascal"),
        )
    }
    transforms: ClassVar[Mapping[str, Callable[[tuple[int, int]], Transform]]] = {
        **transforms.TRANSFORMS,
        "mti": mti_with(outdoor),
    }
    default_transform: ClassVar[str] = "atrc"
    published: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "DeGMix Table II": _ATRC,
        "DeGMix Table VII": _MTLORA,
        "ATRC, DeMT": _ATRC,
        "InvPT, TaskPrompter, MTMamba": {**_ATRC, "sal": "sal.maxF.dataset.b0.3.doublesigmoid"},
        "MTI-Net": {
            "semseg": "miou.dataset.absent0",
            "human_parts": "parts.skip_empty_in_file",
            "sal": "sal.miou.image.file",
            "normals": "normals.mean.pixels.file",
            "edge": "edge.mti.pascal.odsF",
        },
        "MTLoRA, DiTASK": _MTLORA,
    }

    title: ClassVar[str] = "PASCAL-Context"
    images: ClassVar[Mapping[Split, int]] = {"train": 4998, "val": 5105}
    other_labels: ClassVar[tuple[str, ...]] = ("edge",)

    def __init__(
        self,
        split: Split,
        tasks: Sequence[str],
        *,
        root: str = "data/PASCALContext",
        size: str = "512x512",
    ) -> None:
        self.size = files.parse_size(size)
        super().__init__(split, tasks, root)
        voc = self.root / "semseg" / "VOC12"
        self._in_voc = {path.stem for path in voc.iterdir()} if voc.is_dir() else set()
        self._outlined = self._short_list()
        self._read: tuple[str, np.ndarray] | None = None
        if split == "train" and self.requested == (transforms.PARTS,):
            self.ids = ids_with_people(self.root, self.ids)

    def list_ids(self, split: Split) -> list[str]:
        """The lines of `ImageSets/Context/{split}.txt`."""
        return files.read_ids(self.root / "ImageSets" / "Context" / f"{split}.txt")

    def _short_list(self) -> set[str] | None:
        """The images of val with published boundary scores, where the archive says which; None means all."""
        path = self.root / SHORT_LIST
        if self.split == "train" or not path.is_file():
            return None
        listed = set(files.read_ids(path))
        strays = sorted(listed - set(self.ids))
        if strays:
            raise DataError(
                f"{path} must name images of val.txt only, found {strays[0]!r} ({len(strays)} such)"
            )
        return listed

    @classmethod
    def prepare(cls, **options: Any) -> None:
        """See `Archive.prepare`; says which images boundaries are scored on.

        Raises:
            MtlbenchError: an evaluation image is larger than `size`.
        """
        super().prepare(**options)
        made = cls.open("val", **options)
        made._check_sizes()
        if made._outlined is None:
            log.info(
                "%s is not there: boundaries are scored on all %d validation images, where published scores"
                " are of 2498 of them",
                made.root / SHORT_LIST,
                len(made),
            )

    def as_evaluated(self) -> Self:
        """See `Dataset.as_evaluated`; edges are outlined as for scores.

        Raises:
            MtlbenchError: an image is larger than `size`.
        """
        self._check_sizes()
        return super().as_evaluated()

    def _check_sizes(self) -> None:
        """Whether every image of the split can be padded to `size`."""
        if min(self.size) < LONGEST_SIDE:
            for name in self._listed:
                self._check_fit(name, files.image_size(self.paths(name)["image"]))

    def paths(self, name: str) -> dict[str, Path]:
        """The picture and five files of labels; edges have none of their own."""
        semseg = "VOC12" if name in self._in_voc else "pascal-context"
        return {
            "image": self.root / "JPEGImages" / f"{name}.jpg",
            "semseg": self.root / "semseg" / semseg / f"{name}.png",
            "human_parts": self.root / "human_parts" / f"{name}.mat",
            "sal": self.root / "sal_distill" / f"{name}.png",
            "normals": self.root / "normals_distill" / f"{name}.png",
            LABEL_MAP: self.root / "pascal-context" / "trainval" / f"{name}.mat",
        }

    @property
    def decoding_options(self) -> str:
        """See `Archive.decoding_options`."""
        return "" if self._outlined is None else ",".join(sorted(self._outlined))

    def decode(self, what: str, name: str, size: files.Size | None) -> TVTensor | None:
        """See `Archive.decode`."""
        return _READERS[what](self, name, size)

    def pad(self, sample: Sample) -> Sample:
        """See `Archive.pad`; images must not be larger than `size`."""
        height, width = sample["image"].shape[-2:]
        self._check_fit(sample["id"], (height, width))
        return super().pad(sample)

    def _check_fit(self, name: str, found: files.Size) -> None:
        if found[0] > self.size[0] or found[1] > self.size[1]:
            raise MtlbenchError(
                f"`size` of pascal_context must hold every evaluation image, got"
                f" {self.size[0]}x{self.size[1]} where {name} has {found[0]}x{found[1]}"
            )

    def fingerprint(self) -> str:
        """A checksum of the names and sizes of the split's files, and of the list of outlined images."""
        extra = [] if self._outlined is None else [self.root / SHORT_LIST]
        return listing_fingerprint(
            [*(path for name in self.ids for path in self.paths(name).values()), *extra]
        )

    def label_map(self, name: str, size: files.Size | None) -> np.ndarray:
        """The map of 459 classes, (H, W) uint16; the last one is kept, since two tasks read it."""
        kept = self._read
        if kept is None or kept[0] != name:
            kept = self._read = name, read_label_map(self.paths(name)[LABEL_MAP], size)
        return kept[1]

    def _image(self, name: str, size: files.Size | None) -> TVTensor:
        return decoding.image(files.read_rgb(self.paths(name)["image"], size))

    def _semseg(self, name: str, size: files.Size | None) -> ClassMap:
        path = self.paths(name)["semseg"]
        return decoding.class_map(files.read_grey(path, size), _SEMSEG, path)

    def _parts(self, name: str, size: files.Size | None) -> ClassMap:
        assert size is not None, "masks are read for an image whose size is known"
        return ClassMap(torch.from_numpy(read_parts(self.paths(name)["human_parts"], size)))

    def _salient(self, name: str, size: files.Size | None) -> ClassMap:
        stored = files.read_grey(self.paths(name)["sal"], size)
        return ClassMap(torch.from_numpy((stored > 127).astype(np.uint8)))

    def _normals(self, name: str, size: files.Size | None) -> TVTensor:
        pixels = files.read_rgb(self.paths(name)["normals"], size)
        return decoding.coded_normals(pixels, HAS_NORMALS[self.label_map(name, size)])

    def _edge(self, name: str, size: files.Size | None) -> ClassMap | None:
        if self._outlined is not None and name not in self._outlined:
            return None
        classes = self.label_map(name, size)
        edges = true_boundaries(classes, "labels") if self.evaluated else thin(laplacian(classes) != 0)
        return ClassMap(torch.from_numpy(edges.astype(np.uint8)))


_READERS: Mapping[str, Callable[[PASCALContext, str, files.Size | None], TVTensor | None]] = {
    "image": PASCALContext._image,
    "semseg": PASCALContext._semseg,
    "human_parts": PASCALContext._parts,
    "sal": PASCALContext._salient,
    "normals": PASCALContext._normals,
    "edge": PASCALContext._edge,
}
