"""Cells: one training and evaluation each, as pure data."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache, cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


Whole = Annotated[int, BeforeValidator(_no_boolean)]
"""A whole number; true and false are none."""
Count = Annotated[Whole, Field(gt=0, le=10**9)]
Real = Annotated[float, BeforeValidator(_no_boolean), Field(allow_inf_nan=False)]
"""A finite number; true and false are none."""
MINUTES_OF_A_YEAR = 365 * 24 * 60


_DERIVED = ("canonical", "id")
"""What is kept with a part once it was asked for."""


class Spec(BaseModel):
    """A part of a cell: frozen, and known by its canonical text, which leaves defaults out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @cached_property
    def canonical(self) -> str:
        return json.dumps(self.model_dump(mode="json", exclude_defaults=True), sort_keys=True)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """What was derived from the old content is not copied along."""
        copied = super().model_copy(update=update, deep=deep)
        for derived in _DERIVED:
            copied.__dict__.pop(derived, None)
        return copied

    def changed(self, **changes: Any) -> Self:
        """As `model_copy` with these fields, at a tenth of the time: for the many seeds of a grid."""
        copied = object.__new__(type(self))
        content = self.__dict__ | changes
        for derived in _DERIVED:
            content.pop(derived, None)
        for slot, value in (
            ("__dict__", content),
            ("__pydantic_fields_set__", self.__pydantic_fields_set__),
            ("__pydantic_extra__", None),
            ("__pydantic_private__", None),
        ):
            object.__setattr__(copied, slot, value)
        return copied


class Choice(Spec):
    """A plugin by name, with the options that differ from its defaults."""

    name: str
    options: dict[str, Any] = {}

    def __str__(self) -> str:
        if not self.options:
            return self.name
        return f"{self.name} ({', '.join(f'{key}={value}' for key, value in sorted(self.options.items()))})"


class Recipe(Spec):
    """How a network is trained; defaults: the ATRC code family's recipe for HRNet on NYUD-v2."""

    iterations: Count = Field(40000, description="optimizer steps")
    epochs: Count | None = Field(None, description="passes over the training images, in place of iterations")
    batch_size: Count = Field(
        8, le=10**6, description="images per optimizer step, over all devices and micro-batches"
    )
    accumulate: Count = Field(1, description="micro-batches per optimizer step; divides batch_size")
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: Real = Field(0.01, gt=0, le=1000)
    backbone_lr: Real = Field(1.0, ge=0, le=1000, description="factor on lr for the backbone")
    momentum: Real = Field(0.9, ge=0, lt=1, description="of sgd")
    weight_decay: Real = Field(5e-4, ge=0, le=1000)
    schedule: Literal["poly", "cosine", "step", "constant"] = Field(
        "poly",
        description="poly: lr (1 - it / iterations)^power; cosine: half a wave, after the warm-up; "
        "step: times `drop`, again and again",
    )
    power: Real = Field(0.9, gt=0, le=100)
    floor: Real = Field(0.0, ge=0, lt=1, description="of cosine: where it ends, as a share of lr")
    drop: Real = Field(0.1, gt=0, lt=1, description="of step: factor on lr")
    drop_every: Real = Field(0.5, gt=0, lt=1, description="of step: after this share of the iterations")
    warmup: Whole = Field(0, ge=0, le=10**9, description="iterations of linear warm-up")
    clip: Real | None = Field(None, gt=0, description="largest norm of the whole gradient")
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="of forward passes; fp16 scales the losses against underflow"
    )
    augment: str = Field("default", description="a training transform of the data set")

    def steps(self, images: int) -> int:
        """Iterations for a training set of so many images; what does not fill a batch is dropped."""
        return self.iterations if self.epochs is None else self.epochs * max(1, images // self.batch_size)

    @model_validator(mode="after")
    def _whole_micro_batches(self) -> Recipe:
        if self.batch_size % self.accumulate:
            found = f"{self.batch_size} and {self.accumulate}"
            raise ValueError(f"`batch_size` must be a multiple of `accumulate`, got {found}")
        return self


class Start(Spec):
    """Where a cell's weights come from: those that another cell ended with.

    Attributes:
        cell: it must be done first.
        trains: what goes on training: everything, what the other network did not have or did not train
            (`new`: the heads of tasks that were added), or all but the backbone.
    """

    cell: Cell
    trains: Literal["all", "new", "decoder"] = "all"


class Cell(Spec):
    """One training and evaluation. Two cells with the same content are the same cell.

    Attributes:
        tasks: those that the network predicts and that are evaluated.
        left_out: of these the ones whose loss is left out.
        start: None: weights are the backbone's, and random ones.
        joins: cells of one task each, whose trained networks this one is put together of.
        holdout: share of the training images that are kept out of training and scored in place of the
            validation images (`mtlbench.holdout`).
    """

    dataset: Choice
    tasks: tuple[str, ...] = Field(min_length=1)
    backbone: Choice
    method: Choice
    balancer: Choice
    tuning: Choice = Choice(name="full")
    recipe: Recipe = Recipe()
    seed: Whole = Field(0, ge=0, le=2**32 - 1)
    left_out: tuple[str, ...] = ()
    start: Start | None = None
    joins: tuple[Cell, ...] = ()
    holdout: Real = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _nothing_held_out_was_learned(self) -> Cell:
        for parent in self.parents:
            if self.holdout and parent.holdout != self.holdout:
                found = f"{self.holdout:g} and {parent.holdout:g}"
                raise ValueError(f"`holdout` must be that of the cell that this one starts from, got {found}")
        return self

    @model_validator(mode="after")
    def _joins_one_network_a_task(self) -> Cell:
        found = [cell.tasks for cell in self.joins]
        if self.start and found:
            raise ValueError("a cell has `start` or `joins`, not both")
        if len(set(found)) < len(found) or any(len(t) > 1 or t[0] not in self.tasks for t in found):
            raise ValueError(f"`joins` must be cells of one task of this one each, got {found}")
        return self

    def held_out(self, share: float) -> Cell:
        """The same cell, and all that it starts from, with a share of the training images held out."""
        start = self.start and self.start.changed(cell=self.start.cell.held_out(share))
        joins = tuple(cell.held_out(share) for cell in self.joins)
        return self.changed(holdout=float(share), start=start, joins=joins)

    @property
    def parents(self) -> tuple[Cell, ...]:
        """The cells that have to be done before this one can start."""
        return (self.start.cell,) if self.start else self.joins

    @property
    def lineage(self) -> list[Cell]:
        """All that it starts from, each once and after what that starts from, and itself as the last."""
        found: dict[str, Cell] = {}
        for parent in self.parents:
            for cell in parent.lineage:
                found.setdefault(cell.id, cell)
        return [*found.values(), self]

    @property
    def stages(self) -> list[Cell]:
        """The cells that train one network, one after the other, itself as the last."""
        return [*(self.start.cell.stages if self.start else ()), self]

    def longest_path(self, cost: Callable[[Cell], float]) -> float:
        """The largest sum of costs of cells that wait for each other, this one being the last."""
        return cost(self) + max((parent.longest_path(cost) for parent in self.parents), default=0.0)

    @property
    def trained(self) -> tuple[str, ...]:
        """The tasks whose losses train it."""
        return tuple(task for task in self.tasks if task not in self.left_out)

    @property
    def canonical(self) -> str:  # not kept: there may be very many cells
        """Put together from the canonical texts of its parts, which many cells share."""
        texts = []
        for name, default in _sorted_fields(type(self)):
            part = getattr(self, name)
            text = _text(part)
            if text != default:
                texts.append(f'"{name}": {text}')
        return "{" + ", ".join(texts) + "}"

    def with_seeds(self, seeds: Iterable[int]) -> dict[int, Cell]:
        """The same cell under each seed, and so all that it starts from."""
        if self.start is not None:
            bases = self.start.cell.with_seeds(seeds).items()
            starts = {seed: self.start.changed(cell=base) for seed, base in bases}
            return {seed: self.changed(seed=seed, start=start) for seed, start in starts.items()}
        if self.joins:
            joined = [cell.with_seeds(seeds) for cell in self.joins]
            return {seed: self.changed(seed=seed, joins=tuple(j[seed] for j in joined)) for seed in seeds}
        text = f'"seed": {_NO_SEED}, '
        before, _, after = self.changed(seed=_NO_SEED).canonical.partition(text)
        name = self._readable.rpartition("-s")[0]
        cells = {}
        for seed in seeds:
            seed_text = f'"seed": {seed}, ' if seed else ""
            cells[seed] = cell = self.changed(seed=seed)
            digest = hashlib.sha256(f"{before}{seed_text}{after}".encode()).hexdigest()[:10]
            cell.__dict__["id"] = f"{name}-s{seed}-{digest}"  # what the property would find, much faster
        return cells

    @property
    def kind(self) -> tuple[object, ...]:
        """Equal for cells of one plan that differ in their seeds alone."""
        parts = (self.dataset, self.backbone, self.method, self.balancer, self.tuning, self.recipe)
        before = (self.start.trains, self.start.cell.kind) if self.start else None
        joined = tuple(cell.kind for cell in self.joins)
        return (*map(id, parts), self.tasks, self.left_out, self.holdout, before, joined)

    @cached_property
    def id(self) -> str:
        """Readable, then a hash of what differs from the defaults: a new option keeps old ids."""
        return f"{self._readable}-{hashlib.sha256(self.canonical.encode()).hexdigest()[:10]}"

    @property
    def _readable(self) -> str:
        what = self.tasks[0] if len(self.tasks) == 1 else self.balancer.name
        what += "".join(f"-without_{task}" for task in self.left_out) + ("-continued" if self.start else "")
        parts = (self.dataset.name, self.backbone.name, self.method.name, what, f"s{self.seed}")
        return re.sub(r"[^A-Za-z0-9_.-]+", "_", "-".join(parts))


Start.model_rebuild()
_NO_SEED = 10**30
"""Found in no text."""


def _text(part: Any) -> str:
    """A field's value as JSON."""
    if isinstance(part, Spec):
        return part.canonical
    if isinstance(part, tuple) and part and isinstance(part[0], Spec):
        return f"[{', '.join(one.canonical for one in part)}]"
    return json.dumps(part)


@cache
def _sorted_fields(cls: type[Cell]) -> list[tuple[str, str | None]]:
    """Names with the text of their default, None where one must be given."""
    fields = []
    for name, field in sorted(cls.model_fields.items()):
        default = field.default
        text = default.canonical if isinstance(default, Spec) else json.dumps(default, default=str)
        fields.append((name, None if field.is_required() else text))
    return fields


class Execution(BaseModel):
    """How a cell is run: nothing here changes what it computes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workers: Whole = Field(0, ge=0, le=1024, description="processes that load data, per cell")
    checkpoint_seconds: Real = Field(30.0, gt=0, le=86400, description="time between checkpoints")
    log_every: Count = Field(10, description="iterations between lines of history.jsonl")
    evaluate_every: Count | None = Field(
        None, description="iterations between scores on the way, in evaluations.jsonl; default: none"
    )
    gallery: Whole = Field(
        4, ge=0, le=10_000, description="scored images whose predictions are kept as pictures"
    )
    devices: Count = Field(1, le=1024, description="GPUs (or CPU processes) of one cell")
    passes: Literal["auto", "sequential", "batched"] = Field(
        "auto",
        description="how gradients of several tasks go through the backbone; auto: what a short timing in "
        "the first step finds faster",
    )
    cache_features: Real = Field(
        0.0,
        ge=0,
        le=10**5,
        description="GB, where the network is, for features of a frozen backbone that are computed once",
    )
    threads: Count | None = Field(
        None, le=4096, description="CPU threads of one cell; default: the cores divided by the jobs"
    )
    gpu: Real = Field(
        1.0, gt=0, le=1, description="share of a GPU that a cell needs: small cells run side by side on one"
    )
    memory_gb: Real | None = Field(
        None, gt=0, le=10**5, description="main memory of a cell; one that takes more is ended"
    )
    time_limit: Real | None = Field(
        None, gt=0, le=MINUTES_OF_A_YEAR, description="minutes that a cell may run in one go"
    )
    stuck_after: Real = Field(
        30.0,
        gt=0,
        le=MINUTES_OF_A_YEAR,
        description="minutes without a sign of life after which a cell is ended",
    )
    retries: Whole = Field(
        2, ge=0, le=1000, description="how often a cell whose process or machine was lost is started again"
    )
    auto_microbatch: bool = Field(
        False, description="a cell that does not fit into memory is tried again in smaller micro-batches"
    )
    track: tuple[Literal["tensorboard", "wandb"], ...] = Field(
        (), description="where curves go beside history.jsonl"
    )
