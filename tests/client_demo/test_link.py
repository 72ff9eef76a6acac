"""Addresses; what the link does on a connection is in `test_client_connections` and beyond."""

import pytest

from client_demo.client import SamwireError, connect
from client_demo.link import socket_url


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("localhost:8000", "ws://localhost:8000/v1/ws"),
        ("http://localhost:8000", "ws://localhost:8000/v1/ws"),
        ("http://localhost:8000/", "ws://localhost:8000/v1/ws"),
        ("https://here.example", "wss://here.example/v1/ws"),
        ("ws://here.example/behind/proxy", "ws://here.example/behind/proxy"),
        ("wss://here.example/v1/ws?a=b", "wss://here.example/v1/ws?a=b"),
    ],
)
def test_an_address_is_taken_as_people_write_it(written: str, meant: str) -> None:
    assert socket_url(written) == meant


@pytest.mark.parametrize("url", ["ws://127.0.0.1:1", "nothing://here", "ws://"])
async def test_where_no_server_can_be_the_first_connection_says_so(url: str) -> None:
    with pytest.raises(SamwireError) as refused:
        await connect(url).__aenter__()
    assert refused.value.code == "connection_lost"
