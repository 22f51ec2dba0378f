"""Cityscapes: streets seen from a car, with semseg and disparity or depth, from the official files."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from PIL import Image
from torchvision.tv_tensors import TVTensor

from mtlbench import tasks as make
from mtlbench.data import Split, Transform
from mtlbench.errors import DataError, MtlbenchError
from mtlbench.labels import ClassMap, Depth, Disparity
from mtlbench.registry import unknown
from mtlbench.tasks import Tasks

from . import decoding, files, transforms
from .archive import IMAGE, Archive
from .geometry import nearest

log = logging.getLogger(__name__)

CLASSES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation",
    "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)  # fmt: skip
"""The 19 classes that are evaluated."""
LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The values of label files that each class has; all others are "no label"."""
RAIL_TRACK = 10
"""The value where published code drops disparities. (Sky, which was meant, is 23.)"""
BASELINE, FOCAL_LENGTH = 0.209313, 2262.52
"""Metres, and pixels at 1024x2048: of the camera, where a picture has no file of its own."""

DepthKind = Literal["disparity", "metres"]
_TABLE = np.full(256, decoding.FORBIDDEN, np.uint8)
_TABLE[[*range(34), 255]] = 255  # -1, licence plate, is stored as 255
_TABLE[list(LABEL_IDS)] = range(len(CLASSES))
_FILES: Mapping[str, tuple[str, str]] = {
    "image": ("leftImg8bit", "leftImg8bit.png"),
    "semseg": ("gtFine", "gtFine_labelIds.png"),
    "depth": ("disparity", "disparity.png"),
}
CAMERA = "camera"
_CAMERA = ("camera", "camera.json")
"""The key among files, and the place, of a picture's camera."""


class Cityscapes(Archive):
    """Cityscapes: 2975 + 500 street scenes with semseg (19 classes) and disparity, or depth, from stereo.

    Reads the official folders `leftImg8bit`, `gtFine` and `disparity`, and `camera` for depth in metres.

    As published, the task `depth` is disparity: (p - 1) / 256 for a stored p > 1, invalid elsewhere and on
    rail track. Pictures are ordered by name, since the published order was that of a file system.

    Args:
        split: "train" or "val".
        tasks: the labels that samples hold.
        root: the folder that holds `leftImg8bit`.
        size: "HEIGHTxWIDTH" that images and labels are resized to (TaskPrompter: 1024x2048).
        depth: `disparity` in pixels at 1024x2048, or `metres`: baseline times focal length over disparity.
    """

    tasks: ClassVar[Tasks] = {
        task.name: task
        for task in (
            make.semseg(CLASSES),
            replace(make.depth(primary="depth.range.rmse"), label_type=Disparity),
        )
    }
    transforms: ClassVar[Mapping[str, Callable[[tuple[int, int]], Transform]]] = transforms.TRANSFORMS
    default_transform: ClassVar[str] = "none"
    published: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "TaskPrompter, MTMamba": {"semseg": "miou.dataset.absent0", "depth": "depth.range.rmse"},
    }

    title: ClassVar[str] = "Cityscapes"
    images: ClassVar[Mapping[Split, int]] = {"train": 2975, "val": 500}

    def __init__(
        self,
        split: Split,
        tasks: Sequence[str],
        *,
        root: str = "data/cityscapes",
        size: str = "512x1024",
        depth: DepthKind = "disparity",
    ) -> None:
        if depth not in get_args(DepthKind):
            raise MtlbenchError(unknown("depth of cityscapes", depth, get_args(DepthKind)))
        self.size = files.parse_size(size)
        self.metric = depth != get_args(DepthKind)[0]
        self._choose_tasks()
        self._cameras = self.metric and (Path(root) / _CAMERA[0] / split).is_dir()
        super().__init__(split, tasks, root)
        self.native = files.image_size(self.paths(self.ids[0])[IMAGE])
        self._read: tuple[str, np.ndarray] | None = None

    def _choose_tasks(self) -> None:
        if self.metric:
            metres = make.depth()
            self.tasks = {**type(self).tasks, metres.name: metres}  # type: ignore[misc]  # as the option says

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "tasks"}  # they hold lambdas

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._choose_tasks()

    def list_ids(self, split: Split) -> list[str]:
        """`city/city_sequence_frame` of all images, sorted."""
        folder, suffix = _FILES["image"]
        found = sorted((self.root / folder / split).glob(f"*/*_{suffix}"))
        if not found:
            raise DataError(
                f"{self.root / folder / split}/CITY/*_{suffix} are required, but there are none: `root` must"
                f" be the folder with the unpacked {folder}, gtFine and disparity"
            )
        return [f"{path.parent.name}/{path.name.removesuffix('_' + suffix)}" for path in found]

    def paths(self, name: str) -> dict[str, Path]:
        """One file for the image and one a task; and the camera's, where depth in metres is made with it."""
        places = {**_FILES, CAMERA: _CAMERA} if self._cameras else _FILES
        return {what: self._path(name, *place) for what, place in places.items()}

    @property
    def decoding_options(self) -> str:
        """See `Archive.decoding_options`."""
        return f"{self.size[0]}x{self.size[1]}, {'metres' if self.metric else 'disparity'}"

    def decode(self, what: str, name: str, size: files.Size | None) -> TVTensor:
        """See `Archive.decode`; every file must have the size of the split's first image, then is resized."""
        return _READERS[what](self, name)

    def _path(self, name: str, folder: str, suffix: str) -> Path:
        return self.root / folder / self.split / f"{name}_{suffix}"

    def _image(self, name: str) -> TVTensor:
        pixels = files.read_rgb(self.paths(name)[IMAGE], self.native)
        if self.native != self.size:
            height, width = self.size
            pixels = np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
        return decoding.image(pixels)

    def _semseg(self, name: str) -> ClassMap:
        return decoding.class_map(self._label_ids(name), _TABLE, self.paths(name)["semseg"])

    def _depth(self, name: str) -> Depth | Disparity:
        stored = self._resized(files.read_deep(self.paths(name)["depth"], self.native))
        values = (stored.astype(np.float32) - 1) / 256
        if self.metric:
            product = self._baseline_times_focal_length(name)
            valid = stored > 1
            values = np.divide(product, values, out=np.zeros_like(values), where=valid)
            return Depth(torch.from_numpy(values)[None])
        values[(stored <= 1) | (self._label_ids(name) == RAIL_TRACK)] = 0
        return Disparity(torch.from_numpy(values)[None])

    def _label_ids(self, name: str) -> np.ndarray:
        """What `gtFine` holds, (H, W) uint8; the last one is kept, since both tasks need it."""
        kept = self._read
        if kept is None or kept[0] != name:
            label_ids = self._resized(files.read_grey(self.paths(name)["semseg"], self.native))
            kept = self._read = name, label_ids
        return kept[1]

    def _resized(self, stored: np.ndarray) -> np.ndarray:
        """The nearest pixels at `size`, see `geometry.nearest`; values unchanged."""
        rows, columns = (nearest(0, new, new, old) for new, old in zip(self.size, self.native, strict=True))
        return stored[rows][:, columns]

    def _baseline_times_focal_length(self, name: str) -> float:
        """Metres times pixels, of a picture's own camera where the archive has it."""
        if not self._cameras:
            return BASELINE * FOCAL_LENGTH
        path = self.paths(name)[CAMERA]
        try:
            camera = json.loads(path.read_text(encoding="utf-8"))
            product = float(camera["extrinsic"]["baseline"]) * float(camera["intrinsic"]["fx"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path} must be a JSON file with extrinsic.baseline and intrinsic.fx, but can't be read:"
                f" {type(error).__name__}: {error}"
            ) from error
        if not 0 < product < np.inf:
            raise DataError(f"{path} must give a positive baseline times focal length, found {product}")
        return product


_READERS: Mapping[str, Callable[[Cityscapes, str], TVTensor]] = {
    "image": Cityscapes._image,
    "semseg": Cityscapes._semseg,
    "depth": Cityscapes._depth,
}
