import re
from itertools import pairwise

from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from server.errors import ERRORS
from server.metrics import Metrics
from tests.support.engines import GatedModel, ask, opened, running


def shown(metrics: Metrics) -> dict[str, float]:
    """Every sample, by name and labels."""
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {
        sample.name + "".join(f" {value}" for value in sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_what_was_told_is_shown() -> None:
    metrics = Metrics()
    metrics.session_admitted()
    metrics.received("segment", 100)
    metrics.received("segment", 50)
    metrics.received("open", 1)
    metrics.sent("mask", 2000)
    metrics.refused("busy")
    metrics.refused("busy")

    found = shown(metrics)
    assert found["samwire_sessions_total"] == 1
    assert found["samwire_messages_total segment"] == 2
    assert found["samwire_messages_total open"] == 1
    assert found["samwire_received_bytes_total"] == 151
    assert found["samwire_replies_total mask"] == 1
    assert found["samwire_sent_bytes_total"] == 2000
    assert found["samwire_refusals_total busy"] == 2


def test_times_are_shown_in_seconds() -> None:
    metrics = Metrics()
    metrics.decoded([5.0, 20.0, 700.0], 12.0)
    metrics.postprocessed(3.0)
    metrics.encoded(100.0, 40.0, 2500.0)

    found = shown(metrics)
    assert found["samwire_queue_wait_seconds_count"] == 3
    assert found["samwire_queue_wait_seconds_sum"] == 0.725
    assert found["samwire_decode_seconds_sum"] == 0.012
    assert found["samwire_batch_size_sum"] == 3
    assert found["samwire_post_seconds_sum"] == 0.003
    assert found["samwire_encode_wait_seconds_sum"] == 0.1
    assert found["samwire_image_decode_seconds_sum"] == 0.04
    assert found["samwire_encode_seconds_sum"] == 2.5


def test_the_buckets_hold_the_targets_and_grow() -> None:
    bounds = [
        float(bound)
        for bound in re.findall(
            r'samwire_decode_seconds_bucket{le="([^"]+)"}', Metrics().exposition().decode()
        )
    ]

    assert {0.015, 0.025, 0.04, 0.06} <= set(bounds)
    assert all(low < high for low, high in pairwise(bounds))


def test_a_gauge_is_asked_at_each_scrape() -> None:
    metrics, values = Metrics(), [3.0]
    metrics.gauge("sessions_active", "Connections served now.", lambda: values[0])

    assert shown(metrics)["samwire_sessions_active"] == 3
    values[0] = 4.0
    assert shown(metrics)["samwire_sessions_active"] == 4


def test_what_is_counted_elsewhere_is_asked_at_each_scrape_and_shown_as_a_counter() -> None:
    metrics, values = Metrics(), [3]
    metrics.counter("cache_hits", "Opens answered from the cache.", lambda: values[0])

    assert shown(metrics)["samwire_cache_hits_total"] == 3
    values[0] = 4
    assert shown(metrics)["samwire_cache_hits_total"] == 4
    assert "# TYPE samwire_cache_hits_total counter" in metrics.exposition().decode()


def test_two_servers_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.session_admitted()

    assert shown(other)["samwire_sessions_total"] == 0


def test_the_registry_may_be_anothers() -> None:
    registry = CollectorRegistry()
    Metrics(registry).session_admitted()

    assert registry.get_sample_value("samwire_sessions_total") == 1


def test_every_error_can_be_counted() -> None:
    metrics = Metrics()
    for code in ERRORS:
        metrics.refused(code)

    found = shown(metrics)
    assert all(found[f"samwire_refusals_total {code}"] == 1 for code in ERRORS)


async def test_the_engine_tells_what_it_did() -> None:
    metrics = Metrics()
    async with running(GatedModel(), observer=metrics) as engine:
        image = await opened(engine)
        await ask(engine, image).result()

    found = shown(metrics)
    assert found["samwire_encode_seconds_count"] == 1
    assert found["samwire_decode_seconds_count"] == 1
    assert found["samwire_queue_wait_seconds_count"] == 1
    assert found["samwire_post_seconds_count"] == 1
    assert found["samwire_batch_size_bucket 1.0"] == 1
