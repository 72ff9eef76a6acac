"""The folded decoder against upstream's, over prompts of every kind and in any company."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from server.engine.models.base import Decoded
from server.engine.models.decoder.batched import FoldedDecoder
from server.engine.models.decoder.fine import Widths
from server.engine.models.decoder.simple import SimpleDecoder
from server.engine.models.decoder.traced import TracedCore
from server.engine.models.upstream import Sam
from server.engine.types import DecodeRequest, Point, Prompt, Want
from server.geometry import Frame

CPU = torch.device("cpu")

points = st.tuples(st.floats(0, 640), st.floats(0, 480), st.integers(0, 1))
boxes = st.tuples(st.floats(0, 300), st.floats(0, 200), st.floats(301, 640), st.floats(201, 480))
prompts = st.builds(
    Prompt,
    points=st.lists(points, max_size=12).map(tuple),
    box=st.none() | boxes,
)
wants: st.SearchStrategy[Want] = st.sampled_from(["single", "best", "all"])
frames = st.sampled_from([(640, 480), (480, 640), (1000, 482)])


class Pair:
    """Both decoders on the same weights, and embeddings for them."""

    def __init__(
        self, sam: Sam, dtype: torch.dtype = torch.float32, *, compiled: bool = False
    ) -> None:
        self.sam = sam
        self.simple = SimpleDecoder(sam)
        self.folded = FoldedDecoder(sam, device=CPU, dtype=dtype)
        if compiled:
            self.folded.compile(threads=1)
        self.input_size: int = sam.image_encoder.img_size
        self.side = sam.prompt_encoder.mask_input_size[0]

    def embedding(self, seed: int) -> torch.Tensor:
        channels, grid = Widths(self.sam.mask_decoder).total, self.side // 4
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(1, channels, grid, grid, generator=generator)

    def prior(self, seed: int) -> np.ndarray:
        noise = np.random.default_rng(seed).normal(scale=8, size=(self.side, self.side))
        return noise.astype(np.float16)

    def by_simple(self, seeds: Sequence[int], asked: Sequence[DecodeRequest]) -> list[Decoded]:
        rows = zip(seeds, asked, strict=True)
        return self.simple.decode(
            [(self.simple.store(self.embedding(s)), self.frame(s), r) for s, r in rows]
        )

    def by_folded(self, seeds: Sequence[int], asked: Sequence[DecodeRequest]) -> list[Decoded]:
        rows = zip(seeds, asked, strict=True)
        store = self.folded.store
        return self.folded.decode([(store(self.embedding(s)), self.frame(s), r) for s, r in rows])

    def frame(self, seed: int) -> Frame:
        width, height = [(640, 480), (480, 640), (1000, 482)][seed % 3]
        return Frame(width, height, self.input_size)


def assert_same(found: Decoded, expected: Decoded) -> None:
    assert found.logits.shape == expected.logits.shape
    assert found.logits.dtype == found.scores.dtype == np.float32
    np.testing.assert_allclose(found.logits, expected.logits, atol=1e-4)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)


@pytest.fixture(scope="module", params=[False, True], ids=["eager", "compiled"])
def compiled(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(scope="module")
def official(official_sam: Sam, *, compiled: bool) -> Pair:
    return Pair(official_sam, compiled=compiled)


@pytest.fixture(scope="module")
def tiny(tiny_sam: Sam, *, compiled: bool) -> Pair:
    return Pair(tiny_sam, compiled=compiled)


@pytest.fixture(params=["official", "tiny"])
def pair(request: pytest.FixtureRequest, official: Pair, tiny: Pair) -> Pair:
    return official if request.param == "official" else tiny


def test_random_weights_make_logits_worth_comparing(pair: Pair) -> None:
    [decoded] = pair.by_simple([0], [DecodeRequest(Prompt(((9, 9, 1),)), "single")])
    assert 0.05 < decoded.logits.std() < 100


@pytest.mark.parametrize("want", ["single", "best", "all"])
@pytest.mark.parametrize("with_prior", [False, True])
@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(points=((100.5, 50.25, 1),)),
        Prompt(points=((100.5, 50.25, 1), (7, 9, 0))),
        Prompt(box=(10, 20, 300, 400)),
        Prompt(points=((100, 50, 0),), box=(10, 20, 300, 400)),
        Prompt(),
    ],
    ids=["a click", "two clicks", "a box", "a box and a click", "nothing"],
)
def test_each_kind_of_prompt_decodes_as_upstream_decodes_it(
    pair: Pair, prompt: Prompt, want: Want, *, with_prior: bool
) -> None:
    request = DecodeRequest(prompt, want, pair.prior(5) if with_prior else None)
    [expected] = pair.by_simple([1], [request])
    [found] = pair.by_folded([1], [request])
    assert_same(found, expected)


@pytest.mark.parametrize("count", [2, 3, 9, 11, 25, 26, 27, 64])
@pytest.mark.parametrize("boxed", [False, True])
def test_up_to_64_points_and_a_box_decode_as_upstream_decodes_them(
    tiny: Pair, count: int, *, boxed: bool
) -> None:
    places = np.random.default_rng(count).uniform(0, 480, size=(count, 2))
    clicks: tuple[Point, ...] = tuple(
        (float(x), float(y), i % 2) for i, (x, y) in enumerate(places)
    )
    request = DecodeRequest(Prompt(clicks, (1, 2, 300, 400) if boxed else None), "best")
    [expected] = tiny.by_simple([2], [request])
    [found] = tiny.by_folded([2], [request])
    assert_same(found, expected)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(prompts, wants, st.booleans()), min_size=1, max_size=6), st.data())
def test_an_answer_does_not_depend_on_what_else_is_in_the_batch(
    tiny: Pair, asked: list[tuple[Prompt, Want, bool]], data: st.DataObject
) -> None:
    seeds = [data.draw(st.integers(0, 20)) for _ in asked]
    requests = [
        DecodeRequest(prompt, want, tiny.prior(seed) if with_prior else None)
        for seed, (prompt, want, with_prior) in zip(seeds, asked, strict=True)
    ]
    expected = tiny.by_simple(seeds, requests)
    for one, other in zip(tiny.by_folded(seeds, requests), expected, strict=True):
        assert_same(one, other)


def test_a_mixed_batch_of_official_shape_decodes_as_upstream_decodes_each(official: Pair) -> None:
    requests = [
        DecodeRequest(Prompt(points=((1, 2, 1),)), "best"),
        DecodeRequest(Prompt(points=tuple((float(i), 9.0, i % 2) for i in range(40))), "all"),
        DecodeRequest(Prompt(box=(1, 2, 30, 40)), "single", official.prior(3)),
    ]
    expected = official.by_simple([4, 5, 6], requests)
    for one, other in zip(official.by_folded([4, 5, 6], requests), expected, strict=True):
        assert_same(one, other)


def test_candidates_come_best_first_and_best_is_the_first_of_them(pair: Pair) -> None:
    prompt = Prompt(points=((50, 60, 1),))
    both = [DecodeRequest(prompt, "all"), DecodeRequest(prompt, "best")]
    every, best = pair.by_folded([7, 7], both)
    assert list(every.scores) == sorted(every.scores, reverse=True)
    np.testing.assert_allclose(best.logits[0], every.logits[0], atol=1e-5)


def test_decoding_leaves_the_stored_embedding_as_it_was(pair: Pair) -> None:
    stored = pair.folded.store(pair.embedding(1))
    before = [part.clone() for part in stored]
    request = DecodeRequest(Prompt(box=(1, 2, 30, 40)), "all", pair.prior(1))
    pair.folded.decode([(stored, pair.frame(1), request)])
    assert all(map(torch.equal, stored, before))


def test_what_is_stored_is_read_without_a_copy(pair: Pair) -> None:
    assert all(part.is_contiguous() for part in pair.folded.store(pair.embedding(1)))


def test_more_tokens_than_any_row_holds_are_refused(tiny: Pair) -> None:
    request = DecodeRequest(Prompt(points=((1.0, 1.0, 1),) * 67), "best")
    with pytest.raises(ValueError, match="68 tokens"):
        tiny.by_folded([0], [request])


@pytest.mark.parametrize("with_prior", [False, True])
def test_bfloat16_keeps_the_logits_near_float32(pair: Pair, with_prior: bool) -> None:
    prior = pair.prior(5) if with_prior else None
    request = DecodeRequest(Prompt(points=((50, 60, 1), (9, 9, 0))), "single", prior)
    reduced = Pair(pair.sam, torch.bfloat16)
    [expected], [found] = pair.by_simple([3], [request]), reduced.by_folded([3], [request])
    assert found.logits.dtype == np.float32
    error = np.abs(found.logits - expected.logits).mean()
    assert error < 0.1 * expected.logits.std()


@pytest.fixture(scope="module", params=["official_sam", "tiny_sam"])
def in_bfloat16(request: pytest.FixtureRequest) -> tuple[Pair, Pair]:
    sam: Sam = request.getfixturevalue(request.param)
    return Pair(sam, torch.bfloat16), Pair(sam, torch.bfloat16, compiled=True)


@settings(max_examples=25, deadline=None)
@given(prompt=prompts, want=wants, seed=st.integers(0, 20), with_prior=st.booleans())
def test_what_is_recorded_in_bfloat16_answers_to_the_bit_as_it_did(
    in_bfloat16: tuple[Pair, Pair], prompt: Prompt, want: Want, seed: int, *, with_prior: bool
) -> None:
    _, recorded = in_bfloat16
    assert isinstance(recorded.folded._core, TracedCore)
    request = DecodeRequest(prompt, want, recorded.prior(seed) if with_prior else None)
    [expected], [found] = (pair.by_folded([seed], [request]) for pair in in_bfloat16)
    assert np.array_equal(found.logits, expected.logits)
    assert np.array_equal(found.scores, expected.scores)
