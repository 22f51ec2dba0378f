"""docs/tutorial.md works as it is written: its files are written and its commands run, in order, in an empty
folder; only sizes are smaller.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

PAGE = Path(__file__).parent.parent / "docs" / "tutorial.md"
FILE = re.compile(r"[#%] (\S+\.\w+)\n")
TINY: dict[str, dict[str, Any]] = {
    "question.yaml": {
        "dataset": {"train": 8, "val": 2},
        "seed": [0],
        "recipe": {"iterations": 2},
        "execution": {"gallery": 0},
    },
    "power.yaml": {"tune": {"trials": 2}},
}
"""What is smaller than on the page; two iterations teach nothing."""


def blocks() -> list[tuple[str, str]]:
    """(kind, text) of all fenced blocks, in order."""
    return re.findall(
        r"^```(\w+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )


def shrunk(name: str, text: str) -> str:
    content = yaml.safe_load(text)
    for key, smaller in TINY[name].items():
        content[key] = {**content.get(key, {}), **smaller} if isinstance(smaller, dict) else smaller
    return yaml.safe_dump(content)


def execute(command: str, folder: Path) -> str:
    """In a shell that finds this Python's commands first."""
    found = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MPLBACKEND": "Agg",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        ["bash", "-ec", command],
        cwd=folder,
        env=found,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_the_tutorial_works(tmp_path: Path) -> None:
    printed = {}
    for kind, text in blocks():
        if named := FILE.match(text):
            name, content = named[1], text[named.end() :]
            (tmp_path / name).write_text(shrunk(name, content) if kind == "yaml" else content)
        elif kind == "sh" and (text.split()[0] != "pdflatex" or shutil.which("pdflatex")):
            printed[" ".join(text.split()[:2])] = execute(text, tmp_path)
    assert "exchange.py" in printed["mtlbench list"]
    assert "7 new" in printed["mtlbench plan"]
    assert "Exchange" in printed["mtlbench run"]
    reports = tmp_path / "runs" / "reports"
    assert (reports / "question" / "statistics.md").exists()
    assert (reports / "power-tuned" / "report.html").exists()
    assert (tmp_path / "exchange.pdf").stat().st_size > 1000
    assert (tmp_path / "paper.pdf").exists() == bool(shutil.which("pdflatex"))


def test_every_command_of_the_page_is_run() -> None:
    """Blocks of other kinds would be skipped without a word; `text` is output."""
    assert {kind for kind, _ in blocks()} <= {"python", "yaml", "tex", "sh", "text"}
    assert all(FILE.match(text) for kind, text in blocks() if kind in ("python", "yaml", "tex"))
