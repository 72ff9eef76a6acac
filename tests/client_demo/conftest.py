import pytest

from client_demo import link


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long it waits is `test_reconnect`'s; here it would only take time."""
    monkeypatch.setattr(link, "backoff_s", lambda *_: 0.0)
