"""Readers of golden results of loss-based balancers; settings are read from the keys of the results.

Where the published code ran in float64, everything must agree to 1e-8 of the largest number.
"""

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from golden_balancers import Case, Reader, SequenceReader, assert_close, make_step, tasks, vector
from loss_steps import ask
from mtlbench.balancers.dwa import DWA
from mtlbench.balancers.famo import FAMO
from mtlbench.balancers.gls import GLS
from mtlbench.balancers.imtl_l import IMTLL
from mtlbench.balancers.log import Log
from mtlbench.balancers.rlw import RLW
from mtlbench.balancers.stch import STCH
from mtlbench.balancers.uncertainty import Uncertainty
from torch import Generator, Tensor, nn

from mtlbench.balancing import Scalarization, Step

NUMBER = r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)"
HEADER = {"kind", "T", "sources", "note"}
EXACT = 1e-8
SINGLE = 1e-6
"""For published code that computes in float32."""


def compare(found: Tensor, expected: Any, what: str, tolerance: float = EXACT) -> None:
    """Agreement; where the published result is not finite, ours must be finite all the same."""
    expected = expected if isinstance(expected, list) else [expected]
    found = found.reshape(-1)
    assert len(found) == len(expected), f"{what}: {len(found)} numbers, not {len(expected)}"
    if vector(expected).isfinite().all():
        assert_close(found, expected, tolerance, what)
    else:
        assert found.isfinite().all(), f"{what}: {found.tolist()}"


def compare_entry(
    entry: dict[str, Any], found: dict[str, Tensor], what: str, also: Collection[str] = ()
) -> None:
    """All keys of the entry but those in `also`, which are input or checked elsewhere."""
    require_known(entry, {*found, *also}, what)
    for key in entry.keys() - set(also):
        compare(found[key], entry[key], f"{what}: {key}")


def require_known(entry: Collection[str], known: Collection[str], what: str) -> None:
    unknown = [key for key in entry if key not in known]
    assert not unknown, f"{what}: nothing is known of {unknown}"


def settings(pattern: str, key: str, what: str) -> tuple[str | Any, ...]:
    match = re.fullmatch(pattern, key)
    assert match, f"{what}: nothing is known of the result `{key}`"
    return match.groups()


def by_task(values: Sequence[float]) -> dict[str, float]:
    return dict(zip(tasks(len(values)), values, strict=True))


def read_learned(case: Case, sources: str, make: Callable[[str, float], Scalarization]) -> None:
    """A balancer with one learned parameter per task, stepped by the optimizer that the key names."""
    require_known(case.content, HEADER | {"losses", "results"}, case.path.name)
    for key, result in case.content["results"].items():
        what = f"{case.path.name} {key}"
        pattern = rf"({sources})_(sgd|adam)_lr{NUMBER}(?:_wd{NUMBER})?"
        source, optimizer, lr, decay = settings(pattern, key, case.path.name)
        require_known(result, {"init", "steps", "formula"}, what)
        balancer = make(source, result["init"][0]).double()
        (own,) = balancer.parameters()
        with torch.no_grad():
            own.copy_(vector(result["init"]))
        kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]
        updates = kind([own], lr=float(lr), weight_decay=float(decay or 0))
        assert len(result["steps"]) == len(case.content["losses"])
        for i, (losses, expected) in enumerate(zip(case.content["losses"], result["steps"], strict=True)):
            total, weights = ask(balancer, make_step(vector(losses), i))
            gradient = gradient_of(own)
            updates.step()
            found = {
                "loss": total,
                "weights_used": weights,
                "weights": weights,
                "grad": gradient,
                "param_after": own.detach(),
            }
            compare_entry(expected, found, f"{what} step {i}")


def gradient_of(own: nn.Parameter) -> Tensor:
    assert own.grad is not None
    return own.grad.clone()


def read_uncertainty(case: Case) -> None:
    def make(source: str, init: float) -> Scalarization:
        return Uncertainty(tasks(case.count), variant="b" if source == "samsung" else "a", init=init)

    read_learned(case, "libmtl|torchjd|nash-mtl|samsung", make)


def read_imtl_l(case: Case) -> None:
    read_learned(case, "libmtl|torchjd|samsung", lambda _, init: IMTLL(tasks(case.count), init=init))


def read_log(case: Case) -> None:
    forms = {"log": Log(tasks(case.count), form="log"), "log1p": Log(tasks(case.count), form="log1p")}
    require_known(case.content, HEADER | {"losses"} | forms.keys(), case.path.name)
    for form in forms.keys() & case.content.keys():
        total, weights = ask(forms[form], make_step(case.losses))
        found = {"loss": total, "weights": weights}
        compare_entry(case.content[form], found, f"{case.path.name} {form}", also={"source"})


def read_gls(case: Case) -> None:
    require_known(case.content, HEADER | {"losses", "results"}, case.path.name)
    require_known(case.content["results"], {"torchjd", "libmtl"}, case.path.name)
    total, weights = ask(GLS(tasks(case.count)), make_step(case.losses))
    found = {
        "loss": total,
        "weights": weights,
        # L_i / (T prod L): what LibMTL says of its weights, which are total / (T L_i)
        "returned_weights": case.losses / (case.count * total**case.count),
    }
    for source, expected in case.content["results"].items():
        compare_entry(expected, found, f"{case.path.name} {source}", also={"note"})


def read_rlw(case: Case) -> None:
    """The published weights are those of given normal numbers."""
    require_known(case.content, HEADER | {"normals", "weights"}, case.path.name)

    class Given(RLW):
        def draw(self, count: int, generator: Generator) -> Tensor:
            return x

    for i, (normals, expected) in enumerate(
        zip(case.content["normals"], case.content["weights"], strict=True)
    ):
        x = vector(normals)
        _, weights = ask(Given(tasks(case.count)), make_step(torch.ones(case.count).double(), i))
        compare(weights, expected, f"{case.path.name} step {i}")


def read_dwa(case: Case) -> None:
    windows = {
        key: settings(rf"nash_mtl_window(\d+)_T{NUMBER}_weights_per_iteration", key, case.path.name)
        for key in case.content.keys() - HEADER - {"batch_losses", "epoch_averages", "weights_per_epoch"}
    }
    for key, expected in case.content["weights_per_epoch"].items():
        _, temperature = settings(rf"(libmtl|torchjd)_T{NUMBER}", key, case.path.name)
        check_epochs(case, float(temperature), expected, f"{case.path.name} {key}")
    for key, (window, temperature) in windows.items():
        balancer = DWA(tasks(case.count), temperature=float(temperature), window=int(window))
        steps = list(steps_of_epochs(case))
        for step, expected in zip(steps, case.content[key], strict=True):
            total, gradient = ask(balancer, step)
            what = f"{case.path.name} {key} step {step.index}"
            compare(gradient * case.count, expected, what, SINGLE)
            mean = float((vector(expected) * step.losses).mean())
            compare(total, mean, f"{what}: mean of weighted losses", SINGLE)
            balancer.observe(step)


def check_epochs(case: Case, temperature: float, expected: list[list[float]], what: str) -> None:
    balancer = DWA(tasks(case.count), temperature=temperature)
    averages = case.content["epoch_averages"]
    assert len(expected) == len(averages) == len(case.content["batch_losses"])
    for step in steps_of_epochs(case):
        _, weights = ask(balancer, step)
        compare(weights, expected[step.epoch], f"{what} step {step.index}")
        if step.epoch > 0:
            compare(balancer.last, averages[step.epoch - 1], f"{what}: mean of epoch {step.epoch - 1}")
        balancer.observe(step)
    compare(balancer.sums / balancer.counts, averages[-1], f"{what}: mean of the last epoch")


def steps_of_epochs(case: Case) -> list[Step]:
    flat = [(e, batch) for e, batches in enumerate(case.content["batch_losses"]) for batch in batches]
    return [make_step(vector(losses), index, epoch) for index, (epoch, losses) in enumerate(flat)]


def read_famo(case: Case) -> None:
    content = case.content
    require_known(content, HEADER | {"losses_before", "losses_after", "w_lr", "results"}, case.path.name)
    for key, result in content["results"].items():
        _, gamma, bounded = settings(
            rf"(official|torchjd|libmtl)_gamma{NUMBER}(_minlosses)?", key, case.path.name
        )
        steps, bounds = result, None
        if bounded:
            require_known(result, {"min_losses", "steps"}, f"{case.path.name} {key}")
            steps, bounds = result["steps"], by_task(result["min_losses"])
        balancer = FAMO(tasks(case.count), lr=content["w_lr"], gamma=float(gamma), min_losses=bounds)
        inputs = zip(content["losses_before"], content["losses_after"], steps, strict=True)
        for i, (before, after, expected) in enumerate(inputs):
            step = make_step(vector(before), i)
            total, weights = ask(balancer, step)
            balancer.observe(step)
            balancer.observe_change(step, vector(after))
            found = {
                "loss": total,
                "weights": weights,
                "w_after": balancer.logits,
            }
            compare_entry(expected, found, f"{case.path.name} {key} step {i}")


def read_stch(case: Case) -> None:
    for key in case.content.keys() - HEADER:
        what = f"{case.path.name} {key}"
        pattern = rf"(?:libmtl_mu{NUMBER}_warmup(\d+)|torchjd_mu{NUMBER}(_pref)?)"
        mu, warmup, linear_mu, preferred = settings(pattern, key, case.path.name)
        entry = case.content[key]
        if linear_mu is None:
            check_stch_log(STCH(tasks(case.count), mu=float(mu), warmup=int(warmup)), entry, what)
            continue
        given = {"preference", "reference"}
        assert bool(preferred) == bool(given & entry.keys()), what
        options = {option: by_task(entry[option]) for option in given & entry.keys()}
        balancer = STCH(tasks(case.count), form="linear", mu=float(linear_mu), **options)
        total, weights = ask(balancer, make_step(vector(entry["losses"])))
        found = {"loss": total, "weights": weights}
        compare_entry(entry, found, what, also=given | {"losses"})


def check_stch_log(balancer: STCH, entry: dict[str, Any], what: str) -> None:
    require_known(entry, {"steps", "nadir"}, what)
    for i, expected in enumerate(entry["steps"]):
        step = make_step(vector(expected["losses"]), i, expected["epoch"])
        _, weights = ask(balancer, step)
        balancer.observe(step)
        compare_entry(
            expected,
            {"weights": weights},
            f"{what} step {i}",
            also={"epoch", "losses"},
        )
    if entry.get("nadir") is not None:
        compare(balancer.sums / balancer.counts, entry["nadir"], f"{what}: nadir")


READERS_GRAM: dict[str, Reader] = {}
READERS_STEPS: dict[str, Reader] = {}
READERS_SEQUENCE: dict[str, SequenceReader] = {
    "uw": read_uncertainty,
    "imtl_l": read_imtl_l,
    "scale_invariant": read_log,
    "gls": read_gls,
    "rlw": read_rlw,
    "dwa": read_dwa,
    "famo": read_famo,
    "stch": read_stch,
}
