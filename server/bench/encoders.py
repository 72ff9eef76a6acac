"""What an image costs with upstream's encoder: against ours, and in the flow without sessions."""

import copy
import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import numpy as np
import torch

from server.bench.figures import Comparison, Figure, compared, figure, interleaved, time_ms
from server.bench.floor import (
    HIDDEN_BY_A_GRAPH,
    Floor,
    Limits,
    encode_work,
    floor_of,
    without_floor,
)
from server.bench.machine import short_name
from server.bench.pictures import Picture
from server.engine import images
from server.engine.models.base import run_steps
from server.engine.models.sam import SamModel
from server.engine.models.upstream import Sam, SamPredictor

__all__ = ["EncodeDuel", "duel_of_encoders"]


@dataclass(frozen=True, slots=True)
class EncodeDuel:
    """From pixels to embedding; and a click without a session."""

    comparison: Comparison
    floor: Floor
    """Of our encode, the resize before it included in what was measured."""
    current_flow_ms: Figure
    """Download the image, embed it, decode one mask: what every click costs without a session."""


def duel_of_encoders(
    sam: Sam,
    picture: Picture,
    *,
    device: torch.device,
    best: torch.dtype,
    pairs: int,
    limits: Limits,
    tick: Callable[[], None],
) -> EncodeDuel:
    """`SamPredictor.set_image` in float32 against ours in our best dtype, on the same weights."""
    model = SamModel(copy.deepcopy(sam), name="sam", fingerprint="bench", device=device, dtype=best)
    predictor = SamPredictor(sam.to(device))
    pixels = images.decode(picture.data, images.MAX_PIXELS)
    wait = torch.cuda.synchronize if device.type == "cuda" else _already_done

    def upstream() -> None:
        predictor.set_image(pixels)
        wait()

    def ours() -> None:
        run_steps(model.encode(pixels))
        wait()

    times = interleaved({"upstream": upstream, "ours": ours}, warm_up=1, rounds=pairs, tick=tick)
    return EncodeDuel(
        compared(
            times["upstream"], times["ours"], peer_dtype="float32", our_dtype=short_name(best)
        ),
        without_floor(HIDDEN_BY_A_GRAPH)
        if device.type == "cuda"
        else floor_of(encode_work(model, pixels), limits, figure(times["ours"]).median),
        figure(list(_current_flow_ms(predictor, picture, pairs, tick))),
    )


def _already_done() -> None:
    """On a CPU a call has done its work when it returns."""


def _current_flow_ms(
    predictor: SamPredictor, picture: Picture, count: int, tick: Callable[[], None]
) -> Iterator[float]:
    prompts = picture.rounds()[0]
    with _image_server(picture.data) as url:

        def click() -> None:
            pixels = images.decode(httpx.get(url).content, images.MAX_PIXELS)
            predictor.set_image(pixels)
            predictor.predict(np.array([[prompts.x, prompts.y]]), np.array([1]))

        for _ in range(count):
            yield time_ms(click)
            tick()


@contextmanager
def _image_server(data: bytes) -> Iterator[str]:
    """Serves one image on a free port: the store that clicks are downloaded from."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_args: object) -> None:
            """Stay silent."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/image.jpg"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
