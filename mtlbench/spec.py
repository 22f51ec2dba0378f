"""Cells: one training and evaluation each, as pure data."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator


class Choice(BaseModel):
    """A plugin by name, with the options that differ from its defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    options: dict[str, Any] = {}

    def __str__(self) -> str:
        if not self.options:
            return self.name
        return f"{self.name} ({', '.join(f'{key}={value}' for key, value in sorted(self.options.items()))})"


class Recipe(BaseModel):
    """How a network is trained; defaults: the ATRC code family's recipe for HRNet on NYUD-v2."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    iterations: PositiveInt = Field(40000, description="optimizer steps")
    batch_size: PositiveInt = Field(
        8, description="images per optimizer step, over all devices and micro-batches"
    )
    accumulate: PositiveInt = Field(1, description="micro-batches per optimizer step; divides batch_size")
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = Field(0.01, gt=0)
    backbone_lr: float = Field(1.0, ge=0, description="factor on lr for the backbone")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    weight_decay: float = Field(5e-4, ge=0)
    schedule: Literal["poly", "constant"] = Field("poly", description="poly: lr (1 - it / iterations)^power")
    power: float = Field(0.9, gt=0)
    warmup: int = Field(0, ge=0, description="iterations of linear warm-up")
    clip: float | None = Field(None, gt=0, description="largest norm of the whole gradient")
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="of forward passes; fp16 scales the losses against underflow"
    )
    augment: str = Field("default", description="a training transform of the data set")

    @model_validator(mode="after")
    def _whole_micro_batches(self) -> Recipe:
        if self.batch_size % self.accumulate:
            found = f"{self.batch_size} and {self.accumulate}"
            raise ValueError(f"`batch_size` must be a multiple of `accumulate`, got {found}")
        return self


class Cell(BaseModel):
    """One training and evaluation. Two cells with the same content are the same cell."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: Choice
    tasks: tuple[str, ...] = Field(min_length=1)
    backbone: Choice
    method: Choice
    balancer: Choice
    tuning: Choice = Choice(name="full")
    recipe: Recipe = Recipe()
    seed: int = Field(0, ge=0)

    @property
    def id(self) -> str:
        """Readable, then a hash of what differs from the defaults: a new option keeps old ids."""
        content = json.dumps(self.model_dump(mode="json", exclude_defaults=True), sort_keys=True)
        digest = hashlib.sha256(content.encode()).hexdigest()[:10]
        what = self.tasks[0] if len(self.tasks) == 1 else self.balancer.name
        readable = f"{self.dataset.name}-{self.backbone.name}-{self.method.name}-{what}-s{self.seed}"
        return f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', readable)}-{digest}"


class Execution(BaseModel):
    """How a cell is run: nothing here changes what it computes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workers: int = Field(0, ge=0, description="processes that load data, per cell")
    checkpoint_seconds: float = Field(30.0, gt=0, description="time between checkpoints")
    log_every: PositiveInt = Field(10, description="iterations between lines of history.jsonl")
    gallery: int = Field(4, ge=0, description="validation images whose predictions are kept as pictures")
    devices: PositiveInt = Field(1, description="GPUs (or CPU processes) of one cell")
    passes: Literal["auto", "sequential", "batched"] = Field(
        "auto",
        description="how gradients of several tasks go through the backbone; auto: what a short timing in "
        "the first step finds faster",
    )
    threads: PositiveInt | None = Field(
        None, description="CPU threads of one cell; default: the cores divided by the jobs"
    )
