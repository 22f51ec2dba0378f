"""An entry of a grid whose options, or fields, may be tuned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import ValidationError

from mtlbench.errors import MtlbenchError
from mtlbench.options import Labelled, complaint, expand_choice, shown
from mtlbench.registry import Registry
from mtlbench.search.spaces import DECLARED, Domain, OneOf, Range, Simplex, parse_domain
from mtlbench.spec import Recipe

if TYPE_CHECKING:
    from mtlbench.config import NamedRecipe
    from mtlbench.tasks import Tasks

FAMILIES = ("balancer", "method", "tuning")
"""Of plugins whose options may be tuned."""
_FIXED_FIELDS = {
    "iterations": "a longer training costs more: trials would not be compared at one cost",
    "epochs": "a longer training costs more: trials would not be compared at one cost",
}


class Tunable(Protocol):
    """A plugin's entry or a recipe."""

    @property
    def who(self) -> str:
        """Its name in messages."""

    @property
    def options(self) -> tuple[str, ...]:
        """All that may be tuned."""

    @property
    def declared(self) -> Mapping[str, Domain]:
        """Option -> the domain that is declared for it, but for options that the entry itself sets."""

    def domain(self, option: str, value: Any) -> Domain:
        """The domain that a grid file gives for an option.

        Raises:
            MtlbenchError: it is no domain, or not all of its ends are legal values of the option.
        """

    def default(self, option: str, domain: Domain, tasks: Tasks) -> Any:
        """The option's value where it is not tuned."""

    def changed(self, values: Mapping[str, Any]) -> Any:
        """The entry with these values, labelled as tuned; itself without any."""

    def entry(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The same as a grid file writes it."""


@dataclass(frozen=True)
class TunablePlugin:
    """A balancer, a method or a tuning."""

    registry: Registry
    family: str
    labelled: Labelled

    @property
    def who(self) -> str:
        return f"{self.family} `{self.labelled.choice.name}`"

    @property
    def options(self) -> tuple[str, ...]:
        return tuple(self.registry.get(self.family, self._target).options())

    @property
    def declared(self) -> Mapping[str, Domain]:
        return {option: domain for option, domain in self._space.items() if option not in self.labelled.given}

    def domain(self, option: str, value: Any) -> Domain:
        declared = self._space.get(option)
        if value == DECLARED and declared is None:
            raise MtlbenchError(f"{self.who} declares no space for this option: give a range or a list")
        domain = parse_domain(value, declared)
        if isinstance(domain, Simplex):
            return domain
        return _legal(domain, lambda v: self._complaint(option, v))

    def default(self, option: str, domain: Domain, tasks: Tasks) -> Any:
        given = self.labelled.choice.options
        if isinstance(domain, Simplex):
            own = self._plugin.search_defaults(tasks).get(option, {})
            weights = {task: float(own.get(task, 1.0)) for task in tasks}
            return weights | {
                task: float(w) for task, w in (given.get(option) or {}).items() if task in tasks
            }
        value = given.get(option, self.registry.get(self.family, self._target).options()[option].default)
        return list(value) if isinstance(value, tuple) else value  # as grid files write it

    def changed(self, values: Mapping[str, Any]) -> Labelled:
        if not values:
            return self.labelled
        entry = {"name": self._target, **self.labelled.choice.options, **values}
        made, problems = expand_choice(self.registry, self.family, entry, self.family)
        if problems:
            raise MtlbenchError("\n".join(map(str, problems)))
        return replace(self.labelled, choice=made[0].choice, label=_tuned(self.labelled.label))

    def entry(self, values: Mapping[str, Any]) -> dict[str, Any]:
        found = self.changed(values)
        label = (
            {}
            if found.label == str(found.choice)
            else {"label": found.label.replace("{", "{{").replace("}", "}}")}
        )
        return {"name": found.choice.name, **found.choice.options, **label}

    @property
    def _space(self) -> Mapping[str, Domain]:
        """What the plugin declares, less what its parent takes and it does not."""
        options = self.options  # reading a signature takes long
        space: Mapping[str, Domain] = getattr(self._plugin, "search_space", {})
        return {option: domain for option, domain in space.items() if option in options}

    @property
    def _plugin(self) -> Any:
        return self.registry.load(self.family, self.labelled.choice.name)

    @property
    def _target(self) -> str:
        """Who takes the tuned values."""
        return getattr(self._plugin, "tuned_as", None) or self.labelled.choice.name

    def _complaint(self, option: str, value: Any) -> str | None:
        """Why it is no legal value of the option."""
        entry = {"name": self._target, **self.labelled.choice.options, option: value}
        made, problems = expand_choice(self.registry, self.family, entry, self.family)
        if problems:
            return problems[0].message
        return None if len(made) == 1 else f"must be a single value of the option, got {shown(value)}"


@dataclass(frozen=True)
class TunableRecipe:
    """A recipe: its fields may be tuned."""

    named: NamedRecipe

    @property
    def who(self) -> str:
        return f"recipe `{self.named.label}`"

    @property
    def options(self) -> tuple[str, ...]:
        return tuple(Recipe.model_fields)

    @property
    def declared(self) -> Mapping[str, Domain]:
        return {}

    def domain(self, option: str, value: Any) -> Domain:
        if option in _FIXED_FIELDS:
            raise MtlbenchError(f"can't be tuned: {_FIXED_FIELDS[option]}")
        return _legal(parse_domain(value), lambda v: self._complaint(option, v))

    def default(self, option: str, domain: Domain, tasks: Tasks) -> Any:
        return getattr(self.named.recipe, option)

    def changed(self, values: Mapping[str, Any]) -> NamedRecipe:
        if not values:
            return self.named
        recipe = Recipe.model_validate(self.named.recipe.model_dump() | dict(values))
        return replace(self.named, recipe=recipe, label=_tuned(self.named.label))

    def entry(self, values: Mapping[str, Any]) -> dict[str, Any]:
        label = {"label": self.changed(values).label} if values else {}
        return {**self.named.entry, **values, **label}

    def _complaint(self, option: str, value: Any) -> str | None:
        try:
            Recipe.model_validate(self.named.recipe.model_dump() | {option: value})
        except ValidationError as error:
            return complaint(error.errors()[0])
        return None


def _tuned(label: str) -> str:
    return f"{label}, tuned"


def _legal(domain: Range | OneOf | Simplex, complain: Any) -> Domain:
    """The domain, once its ends are found to be legal; a range of whole numbers where only these are."""
    for end in domain.ends():
        if found := complain(end):
            raise MtlbenchError(found)
    if isinstance(domain, Range) and not domain.whole and complain(int(domain.low) + 0.5):
        return replace(domain, whole=True)
    return domain
