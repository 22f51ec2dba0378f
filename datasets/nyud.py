"""NYUD-v2: 1449 indoor photographs with semseg, depth, normals and edges, from either published archive."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from torchvision.tv_tensors import TVTensor

from mtlbench import tasks as make
from mtlbench.data import Split, Transform
from mtlbench.errors import DataError
from mtlbench.labels import ClassMap, Normals
from mtlbench.tasks import Tasks

from . import decoding, files, transforms
from .archive import Archive

CLASSES = (
    "wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture",
    "counter", "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror", "floor mat",
    "clothes", "ceiling", "books", "refridgerator", "television", "paper", "towel", "shower curtain", "box",
    "whiteboard", "person", "night stand", "toilet", "sink", "lamp", "bathtub", "bag", "otherstructure",
    "otherfurniture", "otherprop",
)  # fmt: skip
"""The 40 classes in the archives' order and spelling; a file stores index + 1, and 0 for "unlabelled"."""


@dataclass(frozen=True)
class Flavour:
    """One of the two published archives: the suffix of the files in each folder."""

    name: str
    suffixes: Mapping[str, str]


NYUDV2 = Flavour(
    "NYUDv2", {"images": ".png", "segmentation": ".png", "depth": ".npy", "normals": ".png", "edge": ".png"}
)
NYUD_MT = Flavour(
    "NYUD_MT", {"images": ".jpg", "segmentation": ".png", "depth": ".npy", "normals": ".npy", "edge": ".npy"}
)
FOLDERS: Mapping[str, str] = {
    "image": "images",
    "semseg": "segmentation",
    "depth": "depth",
    "normals": "normals",
    "edge": "edge",
}
_TABLE = np.full(256, decoding.FORBIDDEN, np.uint8)
_TABLE[: len(CLASSES) + 1] = [255, *range(len(CLASSES))]
FLAVOURS = {flavour.name: flavour for flavour in (NYUDV2, NYUD_MT)}

_ATRC = {
    "semseg": "miou.dataset.absent0",
    "depth": "depth.rmse.pixels",
    "normals": "normals.mean.pixels.atan2",
    "edge": "edge.seism.nyud.odsF",
}


class NYUD(Archive):
    """NYUD-v2: 795 + 654 indoor photographs with semseg (40 classes), depth, normals and edges.

    Reads the archives `NYUDv2` (InvPT; png) and `NYUD_MT` (MTI-Net, ATRC; jpg and npy), told apart by files.
    Normals are used as stored (x right).

    Args:
        split: "train" or "val" (the test images).
        tasks: the labels that samples hold.
        root: the unpacked archive, the folder that holds `gt_sets`.
        size: "HEIGHTxWIDTH" of training crops, to which evaluation images are padded (InvPT: 448x576).
            Default: that of the split's first image, 425x560 in the real archives, which all must have.
    """

    tasks: ClassVar[Tasks] = {
        task.name: task
        for task in (make.semseg(CLASSES), make.depth(), make.normals(), make.edge(pos_weight=0.8))
    }
    transforms: ClassVar[Mapping[str, Callable[[tuple[int, int]], Transform]]] = transforms.TRANSFORMS
    default_transform: ClassVar[str] = "atrc"
    published: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "DeGMix Table I": _ATRC,
        "ATRC, DeMT": _ATRC,
        "InvPT": _ATRC,
        "TaskPrompter": {**_ATRC, "depth": "depth.range.rmse"},
        "MTI-Net": {"semseg": "miou.dataset.absent0", "depth": "depth.rmse.pixels"},
    }

    plausible: ClassVar[Mapping[str, tuple[float, float]]] = {"depth": (0.1, 15), "edge": (0.005, 0.15)}
    title: ClassVar[str] = "NYUD-v2"
    usual_size: ClassVar[files.Size] = (425, 560)
    images: ClassVar[Mapping[Split, int]] = {"train": 795, "val": 654}

    def __init__(
        self, split: Split, tasks: Sequence[str], *, root: str = "data/NYUDv2", size: str | None = None
    ) -> None:
        super().__init__(split, tasks, root)
        self.flavour = detect_flavour(self.root, self.ids[0])
        self.native = files.image_size(self._path("images", self.ids[0]))
        self.size = files.parse_size(size) if size else self.native

    def list_ids(self, split: Split) -> list[str]:
        """The lines of `gt_sets/{split}.txt`."""
        path = self.root / "gt_sets" / f"{split}.txt"
        if not path.is_file():
            found = ", ".join(sorted(entry.name for entry in self.root.iterdir())[:8]) or "nothing"
            raise DataError(f"{path} is required, but is not there; {self.root} holds {found}")
        return files.read_ids(path)

    def paths(self, name: str) -> dict[str, Path]:
        """One file for the image and one a task."""
        return {what: self._path(folder, name) for what, folder in FOLDERS.items()}

    def decode(self, what: str, name: str, size: files.Size | None) -> TVTensor:
        """See `Archive.decode`; every image must have the size of the split's first."""
        return _READERS[what](self._path(FOLDERS[what], name), size or self.native)

    def _path(self, folder: str, name: str) -> Path:
        return self.root / folder / f"{name}{self.flavour.suffixes[folder]}"


def detect_flavour(root: Path, name: str) -> Flavour:
    """Which archive this is, by the suffix of an image."""
    for flavour in FLAVOURS.values():
        if (root / "images" / f"{name}{flavour.suffixes['images']}").is_file():
            return flavour
    raise DataError(
        f"{root / 'images' / name}.png (NYUDv2) or .jpg (NYUD_MT) is required, but neither is there"
    )


def _read_semseg(path: Path, size: files.Size) -> ClassMap:
    return decoding.class_map(files.read_grey(path, size), _TABLE, path)


def _read_normals(path: Path, size: files.Size) -> Normals:
    if path.suffix == ".png":
        return decoding.coded_normals(files.read_rgb(path, size))
    return decoding.normals(files.read_array(path, (*size, 3)), path)


def _read_edge(path: Path, size: files.Size) -> ClassMap:
    stored = files.read_grey(path, size) if path.suffix == ".png" else files.read_array(path, size)
    return decoding.binary(stored, path)


_READERS: Mapping[str, Callable[[Path, files.Size], TVTensor]] = {
    "image": lambda path, size: decoding.image(files.read_rgb(path, size)),
    "semseg": _read_semseg,
    "depth": lambda path, size: decoding.depth(files.read_array(path, size), path),
    "normals": _read_normals,
    "edge": _read_edge,
}
