"""Rooms: synthetic indoor scenes with exact labels for all six tasks, rendered on first use."""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors

from mtlbench import tasks as make
from mtlbench.data import Dataset, Sample, Split, Transform
from mtlbench.errors import MtlbenchError
from mtlbench.labels import ClassMap, Depth, Normals
from mtlbench.registry import unknown
from mtlbench.tasks import Tasks

from . import cache, parallel, transforms
from .cache import Layout
from .files import parse_size
from .rendering import compose, paint, render
from .rendering.vocabulary import CLASSES, PARTS

log = logging.getLogger(__name__)

Style = Literal["textured", "painted"]
RENDERER = 3
"""Raised whenever a key gives another picture or label, so that no old cache is taken for a new one."""
MOST_SCENES = 10**7
STREAMS: Mapping[str, int] = {"train": 0, "val": 1}
_WRAP: Mapping[str, Callable[[Tensor], Tensor]] = {
    "image": tv_tensors.Image,
    "semseg": ClassMap,
    "human_parts": ClassMap,
    "sal": ClassMap,
    "edge": ClassMap,
    "depth": Depth,
    "normals": Normals,
}
_MEMORY: Mapping[str, str] = {name: "float32" if name in ("depth", "normals") else "uint8" for name in _WRAP}


class Rooms(Dataset):
    """Synthetic rooms: furniture, lamps and people, ray-cast with exact labels for six tasks; no download.

    Labels: `depth` is z-depth in metres; `normals` are in the camera frame (x right, y up, z towards the
    camera); `edge` marks the nearer side of instance boundaries, one pixel wide; `human_parts` is all 255
    without a person; `sal` marks persons and the most prominent other object.

    Args:
        split: "train" or "val"; their scenes are drawn from different random streams.
        tasks: the labels that samples hold.
        root: folder of the rendered arrays; a split that is not there yet is rendered.
        train: number of training scenes; the first n scenes are the same for every number.
        val: number of validation scenes.
        size: height and width in pixels, "HxW".
        seed: of the scenes.
        style: `textured`, or `painted`: the same scenes with each class and body part in a colour of its
            own, give or take, and no noise; a network learns them within minutes.
    """

    tasks: ClassVar[Tasks] = {
        task.name: task
        for task in (
            make.semseg(CLASSES),
            make.human_parts(PARTS),
            make.sal(),
            make.normals(),
            make.depth(),
            make.edge(),
        )
    }
    transforms: ClassVar[Mapping[str, Callable[[tuple[int, int]], Transform]]] = transforms.TRANSFORMS
    default_transform: ClassVar[str] = "flip"

    def __init__(
        self,
        split: Split,
        tasks: Sequence[str],
        *,
        root: str = "data/rooms",
        train: int = 1000,
        val: int = 200,
        size: str = "96x128",
        seed: int = 0,
        style: Style = "textured",
    ) -> None:
        super().__init__(split, tasks)
        self.size = parse_size(size)
        self._store = _Store(Path(root), split, {"train": train, "val": val}[split], self.size, seed, style)
        if not self._store.folder.exists():
            self._store.make()
        self._arrays = cache.load(self._store.folder, self._store.layouts)
        self._names = ("image", *self.requested)

    @classmethod
    def prepare(cls, **options: Any) -> None:
        """Render both splits where they are missing; damaged arrays are rendered anew.

        Args:
            options: the keyword-only arguments of the constructor.
        """
        for store in cls._stores(options):
            if store.folder.exists():
                problem = cache.damage(store.folder, store.layouts)
                if problem is None:
                    continue
                log.warning("rendering again, since %s", problem)
                cache.discard(store.folder)
            store.make()

    @classmethod
    def images_to_be(cls, split: Split, /, **options: Any) -> int | None:
        """Also says where the disk has no room for what is not there yet."""
        stores = {store.split: store for store in cls._stores(options)}
        cache.check_room(
            {s.folder: s.layouts for s in stores.values() if not s.folder.exists()}, cls.__name__
        )
        return stores[split].count

    @classmethod
    def _stores(cls, options: Mapping[str, Any]) -> list["_Store"]:
        """Of both splits."""
        defaults = cls.__init__.__kwdefaults__
        assert defaults is not None
        chosen = {**defaults, **options}
        place, size = Path(chosen["root"]), parse_size(chosen["size"])
        return [
            _Store(place, split, chosen[split], size, chosen["seed"], chosen["style"]) for split in STREAMS
        ]

    @classmethod
    def make(cls, **options: Any) -> None:
        """Write rooms in their own form or in another data set's layout, see `layouts.make_rooms`."""
        from .layouts import make_rooms  # which needs this class

        make_rooms(**options)

    def __len__(self) -> int:
        return len(self._arrays["image"])

    def __getitem__(self, index: int) -> Sample:
        sample: Sample = {"id": f"{self.split}-{index:06d}"}
        for name in self._names:
            values = torch.from_numpy(self._arrays[name][index].astype(_MEMORY[name], copy=True))
            sample[name] = _WRAP[name](values)
        return sample

    def __getstate__(self) -> dict[str, Any]:
        return {
            **self.__dict__,
            "_arrays": {},
        }  # pickled, mapped arrays would become copies of the whole data set

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._arrays = cache.load(self._store.folder, self._store.layouts)

    def fingerprint(self) -> str:
        """A checksum of the split's pixels and labels, taken when they were rendered."""
        return str(cache.manifest(self._store.folder)["checksum"])


class _Store:
    """The arrays of one split on disk."""

    def __init__(
        self, root: Path, split: str, count: int, size: tuple[int, int], seed: int, style: Style
    ) -> None:
        if not 1 <= count <= MOST_SCENES:
            raise MtlbenchError(f"`{split}` must be a number of scenes from 1 to {MOST_SCENES}, got {count}")
        if seed < 0:
            raise MtlbenchError(f"`seed` must be >= 0, got {seed}")
        if style not in get_args(Style):
            raise MtlbenchError(unknown("style of rooms", style, get_args(Style)))
        self.split, self.count, self.size, self.seed, self.style = split, count, size, seed, style
        height, width = size
        self.folder = root / f"{split}-{style}-{height}x{width}-n{count}-seed{seed}-r{RENDERER}"
        plane = (count, height, width)
        self.layouts = {name: Layout(plane, "uint8") for name in ("semseg", "human_parts", "sal", "edge")}
        self.layouts["image"] = Layout((count, 3, height, width), "uint8")
        self.layouts["depth"] = Layout((count, 1, height, width), "float32")
        self.layouts["normals"] = Layout(
            (count, 3, height, width), "float16"
        )  # off by less than 0.03 degrees

    def make(self) -> None:
        """Render all scenes."""
        log.info("rendering %d %s rooms to %s", self.count, self.split, self.folder)
        cache.create(self.folder, self.layouts, self._fill)

    def _fill(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
        height, width = self.size

        def one(index: int) -> str:
            scene = compose((self.seed, STREAMS[self.split], index), width / height)
            room = render(paint(scene) if self.style == "painted" else scene, height, width)
            digest = hashlib.sha256()
            for name, array in arrays.items():
                array[index] = getattr(room, name)
                digest.update(array[index].tobytes())
            return digest.hexdigest()

        digests = parallel.each(one, self.count, self.folder.name)
        return {"checksum": hashlib.sha256("".join(digests).encode()).hexdigest()[:16], "renderer": RENDERER}
