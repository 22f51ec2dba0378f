"""MTMamba++: the decoder alone, whatever the widths and the scans' options."""

from golden_cases import Case
from mtlbench.methods.mtmamba_plus import MTMambaPlus

from golden_networks.mtmamba import options
from golden_networks.mtmamba import outputs as outputs

SENSITIVE = r"stages\.0\.across\.own\.\w+\.steer\.weight"


def build(case: Case) -> MTMambaPlus:
    width = case.shapes[f"final_expand.{case.spec['tasks'][0]}.0.weight"][0]
    return MTMambaPlus(case.backbone(), case.tasks(), head_channels=width, **options(case))
