"""Weights and gradients that published balancers gave, on matrices and sequences of losses kept with them."""

import re
from typing import Any

import golden_balancers_losses as losses
import golden_balancers_projections as projections
import golden_balancers_rows as row_based
import golden_balancers_weights as weights
import pytest
from golden_balancers import FILES, Case

PARTS = (losses, projections, weights, row_based)
GRAM = [reader for part in PARTS for reader in part.READERS_GRAM.items()]
STEPS = [reader for part in PARTS for reader in part.READERS_STEPS.items()]
SEQUENCES = {kind: reader for part in PARTS for kind, reader in part.READERS_SEQUENCE.items()}
CASES = [Case(file) for file in FILES]
GIVEN = {"gradnorm_initial_losses", "gradvac_visit_order"}
"""What stands among the results of a sequence of gradients, but is input."""


def results(kind: str) -> list[tuple[Case, str]]:
    return [(c, key) for c in CASES if c.kind == kind for key in c.content["results"] if key not in GIVEN]


def check(readers: list[tuple[str, Any]], case: Case, key: str) -> None:
    known = [reader for pattern, reader in readers if re.fullmatch(pattern, key)]
    assert len(known) == 1, f"{case.path.name}: {len(known)} readers know the result `{key}`"
    known[0](case, key, case.content["results"][key])


def name(value: object) -> str:
    return value.path.stem if isinstance(value, Case) else str(value)


def test_there_are_golden_cases() -> None:
    assert CASES


@pytest.mark.parametrize(("case", "key"), results("gram"), ids=name)
def test_golden_matrix(case: Case, key: str) -> None:
    check(GRAM, case, key)


@pytest.mark.parametrize(("case", "key"), results("gradient_sequences"), ids=name)
def test_golden_sequence_of_gradients(case: Case, key: str) -> None:
    check(STEPS, case, key)


LOSS_CASES = [case for case in CASES if case.kind not in ("gram", "gradient_sequences")]


@pytest.mark.parametrize("case", LOSS_CASES, ids=name)
def test_golden_sequence_of_losses(case: Case) -> None:
    assert case.kind in SEQUENCES, f"{case.path.name}: no reader knows the kind `{case.kind}`"
    SEQUENCES[case.kind](case)
