"""What the wheel says of itself to those who package it further."""

from __future__ import annotations

import os
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from conftest import need

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def files() -> dict[str, bytes]:
    wheel = os.environ.get("SHMELD_WHEEL", "")
    need(bool(wheel), "SHMELD_WHEEL, which cargo xtask python sets")
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_licences_are_named_and_their_texts_are_there(files: dict[str, bytes]) -> None:
    (name,) = (name for name in files if name.endswith(".dist-info/METADATA"))
    metadata = Parser().parsestr(files[name].decode())
    assert metadata["License-Expression"] == "MIT OR Apache-2.0"
    assert any("github.com" in url for url in metadata.get_all("Project-URL", []))
    texts = {Path(name).name: text for name, text in files.items() if "/licenses/" in name}
    assert set(texts) == set(metadata.get_all("License-File", []))
    assert texts["LICENSE-MIT"] == (ROOT / "LICENSE-MIT").read_bytes()
    # pyo3 and numpy of Rust are linked into every wheel of ours.
    others = texts["LICENSES-OF-OTHERS"].decode()
    assert "\npyo3 " in others and "\nnumpy " in others and "Permission is hereby granted" in others


def test_nothing_tells_where_the_wheel_was_built(files: dict[str, bytes]) -> None:
    told = [name for name, data in files.items() if f"{ROOT}/crates".encode() in data]
    assert told == []
