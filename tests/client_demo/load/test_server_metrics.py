import pytest

from client_demo.load.server_metrics import difference, read, scrape
from server.metrics import Metrics


def test_what_the_server_exposes_is_read() -> None:
    metrics = Metrics()
    metrics.refused("busy")
    metrics.decoded([1.0, 3.0], 12.0)

    samples = read(metrics.exposition().decode())

    assert samples['samwire_refusals_total{code="busy"}'] == 1.0
    assert samples["samwire_decode_seconds_count"] == 1.0


def test_only_what_happened_in_between_is_told() -> None:
    metrics = Metrics()
    metrics.decoded([500.0], 500.0)
    metrics.refused("full")
    before = read(metrics.exposition().decode())
    metrics.decoded([1.0, 3.0], 12.0)
    metrics.decoded([2.0], 18.0)
    metrics.postprocessed(4.0)
    metrics.encoded(1.0, 2.0, 300.0)
    metrics.refused("busy")

    told = difference(before, read(metrics.exposition().decode()))

    assert told == pytest.approx({
        "mean_queue_ms": 2.0, "count_queue_ms": 3,
        "mean_decode_ms": 15.0, "count_decode_ms": 2,
        "mean_post_ms": 4.0, "count_post_ms": 1,
        "mean_encode_ms": 300.0, "count_encode_ms": 1,
        "mean_batch": 1.5, "count_batch": 2,
        "refused_busy": 1.0,
    })  # fmt: skip


async def test_a_server_without_metrics_is_no_matter() -> None:
    assert await scrape("ws://127.0.0.1:9/v1/ws") == {}
