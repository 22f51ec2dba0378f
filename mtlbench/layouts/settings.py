"""The grid key `report`: how a grid's table looks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from mtlbench import catalogue
from mtlbench.registry import unknown

Name = Literal["auto", "comparison", "balancers", "protocols", "ablation", "tuning"]
LABEL_NAMES = ("dataset", "backbone", "method", "balancer", "tuning", "recipe", "protocol")
COST_NAMES = (
    "parameters",
    "encoder_trainable",
    "decoder_trainable",
    "total_trainable",
    "macs",
    "module_macs",
    "train_seconds",
    "gpu_hours",
    "images_per_second",
    "peak_memory_mb",
)
EFFORTS = (
    "row",
    "seed",
    "encoder_trainable",
    "decoder_trainable",
    "total_trainable",
    "encoder_passes",
    "gpu_hours",
)
"""Columns of `Results.efforts`."""
SETS = ("labels", "options", "trained", "tasks")
"""Names that stand for several columns: labels that vary, options that vary, which task was trained when, and
the primary metric of every task."""
OTHERS = ("delta_m", "single_inference")
OPTIONS_OF = ("method", "balancer", "tuning")
"""What `KEY.OPTION` may begin with."""
MAX_COLUMNS = 100


def _listed(value: Any) -> Any:
    return value.split(",") if isinstance(value, str) else value


class ReportSettings(BaseModel):
    """How the table of a grid looks; what it leaves open, what the grid varies decides."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layout: Name = Field("auto", description="which table of a paper it is like")
    columns: Annotated[tuple[str, ...] | None, BeforeValidator(_listed)] = Field(
        None, max_length=MAX_COLUMNS, description="in place of the layout's own"
    )
    group: Literal["auto", "none", "backbone", "method", "balancer", "tuning", "recipe"] = Field(
        "auto", description="the label by which lines stand together; auto: the layout's"
    )
    spread: Literal["std", "interval", "none"] = Field(
        "std", description="what stands behind means over seeds: standard deviation, 95 % interval, nothing"
    )


def column_problems(
    columns: Iterable[str] | None, tasks: Collection[str], metrics: Collection[str] = ()
) -> list[tuple[int, str]]:
    """Place and complaint of each column that no table could have.

    Args:
        columns: names that somebody asks for.
        tasks: that there are.
        metrics: that there are beside the catalogue's.
    """
    variants = {variant.name for task in tasks for variant in catalogue.variants(task)} | {*metrics}
    valid = (*SETS, *LABEL_NAMES, *tasks, *OTHERS, *COST_NAMES, *sorted(variants))
    return [
        (i, unknown("column", name, valid))
        for i, name in enumerate(columns or ())
        if name not in valid and not is_option(name)
    ]


def is_option(name: str) -> bool:
    """Whether a column is an option's: `method.depth`."""
    family, dot, option = name.partition(".")
    return family in OPTIONS_OF and bool(dot) and option.isidentifier()


def published_names_of(value: str | Sequence[str] | None) -> tuple[str, ...]:
    """The grid key `published`: a name or several."""
    return () if value is None else (value,) if isinstance(value, str) else tuple(value)
