"""Runs malformed grid files through the real command and checks how each is refused.

    python benchmarks/malformed_grids.py [--count 200] [--seed 0] [--messages] [--processes 5]

Every one must be answered with exit code 2 and one message that says what is wrong and where, within bounded
time and memory, without a traceback, and before anything is started or written. Mistakes are wrong by
construction; those that are drawn differ with the seed. Each case runs in a forked process that has imported
everything already, which is ended when it hangs; `--processes` of them run as real ones besides.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

import malformed_files  # noqa: F401  enters its kinds
import malformed_meaning  # noqa: F401
import malformed_values
import torch
import typer
from malformed_case import KINDS, Case

from mtlbench import commands, preflight  # noqa: F401  imported once, before processes are forked
from mtlbench.cli import app, run_from_arguments
from mtlbench.registry import registry

PER_KIND = 40
MOST_CPU_SECONDS, MOST_MEMORY_MB, MOST_CHARACTERS = 10.0, 500.0, 4000
HANGS_AFTER = 120.0
STARTS = ("os.fork", "os.posix_spawn", "os.system", "os.exec", "subprocess.Popen", "socket.connect")


@dataclass(frozen=True)
class Outcome:
    """What became of a case; `memory_mb` beyond what the process began with; `left` was not there before."""

    code: int
    text: str
    cpu_seconds: float
    memory_mb: float
    left: tuple[str, ...] = ()


def draw_cases(count: int, seed: int) -> list[tuple[str, Case]]:
    """Kind and case: all that stand in lists first, the others drawn in turn from the kinds without end."""
    makers = {kind: maker(random.Random(f"{kind} {seed}")) for kind, maker in KINDS.items()}
    fixed = {kind: list(islice(cases, PER_KIND)) for kind, cases in makers.items()}
    chosen = [(kind, case) for kind, cases in fixed.items() if len(cases) < PER_KIND for case in cases]
    endless = [kind for kind, cases in fixed.items() if len(cases) == PER_KIND]
    seen = {case.about for _, case in chosen}
    for turn in range(max(0, count - len(chosen))):
        kind = endless[turn % len(endless)]
        case = next(case for case in makers[kind] if case.about not in seen)
        seen.add(case.about)
        chosen.append((kind, case))
    return chosen


def run_case(case: Case, place: Path) -> Outcome:
    """Run `mtlbench run` in a fork of this process, in the folder `place`."""
    before = _write(case, place)
    with tempfile.TemporaryFile() as output:
        started = time.monotonic()
        child = os.fork()
        if not child:
            _answer(case, place, output.fileno())
        while not (ended := os.wait4(child, os.WNOHANG))[0]:
            if time.monotonic() - started > HANGS_AFTER:
                os.kill(child, signal.SIGKILL)
            time.sleep(0.002)
        output.seek(0)
        text = output.read().decode(errors="replace")
    _, status, usage = ended
    seconds = usage.ru_utime + usage.ru_stime
    memory = usage.ru_maxrss / 1024 - _smallest_mb()
    left = tuple(sorted(set(_listing(place)) - set(before)))
    return Outcome(os.waitstatus_to_exitcode(status), text, seconds, memory, left)


def _write(case: Case, place: Path) -> list[str]:
    place.mkdir(parents=True)
    for name, content in {
        **case.files,
        **({"grid.yaml": case.content} if case.content is not None else {}),
    }.items():
        (place / name).write_bytes(content)
    if case.prepare is not None:
        case.prepare(place)
    return list(_listing(place))


def _listing(place: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(place):
        folders[:] = [name for name in folders if name != "__pycache__"]
        yield from (os.path.join(folder, name) for name in (*folders, *files))


def _answer(case: Case, place: Path, output: int) -> None:
    """The child's part: never returns."""
    code = 70
    try:
        os.chdir(place)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
        sys.addaudithook(_tell_of_starts)
        sys.argv = ["mtlbench", case.command, *case.arguments]
        code = run_from_arguments()
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _tell_of_starts(event: str, arguments: tuple[object, ...]) -> None:
    if event in STARTS:
        os.write(2, f"STARTED {event} {arguments!r}\n"[:300].encode())


@cache
def _smallest_mb() -> float:
    """What a fork of this process takes that does nothing."""
    child = os.fork()
    if not child:
        os._exit(0)
    return os.wait4(child, 0)[2].ru_maxrss / 1024


def faults(case: Case, outcome: Outcome) -> list[str]:
    """What is wrong with how a case was answered."""
    found = []
    if outcome.code != 2:
        found.append(f"exit code {outcome.code}")
    if "Traceback" in outcome.text:
        found.append("a traceback")
    if outcome.text.count("error:") + outcome.text.count("Error ─") != 1:
        found.append("not one message")
    if len(outcome.text) > MOST_CHARACTERS:
        found.append(f"{len(outcome.text)} characters")
    if "STARTED" in outcome.text:
        found.append("something was started")
    if outcome.left:
        found.append(f"left behind: {', '.join(Path(path).name for path in outcome.left[:3])}")
    if outcome.cpu_seconds > MOST_CPU_SECONDS:
        found.append(f"{outcome.cpu_seconds:.0f} s")
    if outcome.memory_mb > MOST_MEMORY_MB:
        found.append(f"{outcome.memory_mb:.0f} MB")
    unsaid = [text for text in case.says if text not in outcome.text]
    if unsaid:
        found.append(f"doesn't say {', '.join(map(repr, unsaid))}")
    return found


@contextmanager
def all_imported() -> Iterator[None]:
    """With what forked processes would import one by one."""
    torch.set_num_threads(1)
    sys.dont_write_bytecode = True
    for family in ("dataset", "backbone", "method", "balancer", "tuning", "protocol"):
        for name in registry.names(family):
            if ":" not in name:
                registry.get(family, name).options()
    typer.main.get_command(app)
    gc.collect()
    gc.freeze()  # else every fork touches, and so copies, all objects there are
    yield
    gc.unfreeze()


def check_right(place: Path) -> None:
    """The grid that cases are made of has no mistakes itself."""
    right = Case("nothing", malformed_values.with_value(("name",), "small"), command="plan")
    outcome = run_case(right, place)
    assert outcome.code == 0, outcome.text


def run_as_process(case: Case, place: Path) -> Outcome:
    """The same in a process of its own, from the command line."""
    before = _write(case, place)
    command = [sys.executable, "-m", "mtlbench", case.command, *case.arguments]
    done = subprocess.run(
        command, cwd=place, capture_output=True, text=True, timeout=HANGS_AFTER, check=False
    )
    left = tuple(sorted(set(_listing(place)) - set(before)))
    return Outcome(done.returncode, done.stdout + done.stderr, 0.0, 0.0, left)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--messages", action="store_true", help="print every message")
    parser.add_argument("--only", default="", help="kinds whose name holds this")
    parser.add_argument("--processes", type=int, default=5)
    options = parser.parse_args(arguments)
    cases = [(kind, case) for kind, case in draw_cases(options.count, options.seed) if options.only in kind]
    rows: dict[str, list[tuple[Case, Outcome, list[str]]]] = {}
    with tempfile.TemporaryDirectory() as folder, all_imported():
        check_right(Path(folder) / "right")
        for number, (kind, case) in enumerate(cases):
            outcome = run_case(case, Path(folder) / str(number))
            rows.setdefault(kind, []).append((case, outcome, faults(case, outcome)))
            if options.messages or rows[kind][-1][2]:
                _show(kind, *rows[kind][-1], folder)
        sample = random.Random(options.seed).sample(cases, min(options.processes, len(cases)))
        for number, (_, case) in enumerate(sample):
            outcome = run_as_process(case, Path(folder) / f"process-{number}")
            rows.setdefault("as a real process", []).append((case, outcome, faults(case, outcome)))
            if rows["as a real process"][-1][2]:
                _show("as a real process", *rows["as a real process"][-1], folder)
    return _summarise(rows)


def _show(kind: str, case: Case, outcome: Outcome, found: list[str], folder: str) -> None:
    verdict = f"WRONG: {'; '.join(found)}" if found else "ok"
    text = outcome.text.replace(folder, "")[-1500:].strip()
    print(f"--- {kind} / {case.about}: {verdict} ({outcome.cpu_seconds:.2f} s)\n{text}", flush=True)


def _summarise(rows: dict[str, list[tuple[Case, Outcome, list[str]]]]) -> int:
    print("\n| kind | cases | passed | most CPU s | most MB | an example |\n|---|---|---|---|---|---|")
    failed = 0
    for kind, results in rows.items():
        passed = [result for result in results if not result[2]]
        failed += len(results) - len(passed)
        seconds = max(outcome.cpu_seconds for _, outcome, _ in results)
        memory = max(0.0, *(outcome.memory_mb for _, outcome, _ in results), 0.0)
        case, outcome, _ = passed[len(passed) // 2] if passed else results[0]
        example = " ".join(outcome.text.split())[:140].replace("|", "/")
        cells = (
            kind,
            len(results),
            len(passed),
            f"{seconds:.1f}",
            f"{memory:.0f}",
            f"{case.about}: {example}",
        )
        print(f"| {' | '.join(map(str, cells))} |")
    total = sum(map(len, rows.values()))
    print(f"\n{total - failed} of {total} passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
