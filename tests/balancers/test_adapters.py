"""Balancers of TorchJD and LibMTL, beside our own of the same name."""

import re
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_balancers import make_step, tasks
from mtlbench.balancers import _installed, libmtl, torchjd
from mtlbench.balancers._hosting import seeded
from torch import Tensor

from mtlbench.balancing import Aggregation, Balancer, Scalarization, Step, Unsolvable, Weighting
from mtlbench.errors import MtlbenchError
from mtlbench.registry import Registry, registry
from mtlbench.testing import BALANCER_CHECKS, balancer_tasks
from mtlbench.testing.balancers import check_active_tasks, check_finite, check_single_task, check_state

needs_torchjd = pytest.mark.skipif(find_spec("torchjd") is None, reason="torchjd is not installed")
needs_libmtl = pytest.mark.skipif(find_spec("LibMTL") is None, reason="LibMTL is not installed")
FIVE = [0.1, 0.2, 0.3, 0.2, 0.2]
REQUIRED: dict[str, Any] = {"c": 0.4, "alpha": 1.0, "n_byzantine": 1, "trim_number": 1, "mu": 1.0}
PER_TASK = {"weights": FIVE, "lambda_": 0.1, "theta": 0.1}
MANY = (check_finite, check_single_task, check_active_tasks)
LIMITS: dict[str, tuple[Any, ...]] = {
    "torchjd:Krum": MANY,  # needs four tasks at least
    "torchjd:TrimmedMean": MANY,  # needs three tasks at least
    "torchjd:GeometricMean": (check_finite,),  # NaN for a loss of 0
    "libmtl:GLS": (check_finite,),  # multiplies losses before it takes the root
}
"""Checks that the library's own code doesn't pass."""
OFFERED = [name for library in (torchjd, libmtl) for name in library.names() if "*" not in name]


def make(name: str, count: int, **options: Any) -> Any:
    return registry.load("balancer", name)(tasks(count), **options)


def make_or_skip(name: str, for_tasks: Any, **options: Any) -> Any:
    """Some of TorchJD needs more libraries."""
    try:
        return registry.load("balancer", name)(for_tasks, **options)
    except MtlbenchError as error:
        if "requires [" in str(error) or "needs the library" in str(error):
            pytest.skip(str(error))
        raise


def required(name: str) -> dict[str, Any]:
    return {
        n: (REQUIRED | PER_TASK)[n] for n, o in registry.get("balancer", name).options().items() if o.required
    }


@pytest.mark.parametrize("check", BALANCER_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", OFFERED)
def test_conformance(name: str, check: Any) -> None:
    options = required(name)
    made_for = 3 if name == "libmtl:CAGrad" else 5
    made = make_or_skip(name, balancer_tasks(made_for), **options)
    if made_for == 3:
        pytest.skip("written for three tasks; has a test of its own")
    if "weights" in options and check in (check_finite, check_single_task):
        pytest.skip("has a list of five weights; the check asks for other numbers of tasks")
    if check in LIMITS.get(name, ()):
        with pytest.raises((AssertionError, Unsolvable)):
            check(type(made), **options)
    else:
        check(type(made), **options)


@needs_torchjd
@pytest.mark.parametrize(
    "name", ["ExcessMTL", "GradVac", "PCD", "MoDoWeighting", "SDMGradWeighting", "UW", "IMTLL"]
)
def test_state_is_there_to_be_saved(name: str) -> None:
    made = registry.load("balancer", f"torchjd:{name}")
    check_state(made)
    tensors = made(balancer_tasks()).state_by_task()
    assert bool(tensors) == (name in ("UW", "IMTLL"))  # that of the others comes with the first step


def rows_of(seed: int, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 9, generator=generator, dtype=torch.float64)


def step_of(losses: Tensor, seed: int = 0, index: int = 0) -> Step:
    return replace(make_step(losses, index, index), generator=torch.Generator().manual_seed(seed))


def update(balancer: Balancer, rows: Tensor, step: Step) -> Tensor:
    if isinstance(balancer, Aggregation):
        return balancer.combine(rows.clone(), step)
    assert isinstance(balancer, Weighting)
    return balancer.weights(rows @ rows.T, step) @ rows


SAME = [
    ("imtl_g", {}, "torchjd:IMTLG", {}, 1e-8),
    ("aligned_mtl", {}, "torchjd:AlignedMTL", {"pref_vector": [1.0, 1.0, 1.0]}, 1e-8),
    ("config", {}, "torchjd:ConFIG", {}, 1e-8),
    ("cagrad", {"c": 0.4, "rescale": 0}, "torchjd:CAGrad", {"c": 0.4}, 1e-3),
    ("upgrad", {}, "torchjd:UPGrad", {}, 1e-6),
    ("dualproj", {}, "torchjd:DualProj", {}, 1e-6),
    ("fairgrad", {"alpha": 1.0}, "torchjd:FairGrad", {"alpha": 1.0}, 1e-4),
    ("excess_mtl", {"variant": "torchjd", "step_size": 1.0}, "torchjd:ExcessMTL", {}, 1e-6),
    ("imtl_g", {}, "libmtl:IMTL", {}, 1e-4),
]


@pytest.mark.parametrize(("ours", "own", "theirs", "options", "tolerance"), SAME, ids=lambda v: str(v)[:20])
@pytest.mark.parametrize("seed", range(4))
def test_our_own_agree(
    ours: str, own: dict[str, Any], theirs: str, options: dict[str, Any], tolerance: float, seed: int
) -> None:
    other = make_or_skip(theirs, tasks(3), **options)
    rows, losses = rows_of(seed, 3), torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64)
    given = rows.float() if theirs.startswith("libmtl") else rows
    found = update(make(ours, 3, **own), rows, step_of(losses))
    expected = update(other, given, step_of(losses)).double()
    assert (found - expected).norm() <= tolerance * expected.norm()


@needs_torchjd
@pytest.mark.parametrize("seed", range(4))
def test_our_mgda_is_no_longer_than_theirs(seed: int) -> None:
    rows, step = rows_of(seed, 4), step_of(torch.ones(4))
    ours, theirs = (update(make(name, 4), rows, step).norm() for name in ("mgda", "torchjd:MGDA"))
    assert ours <= theirs * (1 + 1e-9)
    assert theirs <= ours * 1.1


@needs_torchjd
def test_options_reach_torchjd() -> None:
    pref = make("torchjd:aggregation.Constant", 3, weights=[3.0, 2.0, 1.0])
    assert pref.weights(torch.eye(3, dtype=torch.float64), step_of(torch.ones(3))).tolist() == [3.0, 2.0, 1.0]
    two = replace(step_of(torch.ones(2)), active=torch.tensor([0, 2]))
    assert pref.weights(torch.eye(2, dtype=torch.float64), two).tolist() == [3.0, 1.0]
    assert make("torchjd:SDMGradWeighting", 2, lr=0.5).make_object([0, 1], torch.zeros(())).lr == 0.5
    options = registry.get("balancer", "torchjd:AlignedMTL").options()
    assert {"pref_vector", "scale_mode", "at", "every"} == set(options)


@needs_torchjd
def test_sets_of_tasks_have_state_of_their_own() -> None:
    made = make("torchjd:MoDoWeighting", 3, gamma=1.0)
    cross = torch.diag(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    pair = replace(step_of(torch.ones(2)), active=torch.tensor([0, 1]))
    alone = make("torchjd:MoDoWeighting", 3, gamma=1.0)
    first = alone.weights(cross[:2, :2], pair)
    made.weights(cross, step_of(torch.ones(3)))
    assert torch.equal(made.weights(cross[:2, :2], pair), first)
    assert {name.split("/")[0] for name in made.state_by_task()} == {"task0+task1", "task0+task1+task2"}


@needs_torchjd
@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("torchjd:PCGard", {}, "unknown balancer `torchjd:PCGard`: did you mean `torchjd:PCGrad`"),
        ("torchjd:Mean", {}, "is ambiguous: `torchjd:aggregation.Mean` or `torchjd:scalarization.Mean`"),
        ("torchjd:FAMO", {}, "is not offered: its state, in an optimizer of its own, .* there is `famo`"),
        ("torchjd:STCH", {"mu": 1.0, "weights": [1.0]}, "`weights` of balancer .* must have 3 values, got 1"),
        ("torchjd:STCH", {"mu": -1.0}, "balancer `torchjd:STCH`: Parameter `mu` should be strictly positive"),
    ],
)
def test_torchjd_refusals(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(MtlbenchError, match=message):
        make(name, 3, **options)


@needs_libmtl
@pytest.mark.parametrize("name", ["libmtl:MGDA", "libmtl:AbsWeighting"])
def test_libmtl_refusals(name: str) -> None:
    with pytest.raises(MtlbenchError, match=f"balancer `{name}` is not offered: "):
        registry.get("balancer", name)


@pytest.mark.parametrize("library", [torchjd, libmtl], ids=lambda library: library.LIBRARY.title)
def test_a_library_that_is_missing(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_installed, "find_spec", lambda package: None)
    prefix, requirement = library.LIBRARY.prefix, library.LIBRARY.requirement
    message = (
        f"balancer `{prefix}:PCGrad` needs the library {library.LIBRARY.title}: pip install {requirement}"
    )
    with pytest.raises(MtlbenchError, match=re.escape(message)):
        Registry().get("balancer", f"{prefix}:PCGrad")
    listed = {plugin.name: plugin.summary for plugin in Registry().offered("balancer")}
    assert requirement in listed[f"{prefix}:*"]
    assert "pcgrad" in listed


def test_listing_imports_neither_library() -> None:
    code = "import sys; sys.argv = ['mtlbench', 'list', 'balancers']; from mtlbench import cli; "
    check = "cli.run_from_arguments(); assert not {'torch', 'torchjd', 'LibMTL'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code + check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for prefix in ("torchjd", "libmtl"):
        assert f"{prefix}:" in done.stdout


@needs_libmtl
def test_libmtl_cagrad_has_three_tasks() -> None:
    with pytest.raises(MtlbenchError, match="written for 3 tasks, got 2"):
        make("libmtl:CAGrad", 2)
    rows, step = rows_of(0, 3), step_of(torch.ones(3))
    made = make("libmtl:CAGrad", 3, calpha=0.4, rescale=0)
    ours = update(make("cagrad", 3, c=0.4, rescale=0), rows, step)
    assert (made.combine(rows.float(), step) - ours).norm() < 1e-3 * ours.norm()
    with pytest.raises(Unsolvable, match="2 take part"):
        made.combine(rows[:2].float(), replace(step_of(torch.ones(2)), active=torch.tensor([0, 1])))


@needs_libmtl
def test_what_libmtl_learns_is_learned() -> None:
    losses = torch.tensor([2.0, 0.5])
    made = make("libmtl:UW", 2)
    values = losses.clone().requires_grad_()
    made.total(values, step_of(losses)).backward()
    assert values.grad is not None
    assert torch.allclose(values.grad, torch.tensor([0.5, 0.5]) * torch.tensor(0.5).exp())
    assert torch.allclose(made.loss_scale.grad, (1 - torch.tensor(0.5).exp() * losses) / 2)
    hybrid = make("libmtl:IMTL", 2)
    with torch.no_grad():
        hybrid.loss_scale.copy_(torch.tensor([0.3, -0.2]))
    hybrid.combine(rows_of(0, 2).float(), step_of(losses))
    scale = torch.tensor([0.3, -0.2]).exp()
    assert torch.allclose(hybrid.own_weights(step_of(losses)), scale)
    assert torch.allclose(hybrid.loss_scale.grad, scale * losses - 1)


@needs_libmtl
def test_libmtl_dwa_is_ours() -> None:
    theirs, ours = make("libmtl:DWA", 3), make("dwa", 3)
    for epoch in range(5):
        losses = torch.tensor([1.0, 2.0, 0.5]) * torch.tensor([0.9, 0.7, 0.99]) ** epoch
        weights = []
        for made in (theirs, ours):
            assert isinstance(made, Scalarization)
            values = losses.clone().requires_grad_()
            made.total(values, step_of(losses, index=epoch)).backward()
            made.observe(step_of(losses, index=epoch))
            assert values.grad is not None
            weights.append(values.grad)
        assert torch.allclose(weights[0], weights[1]), epoch
    assert not torch.allclose(weights[0], torch.ones(3))


@needs_libmtl
def test_libmtl_graddrop_is_ours_at_two_maps() -> None:
    features = tuple(
        torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(size)) for size in (2, 1)
    )
    rows = torch.randn(3, sum(m.numel() for m in features), generator=torch.Generator().manual_seed(9))
    theirs, ours = make("libmtl:GradDrop", 3, leak=0.2), make("graddrop", 3, leak=0.2)
    step = replace(step_of(torch.ones(3)), features=features)
    with seeded(torch.Generator().manual_seed(0), torch.device("cpu")):
        uniform = torch.rand(15)
    assert torch.allclose(
        theirs.combine(rows.clone(), step), ours.masked(rows.clone(), uniform, step), atol=1e-5
    )


FAKE = {
    "__init__.py": "raise ImportError('this package as a whole is broken')",
    "weighting/__init__.py": "from LibMTL.weighting.EW import EW\n__all__ = ['EW', 'Newer']\n"
    "from LibMTL.weighting.EW import Newer\n",
    "weighting/EW.py": "import torch.nn as nn\nclass EW(nn.Module):\n    'Ones. Or twos.'\n"
    "    def init_param(self): pass\n    def backward(self, losses): (2 * losses).sum().backward()\n"
    "class Newer(EW):\n    'From a later time.'\n",
}


def test_a_package_laid_out_like_libmtl(tmp_path: Path) -> None:
    for name, text in FAKE.items():
        path = tmp_path / "LibMTL" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    code = f"""
import sys; sys.path.insert(0, {str(tmp_path)!r})
import torch
from mtlbench.balancers import libmtl
from mtlbench.balancing import Step
assert libmtl.names() == {{"libmtl:EW": "Ones"}}, libmtl.names()
made = libmtl.find("libmtl:EW")({{"a": None, "b": None}})
losses = torch.ones(2, requires_grad=True)
made.total(losses, Step(0, 0, torch.arange(2), losses.detach(), torch.Generator())).backward()
assert losses.grad.tolist() == [2.0, 2.0]
try: libmtl.find("libmtl:Newer")
except Exception as error: assert "isn't part of release 1.1.5" in str(error)
else: raise AssertionError
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_chance_comes_from_the_generator_and_leaves_no_trace() -> None:
    import random

    before = random.getstate(), torch.random.get_rng_state()
    drawn = []
    for seed in (3, 3, 4):
        with seeded(torch.Generator().manual_seed(seed), torch.device("cpu")):
            drawn.append((random.random(), torch.rand(()).item()))
    assert drawn[0] == drawn[1] != drawn[2]
    assert before[0] == random.getstate()
    assert torch.equal(before[1], torch.random.get_rng_state())
