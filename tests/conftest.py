from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.support.running_server import RunningServer, running_server

# On a busy machine a deadline would fail what is right; pytest-timeout is there for what hangs.
settings.register_profile("samwire", deadline=None)
settings.load_profile("samwire")


@pytest.fixture(scope="session")
def fake() -> Iterator[RunningServer]:
    """A server with the fake model: for what happens on the wire."""
    with running_server("fake") as server:
        yield server


@pytest.fixture(scope="session")
def tiny() -> Iterator[RunningServer]:
    """A server with the bundled model and its own weights."""
    with running_server("tiny") as server:
        yield server
