"""Grids whose values all have the right type, but which can't be meant: too large, or contradictory."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import yaml
from malformed_case import Case, cases_of
from malformed_values import SMALL, dotted, with_value

TEXT = yaml.safe_dump(SMALL, sort_keys=False).encode()


def _grid(**changes: Any) -> bytes:
    return yaml.safe_dump({**SMALL, **changes}, sort_keys=False).encode()


@cases_of("out of range")
def out_of_range(draw: random.Random) -> Iterator[Case]:
    """Numbers that are too small or too large for their key or option."""
    huge = 10**12
    ranges: dict[tuple[str, str], tuple[float, ...]] = {
        ("recipe", "iterations"): (0, -1, huge),
        ("recipe", "epochs"): (0, -5, huge),
        ("recipe", "batch_size"): (0, -2, huge),
        ("recipe", "accumulate"): (0, 3, 4, huge),
        ("recipe", "lr"): (0, -0.1, 1e308, huge),
        ("recipe", "backbone_lr"): (-1, 1e308),
        ("recipe", "momentum"): (-0.1, 1, 1e308),
        ("recipe", "weight_decay"): (-1e-4, 1e308),
        ("recipe", "power"): (0, -1, 1e308),
        ("recipe", "warmup"): (-1, huge),
        ("recipe", "clip"): (0, -1),
        ("execution", "workers"): (-1, huge),
        ("execution", "checkpoint_seconds"): (0, -1, 1e308),
        ("execution", "log_every"): (0, -1, huge),
        ("execution", "gallery"): (-1, huge),
        ("execution", "devices"): (0, -1, huge),
        ("execution", "threads"): (0, -1, huge),
        ("execution", "gpu"): (0, -1, 1.5, 1e308),
        ("execution", "memory_gb"): (0, -1, 1e308),
        ("execution", "time_limit"): (0, -1, 1e308),
        ("execution", "stuck_after"): (0, -1, 1e308),
        ("execution", "retries"): (-1, huge),
        ("dataset", "train"): (0, -3, huge),
        ("dataset", "val"): (0, -3, huge),
        ("dataset", "seed"): (-1,),
    }
    while True:
        place = draw.choice(list(ranges))
        value = draw.choice(ranges[place])
        by_plugin = place[0] == "dataset" or (place[1] == "accumulate" and value in (3, 4))
        says = f"`{place[1]}`" if by_plugin else dotted(place)
        yield Case(f"{dotted(place)}: {value:g}", with_value(place, value), (says,))


@cases_of("option that can't be built")
def unbuildable(draw: random.Random) -> Iterator[Case]:
    """Options of plugins that only their constructors can judge."""
    methods = [
        *(("degmix", option) for option in ("dim", "depth", "heads", "scales", "gate_depth")),
        *(("demt", option) for option in ("dim", "depth", "heads")),
        *(("mqtransformer", option) for option in ("dim", "tokens", "heads", "channels")),
        *(("multi_task", "head_channels"), ("pad_net", "channels"), ("single_task", "head_channels")),
    ]
    others: list[tuple[str, str, str, Any]] = [
        ("balancer", "dwa", "temperature", 0),
        ("balancer", "dwa", "temperature", -1),
        ("balancer", "pcgrad", "every", 0),
        ("balancer", "cagrad", "every", -1),
        ("balancer", "cagrad", "c", -1),
        ("balancer", "gradvac", "beta", -1),
        ("balancer", "fixed", "weights", {"semsg": 1}),
        ("balancer", "fixed", "weights", {"semseg": -1, "depth": 1}),
        ("balancer", "graddrop", "leak", 2),
        ("balancer", "stch", "mu", 0),
        ("dataset", "rooms", "size", "0x0"),
        ("dataset", "rooms", "size", "banana"),
        ("dataset", "rooms", "size", "-32x32"),
        ("dataset", "rooms", "size", "9" * 5000 + "x32"),
        ("dataset", "rooms", "size", "99999x99999"),
        ("dataset", "nyud", "root", "nowhere"),
        ("backbone", "resnet18", "weights", "gone.pth"),
        ("backbone", "resnet18", "weights", "."),
        ("method", "multi_task", "weights", "pretrained"),
    ]
    while True:
        if draw.random() < 0.6:
            name, option = draw.choice(methods)
            value: Any = draw.choice((0, -1, 10**6, 10**12, 10**18))
            family = "method"
        else:
            family, name, option, value = draw.choice(others)
        entry = {"name": name, option: value}
        if family == "dataset":
            entry = {**SMALL["dataset"], **entry} if name == "rooms" else entry
        changes = {family: entry, "exclude": [], **({"baseline": None} if family == "method" else {})}
        says = (
            {"root": "nowhere", "weights": "semseg"}.get(option, option)
            if family in ("dataset", "balancer")
            else option
        )
        shown = str(value) if len(str(value)) < 30 else f"{len(str(value))} characters"
        if option == "heads" and value > 0:
            says = "degmix" if name == "degmix" else name
        yield Case(f"{name}, {option}: {shown}", _grid(**changes), (says,))


@cases_of("too many cells")
def explosions(draw: random.Random) -> Iterator[Case]:
    """Lists whose product is beyond any computer."""
    thousand = list(range(1, 1001))
    degmix = {"name": "degmix", "dim": thousand, "depth": thousand, "heads": thousand}
    yield Case("10^9 options of a method", _grid(method=degmix, exclude=[]), ("method", "1000000000"))
    degmix = {"name": "degmix", "depth": thousand}
    balancer = {"name": "cagrad", "c": [i / 1000 for i in thousand]}
    many = _grid(method=degmix, balancer=balancer, seed=thousand, exclude=[])
    yield Case("10^9 cells", many, ("at most", "1000000000", "1000 of seed"))
    recipes = [{"lr": i / 1000} for i in thousand]
    yield Case("10^6 cells", _grid(recipe=recipes, seed=thousand, exclude=[]), ("at most", "1000 of recipe"))
    yield Case("5000 methods", _grid(method=["degmix"] * 5000), ("method", "at most 1000 entries"))
    yield Case("5000 recipes", _grid(recipe=[{"lr": 1}] * 5000), ("recipe", "1000 entries"))
    yield Case("40 000 tasks", _grid(tasks=["semseg"] * 40_000), ("tasks",))
    yield Case("40 000 unknown tasks", _grid(tasks=[f"t{i}" for i in range(40_000)]), ("tasks[0]", "more"))


@cases_of("contradiction")
def contradictions(draw: random.Random) -> Iterator[Case]:
    """Values that don't go together."""
    addition = {"name": "task_addition", "base": ["semseg"], "add": ["depth"]}
    cases: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
        ("a task twice", {"tasks": ["semseg", "semseg"]}, ("tasks",)),
        ("no task", {"tasks": []}, ("tasks",)),
        ("a task of another data set", {"tasks": ["semseg", "flow"]}, ("tasks[1]", "flow")),
        ("a seed twice", {"seed": [1, 1]}, ("seed",)),
        ("no seed", {"seed": []}, ("seed",)),
        ("no method", {"method": []}, ("method", "names no")),
        ("no recipe", {"recipe": []}, ("recipe",)),
        ("no value of an option", {"method": {"name": "degmix", "depth": []}}, ("method.depth",)),
        ("two baselines", {"baseline": ["single_task", "multi_task"]}, ("baseline",)),
        ("micro-batches that don't fit", {"recipe": {"batch_size": 3, "accumulate": 2}}, ("accumulate",)),
        (
            "everything excluded",
            {"exclude": [{"method": "*"}], "baseline": None, "reference": []},
            ("excluded",),
        ),
        ("a batch larger than the data", {"recipe": {"batch_size": 5}}, ("recipe.batch_size", "5 of 4")),
        (
            "an unknown transform",
            {"recipe": {"batch_size": 2, "augment": "nois"}},
            ("recipe.augment", "nois"),
        ),
        ("a folder for a name", {"name": "../../etc"}, ("name",)),
        ("a name of 300 letters", {"name": "x" * 300}, ("name",)),
        ("a name with a line break", {"name": "a\nb"}, ("name",)),
        (
            "heads that don't share the width",
            {"method": {"name": "degmix", "dim": 16, "heads": 3}},
            ("heads",),
        ),
        ("a task is added twice", {"protocol": {**addition, "add": ["semseg"]}}, ("add",)),
        ("an unknown task is added", {"protocol": {**addition, "add": ["dept"]}}, ("add", "dept")),
        ("both lengths of a stage", {"protocol": {**addition, "epochs": 2, "iterations": 3}}, ("epochs",)),
        ("a stage of no length", {"protocol": {**addition, "iterations": 0}}, ("iterations",)),
        ("subsets of no task", {"protocol": {"name": "subsets", "sets": []}}, ("protocol",)),
    ]
    for about, changes, says in cases:
        yield Case(about, _grid(**{"exclude": [], **changes}), says)


@cases_of("--set")
def overrides(draw: random.Random) -> Iterator[Case]:
    """Changes from the command line that are no changes of this grid."""
    wrong: list[tuple[str, tuple[str, ...]]] = [
        ("recipe.iterations", ("--set", "KEY=VALUE")),
        ("=3", ("--set", "KEY=VALUE")),
        ("", ("--set", "KEY=VALUE")),
        ("recipe..lr=3", ("--set", "KEY=VALUE")),
        (".lr=3", ("--set", "KEY=VALUE")),
        ("method[x].depth=3", ("--set", "KEY=VALUE")),
        ("method[-1].depth=3", ("--set", "KEY=VALUE")),
        ("method[99999999999999999999].depth=3", ("--set", "KEY=VALUE")),
        ("method[7].depth=3", ("--set", "`7`")),
        ("method[7]=degmix", ("--set", "`7`")),
        ("method.depth=3", ("--set", "`depth`")),
        ("seed.x.y=1", ("--set",)),
        ("recipe[0].lr=1", ("--set",)),
        ("tasks=[semseg", ("--set", "is not YAML")),
        ("seed=!!python/name:os.system", ("--set", "tags")),
        ("recipe={lr: 1, lr: 2}", ("--set", "twice")),
        ("seed=010", ("--set", "decimal")),
        ("recipe.iteratons=3", ("recipe.iteratons", "did you mean `iterations`")),
        ("method[1].dpth=3", ("method[1].dpth", "did you mean `depth`")),
        ("recipe.lr=" + "[" * 50_000, ("--set", "nested")),
        ("recipe.lr=fast", ("recipe.lr", "'fast'")),
        ("dataset=room", ("dataset", "did you mean `rooms`")),
        ("seed=" + "9" * 400, ("--set", "too large")),
    ]
    for override, says in wrong:
        about = override if len(override) < 40 else f"{override[:30]}..."
        yield Case(about, TEXT, says, ("grid.yaml", "--set", override))
