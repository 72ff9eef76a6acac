"""Every module is in the lists of the import laws; that it keeps them, `make laws` proves."""

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAWS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
LAYERED = {
    module
    for law in LAWS
    for layer in law.get("layers", ())
    for module in layer.replace(" ", "").split(":")
}
[WITHOUT_TORCH] = [set(law["source_modules"]) for law in LAWS if "torch or ONNX" in law["name"]]
# What may import torch; inside, it lies as it likes.
FREE = {"server.bench", "server.engine.models"}


def named(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def packages(module: str) -> set[str]:
    """The module's own name, and those of all it lies in."""
    parts = module.split(".")
    return {".".join(parts[:count]) for count in range(1, len(parts) + 1)}


MODULES = [
    named(path)
    for path in sorted((ROOT / "server").rglob("*.py"))
    if path.name != "__init__.py" and not packages(named(path)) & FREE
]


@pytest.mark.parametrize("module", MODULES)
def test_a_law_says_what_the_module_may_import(module: str) -> None:
    assert packages(module) & LAYERED


@pytest.mark.parametrize("module", MODULES)
def test_the_law_against_torch_lists_the_module(module: str) -> None:
    assert packages(module) & WITHOUT_TORCH
