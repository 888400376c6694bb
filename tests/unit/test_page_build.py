"""Building the page: with what is here, once, and never at the cost of the page that is here."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from agent.local import page

ROOT = Path(__file__).parents[2]

NPM = """#!{python}
import json, pathlib, sys
said = pathlib.Path("said")
said.write_text((said.read_text() if said.exists() else "") + " ".join(sys.argv[1:3]) + "\\n")
if pathlib.Path("offline").exists() and sys.argv[1] == "ci":
    sys.exit("no registry")
if sys.argv[1] == "ci":
    pathlib.Path("node_modules").mkdir(exist_ok=True)
    lock = pathlib.Path("package-lock.json").read_text()
    pathlib.Path("node_modules/.package-lock.json").write_text(lock)
else:
    target = pathlib.Path(sys.argv[sys.argv.index("--outDir") + 1])
    target.mkdir()
    source = pathlib.Path("src/main.ts").read_text()
    (target / "index.html").write_text(source)
"""


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout's source of a page, an npm that notes what it is asked, and a Node."""
    web, tools = tmp_path / "web", tmp_path / "bin"
    (web / "src").mkdir(parents=True)
    tools.mkdir()
    for name in ("index.html", "package.json", "vite.config.ts"):
        (web / name).write_text(name)
    (web / "package-lock.json").write_text(lock(react="19.0.0"))
    (web / "src" / "main.ts").write_text("first")
    script(tools / "npm", NPM.format(python=sys.executable))
    script(tools / "node", "#!/bin/sh\necho v22.1.0\n")
    monkeypatch.setattr(page, "SOURCE", web)
    monkeypatch.setattr(page, "BUILT", web / "dist")
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.delenv("UV", raising=False)
    return web


def lock(**versions: str) -> str:
    packages: dict[str, object] = {"": {"name": "page"}}
    packages |= {f"node_modules/{name}": {"version": it} for name, it in versions.items()}
    packages["node_modules/eslint"] = {"version": "10.0.0", "dev": True}
    return json.dumps({"packages": packages})


def script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def said(source: Path) -> list[str]:
    return (source / "said").read_text().splitlines()


def test_it_is_built_once_and_again_when_its_source_has_changed(source: Path) -> None:
    assert (page.can_be_built(), page.is_there(), page.is_current()) == (True, False, False)
    page.build()
    assert (page.is_there(), page.is_current()) == (True, True)
    page.build()
    assert said(source) == ["ci --omit=dev", "run build"]
    (source / "src" / "main.ts").write_text("second")
    assert not page.is_current()
    page.build()
    assert said(source)[2:] == ["run build"], "what is installed is not installed again"
    assert (source / "dist" / "index.html").read_text() == "second"
    assert [entry for entry in source.iterdir() if entry.name.startswith("dist.")] == []


def test_other_versions_are_installed_anew(source: Path) -> None:
    page.build()
    (source / "package-lock.json").write_text(lock(react="19.0.1"))
    page.build()
    assert said(source)[2:] == ["ci --omit=dev", "run build"]


def test_what_cannot_be_installed_leaves_the_page_that_is_there(source: Path) -> None:
    page.build()
    (source / "offline").touch()
    (source / "package-lock.json").write_text(lock(react="19.0.1"))
    with pytest.raises(page.PageError, match=re.escape("npm ci")):
        page.build()
    assert page.is_there()
    assert not page.is_current()


def test_without_node_uv_fetches_it_and_without_both_it_is_said(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = source.parent / "bin" / "node"
    script(old, "#!/bin/sh\necho v18.20.0\n")
    monkeypatch.setenv("UV", "/somewhere/uv")
    assert page.npm()[:3] == ["/somewhere/uv", "tool", "run"]
    assert page.npm()[-1] == "npm"
    monkeypatch.delenv("UV")
    with pytest.raises(page.PageError, match=re.escape("neither Node 20.19 or later")):
        page.build()


def test_an_installed_package_builds_nothing(source: Path) -> None:
    (source / "package.json").unlink()
    assert not page.can_be_built()


def test_the_lock_file_names_no_registry_and_the_versions_are_exact() -> None:
    locked = (ROOT / "agent" / "web" / "package-lock.json").read_text()
    assert '"resolved"' not in locked
    assert not re.search(r"https?://[^\"]*registry", locked)
    named = json.loads((ROOT / "agent" / "web" / "package.json").read_text())
    versions = [*named["dependencies"].values(), *named["devDependencies"].values()]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions), versions
