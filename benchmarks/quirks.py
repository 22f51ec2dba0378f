"""What each quirk of published code does to a network's outputs: the tables of docs/variants.md.

    python benchmarks/quirks.py [METHOD ...] [--write]

A network of the variant `published` and the same without one quirk, with the same parameters (drawn by
their names), see the same rooms. `change`: root mean square of the difference of their predictions, over the
standard deviation of the published one's, mean over tasks. `others`: the same between two predictions for one
image that differ in what else is in the batch, for a network that keeps this quirk alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mtlbench.backbones.build import build_backbone
from mtlbench.building import build_dataset
from mtlbench.model import Method
from mtlbench.registry import registry
from mtlbench.spec import Choice
from mtlbench.testing.filling import fill
from mtlbench.variants import PUBLISHED, quirks, variants

PAGE = Path(__file__).parent.parent / "docs" / "variants.md"
MARKS = "<!-- made by benchmarks/quirks.py -->", "<!-- end -->"
BACKBONES = {"invpt": "vit-b-384", "invpt_pp": "vit-b-384", "taskprompter": "vit-b-384", "mtformer": "swin-t"}
ELSEWHERE = dict.fromkeys((("taskprompter", "raw_query"), ("taskprompter", "unshifted_small_maps")), "swin-t")
"""Quirks that a method has on another backbone only."""
OPTIONS: dict[str, dict[str, Any]] = {  # where only some networks of a method have its quirks
    "atrc": {"genotype": "local"},
    "segnet": {"layout": "cross"},
    "taskprompter": {"input_size": (96, 128), "prompt_length": 2},  # as SIZE
}
TASKS = ("semseg", "depth", "normals", "edge")
FEWER = {"mtformer": ("semseg", "depth")}
"""Where some quirks are those of networks for fewer tasks."""
COUNT, SIZE = 7, "96x128"


@dataclass(frozen=True)
class Effect:
    """Of one quirk: relative changes, and the parameters that only networks with it have."""

    quirk: str
    change: float
    others: float
    parameters: int


def measure(name: str) -> list[Effect]:
    """The effects of all quirks of a method, on HRNet18 or the kind of backbone that it is published with."""
    method, images = registry.load("method", name), rooms()
    return [_measure(name, variant_of(method, quirk), quirk, images) for quirk in quirks(method)]


def variant_of(method: type, quirk: str) -> str:
    """`published`, or where it hasn't the quirk the first variant that has."""
    having = [variant for variant, kept in variants(method).items() if quirk in kept]
    return PUBLISHED if PUBLISHED in having else having[0]


def _measure(name: str, variant: str, quirk: str, images: Tensor) -> Effect:
    kept = variants(registry.load("method", name))[variant]
    on = ELSEWHERE.get((name, quirk), BACKBONES.get(name, "hrnet18"))
    whole, without, alone = (build(name, variant, left, on=on) for left in ((), (quirk,), kept - {quirk}))
    published = predict(whole, images[:4])
    first, second = predict(alone, images[:4]), predict(alone, images[[4, 5, 6, 3]])
    return Effect(
        quirk,
        change=difference(predict(without, images[:4]), published),
        others=difference({t: x[3:] for t, x in second.items()}, {t: x[3:] for t, x in first.items()}),
        parameters=size(whole) - size(without),
    )


def rooms() -> Tensor:
    options = {"root": "data/rooms", "train": 1, "val": COUNT, "size": SIZE}
    dataset = build_dataset(Choice(name="rooms", options=options), "val", ("semseg",))
    return torch.stack([dataset[i]["image"].as_subclass(Tensor) for i in range(COUNT)])


def build(name: str, variant: str, without: Iterable[str], *, on: str) -> Method:
    """A network but for some of its variant's quirks, each parameter drawn by its name."""
    known = registry.load("dataset", "nyud").tasks
    network: Method = registry.load("method", name)(
        build_backbone(on),
        {task: known[task] for task in FEWER.get(name, TASKS)},
        variant=variant,
        without=tuple(without),
        **OPTIONS.get(name, {}),
    )
    for key, value in network.state_dict().items():
        if value.is_floating_point():
            value.copy_(torch.from_numpy(fill(key, tuple(value.shape))))
    return network.eval()


@torch.no_grad()
def predict(network: Method, images: Tensor) -> dict[str, Tensor]:
    return network(network.normalise(images)).final


def difference(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """Mean over tasks; a constant prediction (of a last ReLU) is measured by the other's deviation."""
    relative = []
    for task, x in expected.items():
        scale = x.std() if x.std() > 0 else found[task].std()
        rms = (found[task] - x).square().mean().sqrt()
        relative.append(rms / scale if scale > 0 else torch.zeros(()))
    return torch.stack(relative).mean().item()


def size(network: Method) -> int:
    return sum(p.numel() for p in network.parameters())


def table(name: str, effects: Iterable[Effect]) -> str:
    """The section of one method."""
    texts = quirks(registry.load("method", name))
    given = "".join(f", {option} {value}" for option, value in OPTIONS.get(name, {}).items())
    others = {
        on: [q for (of, q), where in ELSEWHERE.items() if of == name and where == on]
        for on in ELSEWHERE.values()
    }
    given += "".join(
        f"; {' and '.join(f'`{q}`' for q in found)} on `{on}`" for on, found in others.items() if found
    )
    given += f"; tasks {' and '.join(FEWER[name])}" if name in FEWER else ""
    needs = registry.load("method", name).needs_backbone
    where = f"on `{BACKBONES.get(name, 'hrnet18')}`" if needs else "without a backbone"
    lines = [
        f"## {name}",
        "",
        f"Measured {where}{given}.",
        "",
        "| quirk | `published`; `corrected` | change | others | parameters |",
        "| :--- | :--- | ---: | ---: | ---: |",
    ]
    for e in effects:
        text = texts[e.quirk].replace("; corrected:", ";<br>corrected:").replace("|", "\\|")
        lines.append(
            f"| `{e.quirk}` | {text} | {_percent(e.change)} | {_percent(e.others)} | "
            f"{f'{e.parameters:+,}' if e.parameters else '0'} |"
        )
    return "\n".join(lines)


def _percent(share: float) -> str:
    return "0" if share == 0 else "< 0.1 %" if share < 1e-3 else f"{100 * share:.1f} %"


def methods() -> list[str]:
    return [name for name in registry.names("method") if quirks(registry.load("method", name))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="*", metavar="METHOD")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    chosen = arguments.methods or methods()
    made = {name: table(name, measure(name)) for name in chosen}
    print("\n\n".join(made.values()))
    if arguments.write:
        write(made)


def write(made: Mapping[str, str]) -> None:
    """Put sections into the page; those of other methods stay."""
    begin, end = MARKS
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    inside, _, after = rest.partition(end)
    sections = {text.splitlines()[0]: f"## {text.strip()}" for text in inside.split("\n## ")[1:]}
    sections |= made
    kept = "\n\n".join(sections[name] for name in methods() if name in sections)
    PAGE.write_text(f"{before}{begin}\n\n{kept}\n\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
