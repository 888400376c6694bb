"""The maps in the packages' docstrings name every room that there is, and none that is not."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

import agent
import persistence


@pytest.mark.parametrize("package", [agent, persistence])
def test_the_map_of_a_package_names_everything_in_it(package: ModuleType) -> None:
    (folder,) = map(Path, package.__path__)
    rooms = {path.stem for path in folder.glob("[!_]*.py")}
    rooms |= {path.name for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._"}
    assert rooms - {"__pycache__"} <= set(re.findall(r"\w+", str(package.__doc__)))


@pytest.mark.parametrize("package", [agent, persistence])
def test_what_a_map_names_is_there(package: ModuleType) -> None:
    (folder,) = map(Path, package.__path__)
    lines = re.findall(r"^ {4}(\S.*?)  ", str(package.__doc__), re.MULTILINE)
    for name in ", ".join(lines).split(", "):
        places = [place / name.rstrip("/") for place in (folder, folder.parent)]
        assert any(p.is_dir() or p.with_suffix(".py").exists() for p in places), name
