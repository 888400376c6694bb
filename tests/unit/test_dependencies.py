"""What the project imports it names: a package that another one happens to bring may go with it."""

from __future__ import annotations

import ast
import contextlib
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
OURS = {"agent", "persistence", "prompts", "migrations"}
SHARED = {"livekit", "google"}
"""Namespaces of several distributions, which are named one by one."""


def imported(folders: set[str]) -> set[str]:
    """Return the top-level names that the modules below `folders` import."""
    names: set[str] = set()
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add((node.module or "").partition(".")[0])
    return names


def parsed(path: Path) -> ast.Module:
    """Return the tree of a module.

    Before Python 3.11.9 and 3.12.3 that may fail while another thread parses, too (gh-106905).
    """
    text = path.read_text(encoding="utf-8")
    while True:
        with contextlib.suppress(SystemError):
            return ast.parse(text)


def unnamed(imports: set[str], requirements: list[str]) -> set[str]:
    """Return those of `imports` whose distribution no requirement names, with a lower bound."""
    floored = {canonical(re.split(r"[\[=>]", r)[0]) for r in requirements if re.search("[=>]=", r)}
    brought = packages_distributions()
    return {
        name
        for name in imports & set(brought) - SHARED - OURS - set(sys.stdlib_module_names)
        if not {canonical(d) for d in brought[name]} & floored
    }


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_what_the_project_imports_it_names(project: dict[str, Any]) -> None:
    named = [*project["project"]["dependencies"], *project["dependency-groups"]["local"]]
    # the pool is an extra of the driver
    assert unnamed(imported(OURS), named) - {"psycopg_pool"} == set()


def test_what_the_tests_import_besides_the_project_names_too(project: dict[str, Any]) -> None:
    groups = project["dependency-groups"]
    named = [*project["project"]["dependencies"], *groups["local"], *groups["dev"]]
    assert unnamed(imported({"tests"}), named) - {"psycopg_pool"} == set()
