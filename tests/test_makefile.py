"""The two commands on machines that lack something; what they install and run is played."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = ("pip", "samwire", "ruff", "mypy", "lint-imports", "pytest")
# `make test` may be what runs these tests.
NOT_OURS = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES", "CI", "CHROMIUM")

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")


class Machine:
    """A virtual environment that is set up, the page's folder, Node and npm: all of them played."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.environment = {name: os.environ[name] for name in os.environ if name not in NOT_OURS}
        self.environment["PATH"] = f"{folder / 'bin'}:{os.environ['PATH']}"
        self.has("node", "echo v20.19.0")
        self.has("npm", "echo npm $*")
        for tool in TOOLS:
            self.has(tool, f"echo {tool} $*", where="venv/bin")
        for made in ("web/package-lock.json", "venv/.server", "venv/.dev"):
            path = folder / made
            path.parent.mkdir(exist_ok=True)
            path.touch()
        (folder / "web/node_modules").mkdir()

    def has(self, tool: str, script: str, where: str = "bin") -> None:
        path = self._folder / where / tool
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def make(self, target: str, **variables: object) -> subprocess.CompletedProcess[str]:
        folder = self._folder
        given = {
            "VENV": folder / "venv",
            "WEB": folder / "web",
            "PAGE": folder / "page",
        } | variables
        command = ["make", target, *(f"{name}={value}" for name, value in given.items())]
        return subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_run_builds_the_page_and_serves(machine: Machine) -> None:
    said = machine.make("run").stdout
    assert "run --silent build" in said
    assert said.endswith("samwire serve\n")


@pytest.mark.parametrize(
    "version", ["v18.20.4", "v20.18.3", "v4.0.0", "v9.11.2", "v21.7.3", "v22.11.0"]
)
def test_an_old_node_is_as_good_as_none(machine: Machine, version: str) -> None:
    machine.has("node", f"echo {version}")
    made = machine.make("run")
    assert made.returncode == 0
    assert "no Node.js 20.19, 22.12 or newer" in made.stdout
    assert "npm" not in made.stdout.replace("(with npm)", "")
    assert made.stdout.endswith("samwire serve\n")
    assert machine.make("setup").returncode != 0


@pytest.mark.parametrize("version", ["v20.19.0", "v22.12.0", "v24.0.1", "v100.0.0"])
def test_a_new_node_builds_the_page(machine: Machine, version: str) -> None:
    machine.has("node", f"echo {version}")
    assert "run --silent build" in machine.make("run").stdout


def test_it_serves_without_a_page_that_cannot_be_built(machine: Machine) -> None:
    machine.has("npm", "echo the registry is away >&2; exit 1")
    made = machine.make("run")
    assert made.returncode == 0
    assert "the registry is away" in made.stderr
    assert "the page could not be built" in made.stdout
    assert made.stdout.endswith("samwire serve\n")


def test_without_chromium_the_first_and_the_last_line_say_what_is_skipped(
    machine: Machine, tmp_path: Path
) -> None:
    missing = tmp_path / "chromium"
    first, *_, last = machine.make("test", CHROMIUM=missing).stdout.splitlines()
    assert f"no Chromium at {missing}, so `make test` will skip the browser tests" in first
    assert "SKIPPED" in last
    missing.touch()
    made = machine.make("test", CHROMIUM=missing).stdout
    assert made.splitlines()[-1] == "samwire: every check passed."
    assert "no Chromium" not in made


def test_the_page_is_built_once_for_the_browser_tests(machine: Machine) -> None:
    assert "--silent build" not in machine.make("test").stdout  # their own script builds it
