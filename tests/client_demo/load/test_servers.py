import pytest

from client_demo.errors import ConnectionLost
from client_demo.load.servers import started
from tests.support.wire import wire


async def test_a_server_is_started_and_greets() -> None:
    async with started("lock", "fake") as server, wire(server.url, greet=False) as client:
        assert (await client.greet()).model.name == "fake"


async def test_a_server_is_started_with_settings_and_its_memory_can_be_read() -> None:
    async with started("samwire", "fake", kept_logits=7, segments_per_s=55.0) as server:
        async with wire(server.url, greet=False) as client:
            assert (await client.greet()).limits.segments_per_s == 55.0

        assert 10 << 20 < server.resident_bytes() < 10 << 30

    with pytest.raises(OSError, match="No such file"):
        server.resident_bytes()


async def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(ConnectionLost, match="bad setting: model"):
        async with started("samwire", "no-such-model"):
            pass
