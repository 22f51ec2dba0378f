"""Names of parameters in published code, and how they become ours.

A rule is a regular expression for a published key, its replacement, and optionally what happens to the
tensor. A key is renamed by the first rule that matches it from its start; a key that no rule matches keeps
its name.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from torch import Tensor


@dataclass(frozen=True)
class Rule:
    """Rename published keys that match `pattern` to `replacement` (`re.sub` syntax); None drops the entry."""

    pattern: str
    replacement: str | None
    convert: Callable[[Tensor], Tensor] | None = None


def for_tasks(rules: Iterable[Rule], tasks: Iterable[str]) -> tuple[Rule, ...]:
    """The rules for each task, where published code counts the tasks and we name them.

    `TASK` stands for a task's number in a pattern, and for its name in the replacement.
    """
    named, rules = list(enumerate(tasks)), list(rules)
    return tuple(
        replace(
            rule,
            pattern=rule.pattern.replace("TASK", str(i)),
            replacement=rule.replacement and rule.replacement.replace("TASK", task),
        )
        for i, task in named
        for rule in rules
    )


def from_published(state: Mapping[str, Tensor], rules: tuple[Rule, ...]) -> dict[str, Tensor]:
    """A published state dict under our names."""
    renamed = {}
    for key, value in state.items():
        rule = next((rule for rule in rules if re.match(rule.pattern, key)), None)
        if rule is None:
            renamed[key] = value
        elif rule.replacement is not None:
            renamed[re.sub(rule.pattern, rule.replacement, key, count=1)] = (
                rule.convert(value) if rule.convert else value
            )
    return renamed
