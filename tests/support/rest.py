"""What the tests of sessions by HTTP share: a client, and what an answer must be."""

import base64
import io

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.support.pictures import jpeg, noise
from tests.support.running_server import RunningServer

PHOTO = jpeg(noise(320, 240))
MIDDLE = {"point": [0.5, 0.5]}
ANNA, BERT = {"Authorization": "Bearer anna"}, {"Authorization": "bearer bert"}


def client(server: RunningServer, **headers: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.http, headers=headers, timeout=30)


async def opened(http: httpx.AsyncClient, image: bytes = PHOTO) -> str:
    answer = await http.post("/v1/sessions", files={"image": image})
    assert answer.status_code == 200, answer.text
    name = answer.json()["session_id"]
    assert isinstance(name, str)
    return f"/v1/sessions/{name}"


def pixels(answer: httpx.Response) -> NDArray[np.uint8]:
    assert answer.status_code == 200, answer.text
    image = Image.open(io.BytesIO(base64.b64decode(answer.json()["mask"])))
    assert image.mode == "L"
    return np.asarray(image)


def refused(answer: httpx.Response, status: int, code: str, field: str | None = None) -> str:
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error.get("field")) == (status, code, field)
    assert set(error) <= {"code", "message", "field"}
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert ("retry-after" in answer.headers) == (status in {429, 503})
    return str(error["message"])


async def figure(http: httpx.AsyncClient, name: str) -> float:
    lines = (await http.get("/metrics")).text.splitlines()
    return float(next(line for line in lines if line.startswith(f"samwire_{name}")).split()[-1])
