"""The grid key `tune`: what is tuned, by which measure, and how."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from itertools import count
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from mtlbench.search.spaces import DECLARED
from mtlbench.spec import Count, Real, Whole

MAX_SEED = 2**32 - 1


def _listed(value: Any) -> Any:
    return value if value is None or isinstance(value, list | tuple) else [value]


def _different(value: tuple[int, ...] | None) -> tuple[int, ...] | None:
    if value is not None and (not value or len(set(value)) < len(value)):
        raise ValueError("must be one or several different whole numbers")
    return value


def _dotted(value: Any) -> Any:
    """`{recipe: {lr: ...}}`, which `--set tune.space.recipe.lr=...` makes, is `{recipe.lr: ...}`.

    Beside `balancer: declared` it makes `{balancer: {name: declared, c: ...}}`, as of a plugin's entry.
    """
    if not isinstance(value, dict):
        return value
    found: dict[Any, Any] = {}
    for key, part in deepcopy(value).items():
        if not isinstance(part, dict) or "." in str(key) or not all(map(_is_domain, part.values())):
            found[key] = part
            continue
        if part.get("name") == DECLARED:
            found[key] = part.pop("name")
        for option, domain in part.items():
            known = found.get(f"{key}.{option}")
            if isinstance(known, dict) and isinstance(domain, dict):
                domain = {**known, **domain}
            found[f"{key}.{option}"] = domain
    return found


def _is_domain(value: Any) -> bool:
    return isinstance(value, dict | list) or value == DECLARED


Seed = Annotated[Whole, Field(ge=0, le=MAX_SEED)]
Seeds = Annotated[tuple[Seed, ...] | None, BeforeValidator(_listed), AfterValidator(_different)]


class TuneSettings(BaseModel):
    """How studies are carried out; what they are of, the rest of the grid says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    space: Annotated[dict[str, Any], BeforeValidator(_dotted)] = Field(
        {"balancer": DECLARED}, description="what is tuned: keys such as recipe.lr with ranges or lists"
    )
    objective: Literal["delta_m", "tasks"] = Field(
        "delta_m", description="gain over the baseline, or all tasks at once: a Pareto front"
    )
    sampler: Literal["auto", "tpe", "random", "gp", "qmc", "nsga2", "nsga3"] = Field(
        "auto", description="of Optuna; auto: tpe"
    )
    pruner: Literal["none", "median", "hyperband", "wilcoxon"] = Field(
        "none",
        description="what ends bad trials: median and hyperband by scores in training, wilcoxon by seeds",
    )
    holdout: Real = Field(
        0.2, gt=0, lt=1, description="share of the training images that trials are scored on"
    )
    seed: Seeds = Field(None, description="of trials, one or several; default: the grid's largest + 1")
    evaluate_every: Count | None = Field(
        None, description="steps between scores in training; default with median and hyperband: an eighth"
    )
    trials: Count = Field(30, description="of each study, the default among them")

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of trials, once they are known (`seeded`)."""
        assert self.seed is not None
        return self.seed

    def seeded(self, taken: Sequence[int]) -> TuneSettings:
        """With seeds; by default one that is not taken: what was tuned on a seed fits that seed best."""
        if self.seed is not None:
            return self
        first = max(taken, default=-1) + 1
        free = next(s for s in count(first if first <= MAX_SEED else 0) if s not in taken)
        return self.model_copy(update={"seed": (free,)})

    @model_validator(mode="after")
    def _fitting_pruner(self) -> TuneSettings:
        if self.pruner == "none":
            return self
        if self.objective == "tasks":
            raise ValueError("`pruner` must be none for `objective: tasks`: trials are pruned by one number")
        if self.pruner == "wilcoxon" and (self.seed is None or len(self.seed) < 2):
            raise ValueError("`pruner: wilcoxon` compares seeds: `seed` must name several")
        return self
