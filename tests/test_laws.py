"""The import laws leave nothing out; that the modules keep them, `make laws` proves.

A list of what may not be imported is as good as it is complete, so each one is held against the
files that there are: whoever adds a module has to say who may import it.
"""

import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
LAWS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
LAYERED = {package: law for law in LAWS for package in law.get("containers", ())}


def law(words: str) -> Any:
    """The one whose name has these words."""
    [found] = [law for law in LAWS if words in law["name"]]
    return found


def inside(package: str) -> set[str]:
    """The names of the modules and packages that lie directly in it."""
    folder = ROOT.joinpath(*package.split("."))
    modules = {path.stem for path in folder.glob("*.py") if path.name != "__init__.py"}
    return modules | {path.parent.name for path in folder.glob("*/__init__.py")}


def named(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def packages(module: str) -> set[str]:
    """The module's own name, and those of all it lies in."""
    parts = module.split(".")
    return {".".join(parts[:count]) for count in range(1, len(parts) + 1)}


@pytest.mark.parametrize("package", ["server", "server.sessions", "server.engine", *LAYERED])
def test_every_module_of_the_package_has_its_layer(package: str) -> None:
    layers = LAYERED[package]["layers"]
    assert LAYERED[package]["exhaustive"]
    assert {name.strip() for layer in layers for name in layer.split("|")} == inside(package)


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        ("The client needs no server", {"protocol", "messages", "errors", "rle", "geometry"}),
        ("The engine knows", {"engine", "errors", "geometry", "rle"}),
        ("The protocol knows", {"protocol", "messages", "errors"}),
    ],
)
def test_what_is_not_allowed_is_forbidden(words: str, allowed: set[str]) -> None:
    forbidden = {name for name in law(words)["forbidden_modules"] if name.startswith("server")}
    assert forbidden == {f"server.{name}" for name in inside("server") - allowed}


# What may import torch; inside, it lies as it likes.
FREE = {"server.bench", "server.engine.models"}
MODULES = [
    named(path)
    for path in sorted((ROOT / "server").rglob("*.py"))
    if path.name != "__init__.py" and not packages(named(path)) & FREE
]


@pytest.mark.parametrize("module", MODULES)
def test_the_law_against_torch_lists_the_module(module: str) -> None:
    assert packages(module) & set(law("torch or ONNX")["source_modules"])


PURE = [f"server.sessions.{name}" for name in sorted(inside("server.sessions") - {"connection"})]


@pytest.mark.parametrize("module", [*PURE, "server.engine.queue", "server.protocol"])
def test_the_law_of_pure_decisions_lists_the_module(module: str) -> None:
    assert module in law("Decisions are made")["source_modules"]
