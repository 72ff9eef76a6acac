import pytest

from client_demo.errors import ConnectionLost
from client_demo.load.servers import started
from tests.support.wire import wire


async def test_a_server_is_started_and_greets() -> None:
    async with started("lock", "fake", 4) as url, wire(url, greet=False) as client:
        assert (await client.greet()).model.name == "fake"


async def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(ConnectionLost, match="bad setting: model"):
        async with started("samwire", "no-such-model", 4):
            pass
