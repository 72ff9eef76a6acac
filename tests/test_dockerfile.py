"""The Dockerfile, as far as it can be held to the repository without building it."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.running_server import RunningServer

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
IGNORED = (ROOT / ".dockerignore").read_text().split()
COPIED = [
    source
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
    for source in line.split()[:-1]
]
PACKAGES = sorted(
    path.parent.relative_to(ROOT).as_posix()
    for root in ("server", "client_demo")
    for path in (ROOT / root).rglob("__init__.py")
    if "node_modules" not in path.parts
)


@pytest.mark.parametrize("source", COPIED)
def test_what_is_copied_exists_and_is_not_ignored(source: str) -> None:
    assert list(ROOT.glob(source))
    assert source not in IGNORED


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_of_the_wheel_is_copied(package: str) -> None:
    parents = {package, *(parent.as_posix() for parent in Path(package).parents)}
    assert parents & set(COPIED) or f"{package}/*.py" in COPIED


def test_all_that_the_package_is_built_by_is_copied() -> None:
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())
    hooks = asked["tool"]["hatch"]["build"]["hooks"]
    built_by = {"pyproject.toml", asked["project"]["readme"], "LICENSE"}
    built_by |= {hook.get("path", "hatch_build.py") for hook in hooks.values()}
    assert built_by <= set(COPIED)


def health(port: int) -> int:
    found = re.search(r"^HEALTHCHECK .* CMD \\\n +(\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert found is not None
    _, *arguments = json.loads(found[1])
    proxy = {"http_proxy": "http://127.0.0.1:9", "no_proxy": ""}
    environment = {**os.environ, **proxy, "SAMWIRE_PORT": str(port)}
    checked = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, check=False, timeout=30
    )
    return checked.returncode


def test_the_health_check_finds_a_ready_server_whatever_the_proxy(fake: RunningServer) -> None:
    assert health(fake.port) == 0


def test_the_health_check_fails_where_nobody_listens() -> None:
    assert health(9) == 1
