"""The examples in the documentation of the package."""

from __future__ import annotations

import doctest
import importlib
import os
import pkgutil
import warnings
from pathlib import Path

import pytest

import shmeld

MODULES = [found.name for found in pkgutil.iter_modules(shmeld.__path__) if not found.name.startswith("_")]


@pytest.mark.parametrize("module", MODULES)
def test_examples_are_true(module: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, samples: Path) -> None:
    # They write where they are, and some use what another module has.
    (tmp_path / "samples").symlink_to(samples)
    monkeypatch.chdir(tmp_path)
    warnings.simplefilter("ignore", shmeld.ipc.NotListed)
    names = {"Server": shmeld.Server, "Client": shmeld.Client}
    outcome = doctest.testmod(importlib.import_module(f"shmeld.{module}"), extraglobs=names)
    assert outcome.failed == 0, f"{outcome} in {os.getpid()}"


def test_everything_public_says_what_it_is() -> None:
    for name in shmeld.__all__:
        what = getattr(shmeld, name)
        assert name == "__version__" or what.__doc__ or name == "Progress", name
