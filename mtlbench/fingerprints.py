"""What tells whether a result is still that of the present code, data and base."""

from __future__ import annotations

import hashlib
import json

from mtlbench import provenance
from mtlbench.folder import RunFolder
from mtlbench.registry import registry
from mtlbench.spec import Cell


def fingerprints(cell: Cell) -> dict[str, str]:
    """Checksums of the files that decide what a cell computes."""
    families = ("method", "backbone", "balancer", "dataset", "tuning")
    plugins = {family: registry.load(family, getattr(cell, family).name) for family in families}
    checksums = {family: provenance.source_fingerprint(plugin) for family, plugin in plugins.items()}
    return checksums | {"core": provenance.core_fingerprint()}


def start_fingerprint(cell: Cell, folder: RunFolder) -> dict[str, str]:
    """A checksum of the scores of what it starts from: run anew that may have other weights."""
    found = [folder.beside(parent).result() for parent in cell.parents]
    bases = [[base.scores, base.fingerprints] for base in found if base is not None]
    if not bases or len(bases) < len(found):
        return {}
    content = json.dumps(bases[0] if cell.start else bases, sort_keys=True)
    return {"start": hashlib.sha256(content.encode()).hexdigest()[:16]}
