"""DeGMix against the published code: `published` and `table1` number for number."""

import re

import pytest
from golden_cases import Case, cases, compare
from golden_methods import load, run
from mtlbench.methods.degmix import DeGMix

from mtlbench.method_weights import published_to_ours


def build(case: Case) -> DeGMix:
    """Variant, width and depth from the published parameters."""
    depth = len({m[1] for key in case.shapes if (m := re.match(r"defor_mixers\.0\.blocks\.(\d+)\.", key))})
    return DeGMix(
        case.backbone(),
        case.tasks(),
        variant="published" if "patch_embed.projection.weight" in case.shapes else "table1",
        dim=case.shapes["smlp.0.weight"][0],
        depth=depth,
        heads=case.spec["options"].get("heads", 2),
    )


@pytest.mark.parametrize("case", cases("degmix"))
def test_degmix_golden(case: Case) -> None:
    assert case.kind in ("head", "model")
    compare(case, run(case, load(case, build(case))))


@pytest.mark.parametrize("name", ["fusion_mlp.0.weight", "gate.gate.weight"])
@pytest.mark.parametrize("case", cases("degmix"))
def test_degmix_golden_notices_a_changed_weight(case: Case, name: str) -> None:
    method = load(case, build(case))
    method.get_parameter(name).data.flatten()[0] += 3.0
    with pytest.raises(AssertionError, match=r"final\.\w+: "):
        compare(case, run(case, method))


@pytest.mark.parametrize("case", cases("degmix"))
def test_degmix_golden_weights_load_into_the_corrected_variant(case: Case) -> None:
    released = build(case)
    if released.variant == "table1":  # its tokens are pixels: another embedding, another query
        return
    corrected = DeGMix(case.backbone(), case.tasks(), dim=released.gate.norm.normalized_shape[0])
    corrected.load_state_dict(published_to_ours(corrected, case.published_state()))
