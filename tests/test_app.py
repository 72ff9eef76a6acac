"""Sockets that miss their route, called as a server calls them; the rest of it is in tests/e2e."""

from pathlib import Path
from typing import Any

import pytest

from server import app as module
from server.app import App
from server.config import Settings
from server.engine.fake import FakeModel


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> App:
    """With a page, whether or not one is built."""
    (tmp_path / "index.html").write_text("the page")
    monkeypatch.setattr(module, "_STATIC", tmp_path)
    return App(Settings(model="fake"), FakeModel)


@pytest.mark.parametrize("path", ["/", "/v1/ws/", "/v2/ws", "/index.html"])
async def test_a_socket_anywhere_else_is_refused_and_no_fault(app: App, path: str) -> None:
    sent: list[Any] = []
    scope = {"type": "websocket", "path": path, "headers": [], "subprotocols": []}

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app.starlette(scope, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]
