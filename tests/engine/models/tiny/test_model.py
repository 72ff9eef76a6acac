import copy
import threading
from typing import TypeVar

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor

from server.engine import masks
from server.engine.models.base import Decoded, Embedding, run_steps
from server.engine.models.decoder.compiled import CompiledCore
from server.engine.models.recording.onnx_runtime import Compiled
from server.engine.models.tiny import model as tiny_model
from server.engine.models.tiny.closeup import CloseUp
from server.engine.models.tiny.model import TinyModel
from server.engine.models.tiny.networks import EMBED_DIM, EMBED_STRIDE, FINE_DIM, MIDDLE_DIM, Tiny
from server.engine.models.tiny.painting import fit_to_box, painted
from server.engine.models.upstream import Sam
from server.engine.second_look.blending import blend, score_factor, second_look_weight
from server.engine.second_look.window import PICTURE_SIDE, enlarge, window_around
from server.engine.tokens import tokens_of
from server.engine.types import DecodeRequest, Prompt, RgbImage, Size, Want
from server.geometry import Frame
from server.rle import decode

CPU = torch.device("cpu")
CLICK = Prompt(points=((120, 60, 1),))
SMALL = Prompt(box=(100, 60, 140, 100))
"""In a window that the second look is believed in."""
BOXED = Prompt(points=((120, 60, 0),), box=(10, 20, 200, 150))
STORED_BYTES = 2 * (EMBED_DIM + 4 * MIDDLE_DIM + 16 * FINE_DIM) * (128 // EMBED_STRIDE) ** 2
"""Of an input of 128 pixels, in half precision."""

WANTS: tuple[Want, ...] = ("single", "best", "all")

T = TypeVar("T")


def second_look(*, trained: bool) -> CloseUp:
    torch.manual_seed(1)
    network = CloseUp(EMBED_DIM)
    if trained:
        torch.nn.init.normal_(network.out.weight, std=0.2)
    return network.eval().requires_grad_(requires_grad=False)


def served(sam: Sam, *, trained: bool = True, dtype: torch.dtype = torch.float32) -> TinyModel:
    tiny = Tiny(copy.deepcopy(sam), second_look(trained=trained))
    return TinyModel(tiny, fingerprint="f", device=CPU, dtype=dtype)


def ask(model: TinyModel, image: RgbImage, prompt: Prompt, want: Want = "best") -> Decoded:
    [decoded] = model.decode([(run_steps(model.encode(image)), DecodeRequest(prompt, want))])
    return decoded


def masks_of(decoded: Decoded, image: RgbImage) -> list[np.ndarray]:
    frame = Frame(image.shape[1], image.shape[0], 128)
    found, _ = masks.finish(decoded, frame)
    return [decode({"size": mask.size, "counts": mask.counts}) for mask in found]


@pytest.mark.parametrize("want", ["single", "all", "best"])
@pytest.mark.parametrize("prompt", [CLICK, BOXED], ids=["a click", "a box and a click"])
def test_logits_are_sams_for_the_painted_prompt_held_to_the_box(
    tiny_sam: Sam, photo: RgbImage, prompt: Prompt, want: Want
) -> None:
    predictor = SamPredictor(tiny_sam)
    predictor.set_image(photo)
    frame = Frame(240, 180, 128)
    drawn = painted(DecodeRequest(prompt, want), frame, 4 * 128 // EMBED_STRIDE).prior
    assert drawn is not None
    _, scores, logits = predictor.predict(
        point_coords=np.array([point[:2] for point in prompt.points]),
        point_labels=np.array([point[2] for point in prompt.points]),
        box=None if prompt.box is None else np.array(prompt.box),
        mask_input=drawn[None].astype(np.float32),
        multimask_output=want != "single",
    )
    order = np.argsort(-scores, kind="stable")[: 3 if want == "all" else 1]
    decoded = ask(served(tiny_sam), photo, prompt, want)
    tokens = tokens_of(prompt, frame)
    held = fit_to_box(logits[order], tokens)
    np.testing.assert_allclose(decoded.logits, held, atol=1e-4)
    np.testing.assert_allclose(decoded.scores, score_factor(tokens) * scores[order], atol=1e-4)


def test_each_candidate_is_looked_at_where_its_own_mask_is(tiny_sam: Sam, photo: RgbImage) -> None:
    decoded = ask(served(tiny_sam, trained=False), photo, CLICK, "all")
    tokens = tokens_of(CLICK, Frame(240, 180, 128))
    for one, plane in zip(decoded.closeups, decoded.logits, strict=True):
        assert one.window == window_around(plane, tokens, 240)
        near = enlarge(plane, one.window)
        limited = np.clip(near, -6, 6)
        expected = blend(near, limited, second_look_weight(one.window, tokens))
        clear = np.abs(near) < 5.5  # limited before it is enlarged, not after
        np.testing.assert_allclose(one.logits[clear], expected[clear], atol=0.05)


def test_a_second_look_changes_the_mask_and_not_what_is_remembered(
    tiny_sam: Sam, photo: RgbImage
) -> None:
    plain = ask(served(tiny_sam, trained=False), photo, SMALL)
    looked = ask(served(tiny_sam), photo, SMALL)
    np.testing.assert_array_equal(plain.logits, looked.logits)
    assert (plain.closeups[0].logits != looked.closeups[0].logits).any()


def test_the_second_look_s_verdict_is_the_score_and_the_order_of_candidates(
    tiny_sam: Sam, photo: RgbImage
) -> None:
    contrary = second_look(trained=False)
    told, verdict = (torch.as_tensor(contrary.judge[at].weight) for at in (0, 2))
    told[0] = 0.0
    told[0, -2] = 1.0  # the first look's score, brought above zero
    torch.as_tensor(contrary.judge[0].bias)[0] = 9.0
    verdict[0, 0] = -3.0
    model = TinyModel(
        Tiny(copy.deepcopy(tiny_sam), contrary), fingerprint="f", device=CPU, dtype=torch.float32
    )
    before = ask(served(tiny_sam, trained=False), photo, CLICK, "all")
    after = ask(model, photo, CLICK, "all")
    assert list(after.scores) == sorted(after.scores, reverse=True)
    order = [
        next(i for i in range(3) if np.array_equal(plane, before.logits[i]))
        for plane in after.logits
    ]
    assert order == [2, 1, 0]
    for looked, at in zip(after.closeups, order, strict=True):
        assert looked.window == before.closeups[at].window
    plain = ask(served(tiny_sam, trained=False), photo, SMALL, "single").scores[0]
    assert ask(model, photo, SMALL, "single").scores[0] == pytest.approx(
        plain - 3 * (plain + 9.0), abs=1e-4
    )


def test_candidates_for_more_than_a_click_stay_as_the_first_look_ranked_them(
    tiny_sam: Sam, photo: RgbImage
) -> None:
    contrary = second_look(trained=False)
    torch.as_tensor(contrary.judge[2].weight)[:] = -3.0
    tiny = Tiny(copy.deepcopy(tiny_sam), contrary)
    model = TinyModel(tiny, fingerprint="f", device=CPU, dtype=torch.float32)
    plain = ask(served(tiny_sam, trained=False), photo, BOXED, "all")
    found = ask(model, photo, BOXED, "all")
    np.testing.assert_array_equal(found.scores, plain.scores)
    np.testing.assert_array_equal(found.logits, plain.logits)


def test_candidates_for_a_click_are_compared_also_where_their_close_ups_do_not_count(
    tiny_sam: Sam, photo: RgbImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "server.engine.models.tiny.model.second_look_weight", lambda _window, _tokens: 0.0
    )
    model, plain = served(tiny_sam), served(tiny_sam, trained=False)
    taken: list[int] = []
    second = model._closeup

    def counted(seen: torch.Tensor, *more: torch.Tensor) -> tuple[torch.Tensor, ...]:
        taken.append(len(seen))
        return second(seen, *more)

    monkeypatch.setattr(model, "_closeup", counted)
    found, expected = (ask(one, photo, CLICK, "all") for one in (model, plain))
    assert taken == [3]
    for one in found.closeups:
        assert any(np.array_equal(one.logits, other.logits) for other in expected.closeups)
    ask(model, photo, CLICK, "best")
    assert taken == [3]


def test_warming_up_takes_the_second_look_too(
    tiny_sam: Sam, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = served(tiny_sam)
    model.compile()
    monkeypatch.setattr(model, "compile", lambda: None)  # it is warmed as it is
    taken: list[int] = []
    second = model._closeup

    def counted(seen: torch.Tensor, *more: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        taken.append(len(seen))
        logits, scores = second(seen, *more)
        return logits, scores

    monkeypatch.setattr(model, "_closeup", counted)
    assert model.warm_up(max_decode_ms=0.0) == 1
    assert {1, 3} <= set(taken)


@pytest.mark.parametrize("prompt", [SMALL, BOXED], ids=["a box", "a box and a click"])
def test_compiled_networks_answer_as_eager_ones(
    tiny_sam: Sam, photo: RgbImage, prompt: Prompt
) -> None:
    model = served(tiny_sam)
    embedding = run_steps(model.encode(photo))
    asked = [(embedding, DecodeRequest(prompt, want)) for want in WANTS]
    eager = [*model.decode(asked), *model.decode(asked[:1])]
    model.compile()
    assert isinstance(model._decoder._core, CompiledCore)
    assert isinstance(model._closeup, Compiled)
    for one, other in zip([*model.decode(asked), *model.decode(asked[:1])], eager, strict=True):
        np.testing.assert_allclose(one.logits, other.logits, atol=1e-4)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)
        for looked, expected in zip(one.closeups, other.closeups, strict=True):
            assert looked.window == expected.window
            np.testing.assert_allclose(looked.logits, expected.logits, atol=1e-3)


def test_no_mask_leaves_its_box(tiny_sam: Sam, photo: RgbImage) -> None:
    everything = second_look(trained=True)
    torch.nn.init.constant_(torch.as_tensor(everything.out.bias), 9.0)
    tiny = Tiny(copy.deepcopy(tiny_sam), everything)
    model = TinyModel(tiny, fingerprint="f", device=CPU, dtype=torch.float32)
    ys, xs = np.nonzero(masks_of(ask(model, photo, SMALL), photo)[0])
    assert (xs.min(), ys.min()) == pytest.approx((100, 60), abs=1)
    assert (xs.max(), ys.max()) == pytest.approx((139, 99), abs=1)


def test_prompts_of_different_images_are_looked_at_as_if_alone(
    tiny_sam: Sam, photo: RgbImage
) -> None:
    model = served(tiny_sam)
    images = [photo, photo[:, :100], photo[20:70]]
    wants: tuple[Want, ...] = ("best", "all", "single")
    batch: list[tuple[Embedding, DecodeRequest]] = [
        (run_steps(model.encode(image)), DecodeRequest(Prompt(points=((40, 30, 1),)), want))
        for image, want in zip(images, wants, strict=True)
    ]
    together = model.decode(batch)
    assert [len(decoded.closeups) for decoded in together] == [1, 3, 1]
    for decoded, one in zip(together, batch, strict=True):
        [alone] = model.decode([one])
        for got, expected in zip(decoded.closeups, alone.closeups, strict=True):
            assert got.window == expected.window
            np.testing.assert_allclose(got.logits, expected.logits, atol=1e-3)


def test_an_embedding_counts_the_copy_of_the_image(tiny_sam: Sam, photo: RgbImage) -> None:
    embedding = run_steps(served(tiny_sam, dtype=torch.bfloat16).encode(photo))
    assert embedding.nbytes == STORED_BYTES + photo.nbytes
    large = np.zeros((300, 3 * PICTURE_SIDE, 3), np.uint8)
    assert run_steps(served(tiny_sam, dtype=torch.bfloat16).encode(large)).nbytes == (
        STORED_BYTES + 100 * PICTURE_SIDE * 3
    )


def test_the_copy_is_made_on_another_thread_while_clicks_are_answered(
    tiny_sam: Sam, monkeypatch: pytest.MonkeyPatch
) -> None:
    copying, clicked = threading.Event(), threading.Event()
    where: list[threading.Thread] = []

    def shrunk_once_a_click_was_answered(image: RgbImage, size: Size) -> RgbImage:
        where.append(threading.current_thread())
        copying.set()
        assert clicked.wait(10)
        return shrunk(image, size)

    shrunk = tiny_model._shrunk
    monkeypatch.setattr(tiny_model, "_shrunk", shrunk_once_a_click_was_answered)
    steps = served(tiny_sam).encode(np.zeros((300, 2 * PICTURE_SIDE, 3), np.uint8))
    for _ in steps:
        if copying.is_set():
            clicked.set()
    [copied_by] = where
    assert copied_by is not threading.current_thread()


def test_of_a_copy_with_fewer_pixels_it_keeps_what_it_would_of_the_image(tiny_sam: Sam) -> None:
    model = served(tiny_sam, dtype=torch.bfloat16)
    assert model.needed_side == PICTURE_SIDE
    embedding = run_steps(model.encode(np.zeros((481, 642, 3), np.uint8), (1283, 961)))
    assert (embedding.width, embedding.height) == (1283, 961)
    assert embedding.nbytes == STORED_BYTES + 479 * PICTURE_SIDE * 3


def test_an_answer_that_is_no_number_is_an_arithmetic_error(tiny_sam: Sam, photo: RgbImage) -> None:
    network = second_look(trained=True)
    network.out.weight.data.fill_(float("nan"))
    model = TinyModel(
        Tiny(copy.deepcopy(tiny_sam), network), fingerprint="f", device=CPU, dtype=torch.float32
    )
    with pytest.raises(ArithmeticError, match="close-ups"):
        ask(model, photo, SMALL)
