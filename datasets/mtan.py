"""The preprocessed sets of MTAN, read from .npy files: NYUv2 with 13 classes, and Cityscapes with 7 or 19."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from torchvision.tv_tensors import TVTensor

from mtlbench import tasks as make
from mtlbench.data import Split, Transform
from mtlbench.errors import DataError, MtlbenchError
from mtlbench.ignored import IGNORE
from mtlbench.labels import ClassMap, Depth, Disparity
from mtlbench.registry import unknown
from mtlbench.tasks import Tasks

from . import decoding, files, transforms
from .archive import IMAGE, Archive
from .cityscapes import CLASSES as STREET_CLASSES

NYU_CLASSES = (
    "bed", "books", "ceiling", "chair", "floor", "furniture", "objects", "picture", "sofa", "table", "tv",
    "wall", "window",
)  # fmt: skip
"""The 13 classes of SceneNet."""
STREET_GROUPS = ("flat", "construction", "object", "nature", "sky", "human", "vehicle")
"""The 7 categories of Cityscapes."""
ROUNDING = 1e-3
"""How far an image's values may lie outside 0..1, and a label off a whole number."""
Classes = Literal[7, 19]


class _Stacks(Archive):
    """Folders of numbered .npy files, `{split}/{folder}/{i}.npy`, i from 0 on.

    Numbers may be float32 or float64. Images are floats in 0..1 and are rounded to 8 bits.
    """

    folders: Mapping[str, str]
    """The folder of the image and of each task."""

    transforms: ClassVar[Mapping[str, Callable[[tuple[int, int]], Transform]]] = transforms.TRANSFORMS

    def __init__(self, split: Split, tasks: Sequence[str], root: str) -> None:
        super().__init__(split, tasks, root)
        self.size = files.array_size(self.paths(self.ids[0])[IMAGE])

    def list_ids(self, split: Split) -> list[str]:
        """`{split}/0` and on, as many as there are images."""
        folder = self.root / split / self.folders[IMAGE]
        if not folder.is_dir():
            raise DataError(f"the folder {folder} is required, but is not there")
        count = sum(path.suffix == ".npy" for path in folder.iterdir())
        for index in range(max(count, 1)):
            if not (folder / f"{index}.npy").is_file():
                raise DataError(
                    f"{folder / f'{index}.npy'} is required, but is not there: images must be numbered from 0"
                    f" on without a gap, found {count} .npy files"
                )
        return [f"{split}/{index}" for index in range(count)]

    def paths(self, name: str) -> dict[str, Path]:
        """One file for the image and one a task."""
        split, _, index = name.partition("/")
        return {what: self.root / split / folder / f"{index}.npy" for what, folder in self.folders.items()}

    def decode(self, what: str, name: str, size: files.Size | None) -> TVTensor:
        """See `Archive.decode`; every array must have the size of the split's first image."""
        return _READERS[what](self, self.paths(name)[what])

    def _image(self, path: Path) -> TVTensor:
        stored = files.read_array(path, (*self.size, 3))
        low, high = float(stored.min()), float(stored.max())
        if stored.dtype.kind != "f" or not (low >= -ROUNDING and high <= 1 + ROUNDING):  # false for NaN
            raise DataError(
                f"{path} must hold floats from 0 to 1, found {stored.dtype} from {low:g} to {high:g}"
            )
        return decoding.image(np.rint(stored * 255).clip(0, 255).astype(np.uint8))

    def _semseg(self, path: Path) -> ClassMap:
        stored = files.read_array(path, self.size)
        classes = self.tasks["semseg"].channels
        whole = np.rint(stored)
        wrong = ~((np.abs(stored - whole) <= ROUNDING) & (whole >= -1) & (whole < classes))
        if wrong.any():
            raise DataError(
                f"{path} must hold the classes -1 to {classes - 1}, found {stored[wrong].max()}"
                f" ({int(wrong.sum())} of {wrong.size} pixels hold none of them)"
            )
        return ClassMap(torch.from_numpy(np.where(whole < 0, IGNORE, whole).astype(np.uint8)))

    def _depth(self, path: Path) -> Depth | Disparity:
        depth = decoding.depth(files.read_array(path, self.size), path)
        return (
            depth if self.tasks["depth"].label_type is Depth else Disparity(depth.as_subclass(torch.Tensor))
        )

    def _normals(self, path: Path) -> TVTensor:
        return decoding.normals(files.read_array(path, (*self.size, 3)), path)


class NYUv2MTAN(_Stacks):
    """NYUv2 as MTAN prepared it: 795 + 654 images of 288x384 with semseg (13 classes), depth and normals.

    Reads its .npy files. Normals are used as stored; the zero vector is "no label".

    Args:
        split: "train" or "val".
        tasks: the labels that samples hold.
        root: the folder that holds `train` and `val`.
    """

    tasks: ClassVar[Tasks] = {
        task.name: task
        for task in (
            make.semseg(NYU_CLASSES, primary="miou.dataset.absentnan"),
            make.depth(primary="depth.abs_err"),
            make.normals(primary="normals.mean.batches"),
        )
    }
    default_transform: ClassVar[str] = "mtan"
    published: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "MTAN, Nash-MTL": {
            "semseg": "miou.dataset.absentnan",
            "depth": "depth.abs_err",
            "normals": "normals.mean.batches",
        },
        "LibMTL": {
            "semseg": "miou.dataset.absentnan",
            "depth": "depth.abs_err.pixels",
            "normals": "normals.mean.all",
        },
    }
    plausible: ClassVar[Mapping[str, tuple[float, float]]] = {"depth": (0.1, 15)}
    title: ClassVar[str] = "MTAN's NYUv2"
    usual_size: ClassVar[files.Size] = (288, 384)
    images: ClassVar[Mapping[Split, int]] = {"train": 795, "val": 654}
    folders: Mapping[str, str] = {
        "image": "image",
        "semseg": "label",
        "depth": "depth",
        "normals": "normal",
    }

    def __init__(self, split: Split, tasks: Sequence[str], *, root: str = "data/nyuv2") -> None:
        super().__init__(split, tasks, root)


class CityscapesMTAN(_Stacks):
    """Cityscapes as MTAN prepared it: 2975 + 500 images of 128x256 or 256x512 with semseg and inverse depth.

    Reads its .npy files, of either size. The task `depth` is disparity at 1024x2048 divided by 256, with 0
    for "no label".

    Args:
        split: "train" or "val".
        tasks: the labels that samples hold.
        root: the folder that holds `train` and `val`.
        classes: 7 categories, or the 19 classes; their maps lie in `label`, or in `label_7` and `label_19`.
    """

    tasks: ClassVar[Tasks] = {
        task.name: task
        for task in (
            make.semseg(STREET_GROUPS, primary="miou.dataset.absentnan"),
            replace(make.depth(primary="depth.abs_err"), label_type=Disparity),
        )
    }
    default_transform: ClassVar[str] = "none"
    published: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "DeGMix Table III": {"semseg": "miou.dataset.absentnan", "depth": "depth.abs_err"},
        "MTAN, Nash-MTL": {"semseg": "miou.dataset.absentnan", "depth": "depth.abs_err"},
        "LibMTL": {"semseg": "miou.dataset.absentnan", "depth": "depth.abs_err.pixels"},
    }
    plausible: ClassVar[Mapping[str, tuple[float, float]]] = {"depth": (0, 0.5)}
    title: ClassVar[str] = "MTAN's Cityscapes"
    usual_size: ClassVar[files.Size] = (128, 256)
    images: ClassVar[Mapping[Split, int]] = {"train": 2975, "val": 500}

    def __init__(
        self, split: Split, tasks: Sequence[str], *, root: str = "data/cityscapes_mtan", classes: Classes = 7
    ) -> None:
        if classes not in get_args(Classes):
            options = tuple(map(str, get_args(Classes)))
            raise MtlbenchError(unknown("number of classes of cityscapes_mtan", str(classes), options))
        self.classes = classes
        self._choose_tasks()
        named = f"label_{classes}"
        folder = named if (Path(root) / split / named).is_dir() else "label"
        self.folders = {"image": "image", "semseg": folder, "depth": "depth"}
        super().__init__(split, tasks, root)

    def _choose_tasks(self) -> None:
        if self.classes == len(STREET_CLASSES):
            semseg = make.semseg(STREET_CLASSES, primary="miou.dataset.absentnan")
            self.tasks = {**type(self).tasks, semseg.name: semseg}  # type: ignore[misc]  # as the option says

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "tasks"}  # they hold lambdas

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._choose_tasks()

    @property
    def decoding_options(self) -> str:
        """See `Archive.decoding_options`."""
        return str(self.classes)


_READERS: Mapping[str, Callable[[Any, Path], TVTensor]] = {
    "image": _Stacks._image,
    "semseg": _Stacks._semseg,
    "depth": _Stacks._depth,
    "normals": _Stacks._normals,
}
