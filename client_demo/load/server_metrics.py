"""What the server says of itself at /metrics: read before and after a run, and subtracted."""

import asyncio
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from urllib.parse import urlsplit

__all__ = ["difference", "read", "scrape"]

_SAMPLE = re.compile(r"^(?P<name>[a-zA-Z_:][\w:]*(?:\{[^}]*\})?) (?P<value>\S+)$", re.MULTILINE)
_TIMEOUT_S = 5.0

# What is told of a run, and in which of the server's histograms it is found.
_MEANS = {
    "queue_ms": ("samwire_queue_wait_seconds", 1e3),
    "decode_ms": ("samwire_decode_seconds", 1e3),
    "post_ms": ("samwire_post_seconds", 1e3),
    "encode_ms": ("samwire_encode_seconds", 1e3),
    "batch": ("samwire_batch_size", 1.0),
}


async def scrape(socket_url: str) -> dict[str, float]:
    """Every sample at the server's /metrics; empty where there is none."""
    parts = urlsplit(socket_url)
    scheme = {"ws": "http", "wss": "https"}[parts.scheme]
    url = parts._replace(scheme=scheme, path="/metrics", query="").geturl()
    return await asyncio.to_thread(_get, url)


def read(exposition: str) -> dict[str, float]:
    """Samples of Prometheus' text format, by name and labels."""
    return {match["name"]: float(match["value"]) for match in _SAMPLE.finditer(exposition)}


def difference(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What happened in between: means of the histograms, and every refusal by its code."""
    grown = {name: value - before.get(name, 0.0) for name, value in after.items()}
    told = {}
    for name, (histogram, unit) in _MEANS.items():
        count = grown.get(f"{histogram}_count", 0.0)
        if count:
            told[f"mean_{name}"] = unit * grown[f"{histogram}_sum"] / count
            told[f"count_{name}"] = count
    for name, value in grown.items():
        refused = re.fullmatch(r'samwire_refusals_total\{code="(\w+)"\}', name)
        if refused and value:
            told[f"refused_{refused[1]}"] = value
    return told


def _get(url: str) -> dict[str, float]:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - http(s) by construction
            return read(answer.read().decode())
    except (urllib.error.URLError, TimeoutError):
        return {}
