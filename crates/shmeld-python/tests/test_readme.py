"""The README's example, as it stands, in an environment that has nothing but the wheel and what it asks for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from conftest import need

ROOT = Path(__file__).resolve().parents[3]


def example() -> str:
    """The first block of Python in the README."""
    found = re.search(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert found
    return found[1]


def run(python: str, tmp_path: Path) -> str:
    # Names of its own: several runs at once must not meet.
    mine = f"shmeld-py-{os.getpid()}"
    program = example().replace("/readme", f"/{mine}").replace('"readme"', f'"{mine}"').replace('"/tmp"', repr(str(tmp_path)))
    command = [python, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def check(output: str) -> None:
    lines = output.splitlines()
    assert lines[0] == "get missing.txt: no such file (FNF)"
    assert lines[1] == "(1080, 1920, 3) 128.0"
    assert lines[2:] == ["[(600, 800, 3), (480, 640, 3)]"]


def test_the_example_works(tmp_path: Path) -> None:
    check(run(sys.executable, tmp_path))
    assert (tmp_path / "b.pdf").read_bytes() == (ROOT / "samples" / "b.pdf").read_bytes()


# Over 5 s: pip installs numpy.
def test_the_example_works_where_nothing_but_the_wheel_is_installed(tmp_path: Path) -> None:
    wheel = os.environ.get("SHMELD_WHEEL", "")
    need(bool(wheel), "SHMELD_WHEEL, which cargo xtask python sets")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "clean")], check=True)
    python = str(tmp_path / "clean" / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    # By itself first: what fails here is the network.
    numpy = subprocess.run([*pip, "install", "--quiet", "--no-compile", "numpy"], stdin=subprocess.DEVNULL)
    need(numpy.returncode == 0, "numpy from PyPI")
    subprocess.run([*pip, "install", "--quiet", "--no-compile", wheel], check=True)
    check(run(python, tmp_path))
