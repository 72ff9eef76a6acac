"""The benchmark, run with as few rounds as it takes: that it measures, never how fast."""

import io
import json
import math
import platform
from collections.abc import Sequence
from functools import partial
from itertools import pairwise, permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.progress import Progress
from torch.nn import functional as F  # noqa: N812 - everywhere
from typer.testing import CliRunner

from server.__main__ import app
from server.bench import encoders, peers
from server.bench.figures import Laps, Samples, compared, interleaved
from server.bench.floor import (
    Limits,
    Work,
    counted,
    decode_work,
    encode_work,
    floor_of,
    official_click,
)
from server.bench.harness import Options, _Harness
from server.bench.pictures import KINDS, Picture, pictures
from server.bench.roundtrip import ServerFailedError, measure_trips, running_server
from server.bench.stages import (
    CLICK_STAGES,
    OPEN_STAGES,
    Annotator,
    click_stages,
    open_stages,
    session_bytes,
)
from server.bench.table import show
from server.bench.weights import official_decoder, write_random_checkpoint
from server.config import Settings
from server.engine import images
from server.engine.fake import FakeModel
from server.engine.models.base import Decoded, Embedding, Model
from server.engine.models.catalog import load_model
from server.engine.models.sam import SamModel
from server.engine.models.vit.packed import PackedLinear, pack_linears
from server.engine.types import DecodeRequest, Prompt
from tests.support.engines import SeeingModel
from tests.support.pictures import jpeg, scene
from tests.support.running_server import RunningServer

RATIOS = (
    "decode_ratio_upstream",
    "decode_ratio_upstream_fp32",
    "decode_ratio_onnxruntime",
    "decode_ratio_onnxruntime_fp32",
)
FLOORS = (
    "decode_floor_ms",
    "decode_floor_ms_fp32",
    "decode_floor_ms_served",
    "encode_floor_ms",
    "encode_floor_ms_served",
)

torch.set_num_threads(1)
pytestmark = pytest.mark.timeout(600)  # the peers' clicks take long where the cores are busy
ONE_THREAD = {"SAMWIRE_THREADS": "1"}
"""Two that wait for each other lose much where the cores are busy."""


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """What `--json` prints, of the fake model and the real peers."""
    few = ["--quick", "--count", "1", "--warm-up", "1", "--json"]
    result = CliRunner(env=ONE_THREAD).invoke(app, ["bench", "--model", "fake", *few])
    assert result.exit_code == 0, result.stderr
    told: dict[str, Any] = json.loads(result.stdout)
    return told


@pytest.fixture(scope="module")
def small() -> Picture:
    return Picture(jpeg(scene(320, 240)[0]), 320, 240)


def nothing() -> None:
    """A tick, or a device to wait for."""


def embedding_of(model: Model, picture: Picture) -> Embedding:
    steps = model.encode(images.decode(picture.data, images.MAX_PIXELS))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            embedding: Embedding = end.value
            return embedding


def numbers(value: Any) -> list[float]:
    """Every number in a report."""
    if isinstance(value, dict):
        return [number for part in value.values() for number in numbers(part)]
    return [value] if isinstance(value, int | float) else []


def test_json_names_every_figure_with_where_it_comes_from(report: dict[str, Any]) -> None:
    named = (*RATIOS, "encode_ratio_upstream", "server_overhead_ms", "session_bytes")
    for name in (*named, "mask_wire_bytes"):
        assert name in report
        assert f"{name}_detail" in report
    assert set(report["pictures"]) == {"1280x960", "4000x3000"}


def test_figures_are_positive(report: dict[str, Any]) -> None:
    for picture in report["pictures"].values():
        assert all(number >= 0 for number in numbers(picture))
        for kind in KINDS:
            assert picture["click_ms"][kind]["total"]["median"] > 0
            assert picture["round_trip"][kind]["trip_ms"]["median"] > 0
    assert report["mask_wire_bytes"] > 0


def test_the_stages_of_a_click_and_of_an_open_add_up(report: dict[str, Any]) -> None:
    for picture in report["pictures"].values():
        for figures, stages in [
            *((picture["click_ms"][kind], CLICK_STAGES) for kind in KINDS),
            (picture["open"]["stages_ms"], OPEN_STAGES),
        ]:
            assert set(figures) == {*stages, "total"}
            parts = sum(figures[stage]["median"] for stage in stages)
            assert parts == pytest.approx(figures["total"]["median"], abs=0.001)


@pytest.mark.parametrize("name", RATIOS)
def test_a_ratio_has_both_medians_and_dtypes_beside_it(report: dict[str, Any], name: str) -> None:
    ratio, detail = report[name], report[f"{name}_detail"]
    if ratio is None:
        assert "not installed" in detail["reason"]
        return
    # Of a single pair the ratio of the medians is the median ratio.
    expected = detail["peer_median_ms"] / detail["our_median_ms"]
    assert ratio == pytest.approx(expected, rel=0.01)
    assert detail["peer_dtype"] == "float32"
    assert not name.endswith("fp32") or detail["our_dtype"] == "float32"


def test_peers_and_we_did_the_same_work(report: dict[str, Any]) -> None:
    assert 0 < report["decode_largest_difference_fp32"] < 1e-4


def test_what_is_left_out_says_why(report: dict[str, Any]) -> None:
    assert report["encode_ratio_upstream"] is None
    assert "--quick" in report["encode_ratio_upstream_detail"]["reason"]


@pytest.mark.parametrize("name", FLOORS)
def test_a_floor_has_what_was_measured_and_counted_beside_it(
    report: dict[str, Any], name: str
) -> None:
    floor_ms, detail = report[name], report[f"{name}_detail"]
    if name in {"decode_floor_ms_served", "encode_floor_ms_served"}:
        assert floor_ms is None
        assert "no tensors" in detail["reason"]
    elif name == "encode_floor_ms":
        assert floor_ms is None
        assert "--quick" in detail["reason"]
        assert detail["model"] == "vit_b"
    else:
        assert floor_ms > 0
        assert detail["times_the_floor"] == pytest.approx(detail["measured_ms"] / floor_ms, 0.01)
        assert detail["bound_by"] in {"operations", "bytes"}
        assert min(numbers(detail["work"]) + numbers(detail["limits"])) > 0
        assert not name.endswith("fp32") or detail["limits"]["dtype"] == "float32"


def test_the_tables_show_every_stage_kind_and_peer(report: dict[str, Any]) -> None:
    shown = io.StringIO()
    show(report, Console(file=shown, width=100))
    for word in (*CLICK_STAGES, *OPEN_STAGES, "refined", "SamPredictor.predict", "ONNX Runtime"):
        assert word in shown.getvalue()
    assert "decode, SAM's dimensions" in shown.getvalue()
    assert "times the floor" in shown.getvalue()


def test_a_reason_is_shown_as_it_is(report: dict[str, Any]) -> None:
    shown = io.StringIO()
    reason = "not installed: pip install 'upstream[all]'"
    absent = {
        "decode_ratio_onnxruntime": None,
        "decode_ratio_onnxruntime_detail": {"reason": reason},
    }
    show(report | absent, Console(file=shown, width=200))
    assert reason in shown.getvalue()


def test_random_weights_need_a_model_that_has_weights() -> None:
    result = CliRunner().invoke(app, ["bench", "--model", "fake", "--random-weights"])
    assert result.exit_code == 2
    assert "fake has no weights" in result.stderr


@pytest.mark.parametrize("origin", ["bundled", "random"])
def test_a_real_model_is_measured_stage_by_stage(
    origin: str, small: Picture, tmp_path: Path
) -> None:
    checkpoint = write_random_checkpoint("tiny", tmp_path) if origin == "random" else None
    model = load_model("tiny", checkpoint=checkpoint, device="cpu", dtype="float32")
    opened, embedding = open_stages(
        model, small, resize=None, synchronize=nothing, count=1, tick=nothing
    )
    assert opened.encode_steps > 1
    assert 0 < opened.longest_step_ms.median <= opened.stages_ms["encode"].median
    clicks = click_stages(model, embedding, small, warm_up=1, count=1, tick=nothing)
    for figures in clicks.values():
        assert figures["decode"].median > 0
        assert figures["resize"].median + figures["rle"].median > 0


def test_masks_of_random_weights_are_not_noise(small: Picture, tmp_path: Path) -> None:
    path = write_random_checkpoint("tiny", tmp_path)
    model = load_model("tiny", checkpoint=path, device="cpu", dtype="float32")
    embedding = embedding_of(model, small)
    request = DecodeRequest(Prompt(points=((160.0, 120.0, 1),)), want="all")
    (decoded,) = model.decode([(embedding, request)])
    for logits in decoded.logits:
        inside = logits > 0
        changes = (inside[:, 1:] != inside[:, :-1]).sum() + (inside[1:] != inside[:-1]).sum()
        assert changes < inside.size / 10  # noise has near one a pixel


def test_a_picture_opened_at_a_reduced_scale_keeps_its_size(small: Picture) -> None:
    _, embedding = open_stages(
        FakeModel(), small, resize=None, synchronize=nothing, count=1, tick=nothing, side=40
    )
    assert (embedding.width, embedding.height) == (320, 240)


@pytest.mark.parametrize(("reduced", "seen"), [(False, (960, 1280, 3)), (True, (480, 640, 3))])
def test_the_pictures_are_opened_at_the_scale_that_is_set(
    seen: tuple[int, ...], *, reduced: bool
) -> None:
    settings = Settings(model="fake", threads=1, reduced_jpeg=reduced)
    options = Options(settings, "its own", count=1, warm_up=1, quick=True, photo=None)
    model = SeeingModel()
    _Harness(options, Progress())._stages(model, Picture(jpeg(scene(1280, 960)[0]), 1280, 960))
    assert set(model.seen) == {seen}


def test_the_operations_of_a_product_are_counted_exactly_and_its_bytes_once() -> None:
    left, right = torch.rand(5, 7), torch.rand(7, 11)
    work = counted(lambda: left @ right + left @ right, lambda answer: answer.nbytes)
    assert work.operations == 2 * (2 * 5 * 7 * 11)
    assert work.moved_bytes == 4 * (5 * 7 + 7 * 11 + 5 * 11)


@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_counted_as_its_two_products(*, masked: bool) -> None:
    query, key, value = torch.rand(2, 3, 5, 8), torch.rand(2, 3, 7, 8), torch.rand(2, 3, 7, 8)
    mask = torch.zeros(2, 3, 5, 7) if masked else None

    @torch.inference_mode()
    def attend() -> torch.Tensor:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)

    work = counted(attend, lambda answer: answer.nbytes)
    assert work.operations == 2 * 2 * (2 * 3 * 5 * 7 * 8)


def test_what_is_made_on_the_way_is_not_counted_as_read() -> None:
    layers = torch.nn.Sequential(torch.nn.Linear(6, 50), torch.nn.ReLU(), torch.nn.Linear(50, 3))
    shown = torch.rand(4, 6)
    work = counted(lambda: layers(shown), lambda _answer: 0)
    weights = sum(parameter.nbytes for parameter in layers.parameters())
    assert work.moved_bytes == weights + shown.nbytes


def test_packed_weights_count_as_plain_ones_do() -> None:
    layers = torch.nn.Sequential(torch.nn.Linear(6, 50), torch.nn.Linear(50, 3, bias=False))
    shown = torch.rand(2, 4, 6)
    plain = counted(lambda: layers(layers(shown) @ torch.ones(3, 6)), lambda _answer: 0)
    with torch.inference_mode():
        pack_linears(layers, 4)
        assert platform.machine() != "x86_64" or isinstance(layers[0], PackedLinear)
        packed = counted(lambda: layers(layers(shown) @ torch.ones(3, 6)), lambda _answer: 0)
    assert packed == plain


@given(*[st.integers(1, 10**12)] * 2, *[st.floats(1.0, 1e15)] * 2, st.floats(1e-3, 1e6))
def test_the_floor_is_the_larger_of_the_two(
    operations: int, nbytes: int, operations_per_s: float, bytes_per_s: float, measured_ms: float
) -> None:
    limits = Limits("float32", operations_per_s, bytes_per_s)
    floor = floor_of(Work(operations, nbytes), limits, measured_ms)
    by_operations, by_bytes = 1e3 * operations / operations_per_s, 1e3 * nbytes / bytes_per_s
    assert floor.floor_ms == pytest.approx(max(by_operations, by_bytes), abs=1e-4)
    assert (floor.bound_by == "operations") == (by_operations >= by_bytes)


def test_a_click_at_sams_dimensions_is_the_same_work_in_fewer_bytes() -> None:
    full, half = official_click(torch.float32), official_click(torch.bfloat16)
    # Two layers of tokens and image, and one mask of 256 x 256: about two thousand million.
    assert full.operations == half.operations
    assert 1.5e9 < full.operations < 2.5e9
    embedding, logits = 4096 * 256, 256 * 256
    assert full.moved_bytes > 4 * (embedding + logits)
    assert half.moved_bytes < full.moved_bytes - 2 * embedding


def test_an_image_encoded_in_steps_is_upstreams_work_without_the_products_of_padding() -> None:
    sam, cpu = official_decoder(), torch.device("cpu")
    shown = torch.zeros(1, 3, 1024, 1024)
    upstream = counted(lambda: sam.image_encoder(shown), lambda embedding: embedding.nbytes)
    ours = SamModel(sam, name="sam", fingerprint="f", device=cpu, dtype=torch.float32)
    work = encode_work(ours, np.zeros((768, 1024, 3), np.uint8))
    padding, channels, heads, side = 70 * 70 - 64 * 64, 32, 2, 14
    biases = 2 * 70 * 70 * heads * 2 * side * side**2  # a sum at upstream's, a product here
    assert work.operations == upstream.operations - 2 * padding * 4 * channels**2 + biases


def test_what_the_served_model_does_is_counted(small: Picture, tmp_path: Path) -> None:
    path = write_random_checkpoint("tiny", tmp_path)
    model = load_model("tiny", checkpoint=path, device="cpu", dtype="float32")
    encode = encode_work(model, images.decode(small.data, images.MAX_PIXELS))
    decode = decode_work(model, embedding_of(model, small), small)
    assert 0 < decode.operations < encode.operations


@pytest.mark.e2e
def test_round_trips_go_through_the_real_server(tiny: RunningServer, small: Picture) -> None:
    address = f"127.0.0.1:{tiny.port}"
    clicks, opens = measure_trips(address, small, warm_up=1, count=1, opens=1, tick=nothing)
    assert set(clicks) == set(KINDS)
    for trips in clicks.values():
        told = sum(figure.median for figure in trips.told_ms.values())
        assert trips.trip_ms.median > told > 0
    # A reply with three masks is longer than one with the best of them.
    assert clicks["candidates"].wire_bytes.median > clicks["first"].wire_bytes.median
    assert opens.upload_ms.median > 0
    assert opens.reopen_ms.median > 0


def test_a_server_that_cannot_start_is_told_with_its_reason() -> None:
    elsewhere = {"model": "fake", "host": "203.0.113.1"}  # reserved for documentation
    with pytest.raises(ServerFailedError, match="cannot listen"), running_server(elsewhere):
        pass


def test_a_refinement_starts_from_the_first_clicks_logits(small: Picture) -> None:
    asked: list[DecodeRequest] = []

    class Watched(FakeModel):
        def decode(self, batch: Sequence[tuple[Embedding, DecodeRequest]]) -> list[Decoded]:
            asked.extend(request for _, request in batch)
            return super().decode(batch)

    model = Watched()
    annotator = Annotator(model, embedding_of(model, small))
    prompts = small.rounds()[0]
    for kind in KINDS:
        annotator.ask(prompts.segment(kind, annotator.next_id()))
    assert [request.prior is not None for request in asked] == [False, True, False, False, False]
    assert [request.want for request in asked] == ["best", "single", "single", "all", "best"]


def test_a_session_keeps_so_many_logits_and_no_more(small: Picture) -> None:
    model = FakeModel()
    embedding = embedding_of(model, small)
    held = session_bytes(model, embedding, small, kept_logits=5)
    assert held.logits // (2 * model.logits_size**2) == 5
    assert held.total == held.logits + embedding.nbytes


def test_encoders_are_compared_on_the_same_weights(small: Picture) -> None:
    duel = encoders.duel_of_encoders(
        official_decoder(),
        small,
        device=torch.device("cpu"),
        best=torch.float32,
        pairs=1,
        limits=Limits("float32", 1e15, 1e14),
        tick=nothing,
    )
    assert duel.floor.measured_ms == duel.comparison.our_median_ms
    assert duel.floor.times_the_floor is not None
    assert duel.floor.times_the_floor > 1  # of a machine as fast as that
    assert duel.comparison.pairs == 1
    assert duel.comparison.ratio is not None
    assert duel.comparison.ratio > 0
    assert duel.current_flow_ms.median > 0


def test_onnx_runtime_is_no_peer_on_a_gpu_and_the_reason_is_said() -> None:
    assert peers.why_no_onnx(torch.device("cpu")) is None
    assert peers.why_no_onnx(torch.device("cuda")) == "compared on a CPU only"


def test_pictures_have_the_sizes_and_prompts_lie_inside() -> None:
    photo = jpeg(scene(200, 300)[0])
    for picture in (*pictures(None), *pictures(photo)):
        for prompts in picture.rounds():
            x0, y0, x1, y1 = prompts.segment("box", 1).box or (0, 0, 0, 0)
            assert 0 <= x0 < prompts.x < x1 <= picture.width
            assert 0 <= y0 < prompts.y < y1 <= picture.height
    assert [picture.name for picture in pictures(photo)] == ["853x1280", "2667x4000"]


def test_each_contestant_has_its_turn_each_round_and_none_always_follows_the_same_one() -> None:
    order: list[str] = []
    names = ("a", "b", "c")
    contestants = {name: partial(order.append, name) for name in names}
    times = interleaved(contestants, warm_up=1, rounds=9, tick=nothing)
    assert all(sorted(order[at : at + 3]) == ["a", "b", "c"] for at in range(0, 30, 3))
    assert {pair for pair in pairwise(order) if len(set(pair)) == 2} == set(permutations(names, 2))
    assert {name: len(taken) for name, taken in times.items()} == dict.fromkeys(names, 9)


def test_a_ratio_is_taken_pair_by_pair() -> None:
    # One pair met a slow moment of the machine; the ratio of the medians would be 30 / 10.
    comparison = compared([20, 30, 400], [10, 10, 200], peer_dtype="x", our_dtype="y")
    assert comparison.ratio == 2.0
    assert (comparison.peer_median_ms, comparison.our_median_ms) == (30.0, 10.0)


def test_a_stage_measured_beside_its_whole_takes_no_more_than_it() -> None:
    laps = Laps()
    laps.end("whole")
    whole_ms = laps.ms["whole"]
    laps.split("whole", "part", 1e9)
    assert laps.ms == {"whole": 0.0, "part": whole_ms}


def test_a_total_is_summed_measurement_by_measurement() -> None:
    samples = Samples()
    samples.add({"a": 1.0, "b": 9.0})
    samples.add({"a": 2.0, "b": 0.0})
    samples.add({"a": 3.0, "b": 8.0})
    figures = samples.figures(total="total")
    assert figures["total"].median == 10.0  # the stages' medians are 2 and 8 of other clicks
    assert math.isclose(figures["total"].p99, 10.98)
