"""NYUD-v2: 1449 indoor photographs with semseg, depth, normals and edges, from either published archive."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numba import njit
from torchvision import tv_tensors

from mtlbench import tasks as make
from mtlbench.data import Dataset, Sample, Split, Transform, listing_fingerprint
from mtlbench.errors import DataError
from mtlbench.labels import ClassMap, Depth, Normals
from mtlbench.tasks import Tasks

from . import files, transforms

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
FLAVOURS = {flavour.name: flavour for flavour in (NYUDV2, NYUD_MT)}


class NYUD(Dataset):
    """NYUD-v2: 795 + 654 indoor photographs with semseg (40 classes), depth, normals and edges.

    Reads the archives `NYUDv2` (InvPT; png) and `NYUD_MT` (MTI-Net, ATRC; jpg and npy), told apart by files.
    Normals are used as stored (x right). Training samples hold `semseg` also when it was not asked for, since
    the crop of the transform `atrc` is balanced by it.

    Args:
        split: "train" or "val" (the test images).
        tasks: the labels that samples hold.
        root: the unpacked archive, the folder that holds `gt_sets`.

    Attributes:
        size: that of the split's first image, (425, 560) in the real archives; all images must have it.
    """

    tasks: ClassVar[Tasks] = {
        task.name: task
        for task in (make.semseg(CLASSES), make.depth(), make.normals(), make.edge(pos_weight=0.8))
    }
    transforms: ClassVar[Mapping[str, Callable[[tuple[int, int]], Transform]]] = transforms.TRANSFORMS
    default_transform: ClassVar[str] = "atrc"

    def __init__(self, split: Split, tasks: Sequence[str], *, root: str = "data/NYUDv2") -> None:
        super().__init__(split, tasks)
        self.root = Path(root)
        self.ids = files.read_ids(split_file(self.root, split))
        self.flavour = detect_flavour(self.root, self.ids[0])
        self.size = files.image_size(self._path("images", self.ids[0]))
        extra = (transforms.BALANCED_BY,) if split == "train" else ()
        self._names = tuple(dict.fromkeys((*self.requested, *extra)))

    @classmethod
    def prepare(cls, **options: Any) -> None:
        """Check, by listing folders, that every image of both splits has all its files.

        Args:
            options: the keyword-only arguments of the constructor.

        Raises:
            DataError: something is missing, or the splits share an image.
        """
        defaults = cls.__init__.__kwdefaults__
        assert defaults is not None
        root = Path({**defaults, **options}["root"])
        train, val = (files.read_ids(split_file(root, split)) for split in ("train", "val"))
        shared = sorted(set(train) & set(val))
        if shared:
            raise DataError(
                f"the splits in {root / 'gt_sets'} must share no image, but both name {shared[0]!r}"
            )
        files.require_files(root, detect_flavour(root, train[0]).suffixes, train + val)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Sample:
        name = self.ids[index]
        pixels = files.read_rgb(self._path("images", name), self.size)
        sample: Sample = {
            "id": name,
            "image": tv_tensors.Image(torch.from_numpy(pixels.transpose(2, 0, 1).copy())),
        }
        for task in self._names:
            folder, read = _READERS[task]
            sample[task] = read(self._path(folder, name), self.size)
        return sample

    def fingerprint(self) -> str:
        """A checksum of the names and sizes of the split's files."""
        return listing_fingerprint(
            [self._path(folder, name) for name in self.ids for folder in self.flavour.suffixes]
        )

    def _path(self, folder: str, name: str) -> Path:
        return self.root / folder / f"{name}{self.flavour.suffixes[folder]}"


def split_file(root: Path, split: str) -> Path:
    """The list of a split's ids.

    Raises:
        DataError: it, or the root, is not there.
    """
    if not root.is_dir():
        raise DataError(
            f"NYUD-v2 is required at {root}, but there is no such folder: unpack NYUDv2.tar.gz or NYUD_MT.tgz"
            f" and set `root` to the folder that holds gt_sets/ (docs/datasets.md says where to get them)"
        )
    path = root / "gt_sets" / f"{split}.txt"
    if not path.is_file():
        found = ", ".join(sorted(entry.name for entry in root.iterdir())[:8]) or "nothing"
        raise DataError(f"{path} is required, but is not there; {root} holds {found}")
    return path


def detect_flavour(root: Path, name: str) -> Flavour:
    """Which archive this is, by the suffix of an image."""
    for flavour in FLAVOURS.values():
        if (root / "images" / f"{name}{flavour.suffixes['images']}").is_file():
            return flavour
    raise DataError(
        f"{root / 'images' / name}.png (NYUDv2) or .jpg (NYUD_MT) is required, but neither is there"
    )


def _read_semseg(path: Path, size: files.Size) -> ClassMap:
    stored = files.read_grey(path, size)
    if stored.max() > len(CLASSES):
        raise DataError(f"{path} must hold values from 0 to {len(CLASSES)}, found {stored.max()}")
    return ClassMap(torch.from_numpy(stored - np.uint8(1)))  # wraps: 0, unlabelled, becomes 255


def _read_depth(path: Path, size: files.Size) -> Depth:
    metres = files.read_array(path, size).astype(np.float32)
    if not (np.isfinite(metres).all() and metres.min() >= 0):
        raise DataError(
            f"{path} must hold depth in metres, finite and >= 0, found {metres.min()} to {metres.max()}"
        )
    return Depth(torch.from_numpy(metres)[None])


def _read_normals(path: Path, size: files.Size) -> Normals:
    if path.suffix == ".png":
        vectors, finite = _unit_vectors(files.read_rgb(path, size), 2 / 255, -1.0)
    else:
        vectors, finite = _unit_vectors(files.read_array(path, (*size, 3)), 1.0, 0.0)
    if not finite:
        raise DataError(f"{path} must hold finite unit vectors, found NaN or infinity")
    return Normals(torch.from_numpy(vectors))


@njit(cache=True, nogil=True, error_model="numpy")
def _unit_vectors(stored: np.ndarray, scale: float, shift: float) -> tuple[np.ndarray, bool]:
    """Decode (H, W, 3) to unit vectors (3, H, W) float32, zero where zero; and whether all are finite."""
    height, width = stored.shape[:2]
    vectors = np.empty((3, height, width), np.float32)
    finite = True
    for i in range(height):
        for j in range(width):
            x, y = stored[i, j, 0] * scale + shift, stored[i, j, 1] * scale + shift
            z = stored[i, j, 2] * scale + shift
            square = x * x + y * y + z * z
            finite &= square < np.inf  # false for NaN
            inverse = 1.0 / math.sqrt(square) if square > 1e-12 else 0.0
            vectors[0, i, j], vectors[1, i, j], vectors[2, i, j] = x * inverse, y * inverse, z * inverse
    return vectors, finite


def _read_edge(path: Path, size: files.Size) -> ClassMap:
    stored = files.read_grey(path, size) if path.suffix == ".png" else files.read_array(path, size)
    half = 127 if path.suffix == ".png" else 0.5
    return ClassMap(torch.from_numpy((stored > half).astype(np.uint8)))


_READERS: Mapping[str, tuple[str, Callable[[Path, files.Size], tv_tensors.TVTensor]]] = {
    "semseg": ("segmentation", _read_semseg),
    "depth": ("depth", _read_depth),
    "normals": ("normals", _read_normals),
    "edge": ("edge", _read_edge),
}
