"""The operator's page names everything there is, and the architecture's page every module."""

import re
from collections import Counter
from pathlib import Path

import pytest

from server.app import App
from server.config import Settings
from server.engine.fake import FakeModel
from server.errors import CLOSE_CODES, ERRORS

ROOT = Path(__file__).parents[1]
OPERATIONS = (ROOT / "docs/operations.md").read_text()
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_operations_lists_the_setting_with_its_default_and_meaning(name: str) -> None:
    field = Settings.model_fields[name]
    row = re.search(rf"^\| `SAMWIRE_{name.upper()}` \| (.*) \| (.*) \|$", OPERATIONS, re.MULTILINE)
    assert row is not None
    assert row[2] == field.description
    default = field.default
    if isinstance(default, int | float):
        assert row[1].split(" ")[0] == f"{default:g}" or row[1].split(" ")[0] == str(default)


def test_operations_lists_every_metric_and_no_other() -> None:
    app = App(Settings(model="fake"), FakeModel)
    kinds = {"counter": "_total"}
    shown = {family.name + kinds.get(family.type, "") for family in app.metrics.registry.collect()}
    assert shown == set(re.findall(r"^\| `(samwire_\w+)` \|", OPERATIONS, re.MULTILINE))


def test_operations_lists_every_close_code_and_no_other() -> None:
    assert [int(code) for code in re.findall(r"^\| (\d{4}) \|", OPERATIONS, re.MULTILINE)] == list(
        CLOSE_CODES
    )


@pytest.mark.parametrize("name", re.findall(r"`SAMWIRE_([A-Z_]+)`", OPERATIONS))
def test_operations_names_no_setting_that_does_not_exist(name: str) -> None:
    assert name.lower() in Settings.model_fields or name.startswith(("SERVICE_", "PORT_"))


def test_operations_says_where_the_error_codes_are() -> None:
    assert "(protocol.md#errors)" in OPERATIONS


def test_every_close_code_of_an_error_is_explained() -> None:
    used = {spec.close_code for spec in ERRORS.values() if spec.close_code is not None}
    assert used <= set(CLOSE_CODES)


MODULES = Counter(
    path.name for path in (ROOT / "server").rglob("*.py") if path.name != "__init__.py"
)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_architecture_has_a_line_for_each_module_of_the_name(name: str) -> None:
    lines = re.findall(rf"^ +{re.escape(name)} +\S", ARCHITECTURE, re.MULTILINE)
    assert len(lines) == MODULES[name]
