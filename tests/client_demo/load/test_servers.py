import pytest

from client_demo.errors import ConnectionLost
from client_demo.load.servers import COMMANDS, started
from server.protocol import Opened
from tests.support.pictures import jpeg, scene
from tests.support.running_server import RunningServer
from tests.support.wire import wire


@pytest.mark.parametrize("name", COMMANDS)
async def test_a_server_is_started_where_it_is_asked_whatever_the_environment_says(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMWIRE_HOST", "203.0.113.1")  # reserved for documentation
    async with started(name, "fake") as server, wire(server.url, greet=False) as client:
        assert (await client.greet()).model.name == "fake"


async def test_a_server_is_started_with_settings_and_its_memory_can_be_read() -> None:
    async with started("samwire", "fake", kept_logits=7, segments_per_s=55.0) as server:
        async with wire(server.url, greet=False) as client:
            assert (await client.greet()).limits.segments_per_s == 55.0

        assert 10 << 20 < server.resident_bytes() < 10 << 30

    with pytest.raises(OSError, match="No such file"):
        server.resident_bytes()


async def test_both_servers_read_jpegs_at_the_scale_that_is_set(fake: RunningServer) -> None:
    data, masks = jpeg(scene(1280, 960)[0]), []
    async with (
        started("samwire", "fake", reduced_jpeg=True) as ours,
        started("lock", "fake", reduced_jpeg=True) as peer,
    ):
        for url in (fake.url, ours.url, peer.url):
            async with wire(url) as client:
                await client.upload(data)
                while not isinstance(await client.receive(), Opened):
                    pass
                masks.append((await client.click((640.0, 480.0, 1))).rle)

    full, *reduced = masks
    assert reduced[0] == reduced[1]
    assert reduced[0] != full


async def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(ConnectionLost, match="bad setting: model"):
        async with started("samwire", "no-such-model"):
            pass
