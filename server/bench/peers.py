"""What people use instead, on the same weights, in the same minutes: contestants for a click.

A click begins with a point on an embedded image and ends with a mask at the image's size; that is
what `SamPredictor.predict` and upstream's ONNX export do, and what is asked of ours. Random weights
draw noise no annotator would see: it costs the peers' dense resize nothing, and ours much. So ours
finishes a mask of ordinary shape in its place.
"""

import copy
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnxruntime import InferenceSession, SessionOptions

from server.bench.figures import Comparison, compared, figure, interleaved
from server.bench.floor import Floor, Limits, floor_of, official_click
from server.bench.machine import short_name
from server.bench.pictures import Picture
from server.bench.weights import official_decoder
from server.engine import images, masks
from server.engine.models.base import Decoded, Embedding, run_steps
from server.engine.models.sam import SamModel
from server.engine.models.upstream import Sam, SamOnnxModel, SamPredictor
from server.engine.types import DecodeRequest, Prompt
from server.geometry import Frame

__all__ = ["DecodeDuel", "duel_of_decoders", "why_no_onnx"]

Contestant = Callable[[], object]

_OPSET = 17
_ORDINARY_RADIUS = 0.2  # of the image's longer side: an eighth of a 4:3 picture
_FP32 = "float32"


@dataclass(frozen=True, slots=True)
class DecodeDuel:
    """A click at SAM's true dimensions against each peer: in our best dtype, and in float32."""

    comparisons: dict[str, Comparison]
    floors: dict[str, Floor]
    """Of our decode alone, in both dtypes."""
    largest_difference: float
    """Between upstream's logits and ours in float32: that both did the same work."""


def duel_of_decoders(
    picture: Picture,
    *,
    device: torch.device,
    best: torch.dtype,
    warm_up: int,
    pairs: int,
    limits: Mapping[torch.dtype, Limits],
    tick: Callable[[], None],
) -> DecodeDuel:
    """Time every contestant in turn; those that run on no GPU stay out there, with the reason."""
    arena = _Arena(picture, device)
    contestants, absent = arena.peers()
    for dtype in {torch.float32, best}:
        contestants |= arena.ours(dtype)
    times = interleaved(contestants, warm_up=warm_up, rounds=pairs, tick=tick)
    comparisons, floors = {}, {}
    for suffix, dtype in (("", best), ("_fp32", torch.float32)):
        decode_ms = figure(times[f"decode {short_name(dtype)}"]).median
        floors[f"decode_floor_ms{suffix}"] = floor_of(
            official_click(dtype), limits[dtype], decode_ms
        )
        for key, (peer, ours) in _MATCHES.items():
            name = f"decode_ratio_{key}{suffix}"
            if peer in absent:
                comparisons[name] = Comparison(ratio=None, reason=absent[peer])
                continue
            ours_ms = times[f"{ours} {short_name(dtype)}"]
            comparisons[name] = compared(
                times[peer], ours_ms, peer_dtype=_FP32, our_dtype=short_name(dtype)
            )
    return DecodeDuel(comparisons, floors, arena.largest_difference())


_MATCHES = {
    "upstream": ("SamPredictor.predict", "click"),
    "onnxruntime": ("ONNX Runtime", "click"),
    "mask_decoder": ("MaskDecoder", "decode"),
}
"""Key -> the peer, and which of ours does the same: a whole click, or up to the logits alone."""


class _Arena:
    """One picture, one set of weights, one click, for all."""

    def __init__(self, picture: Picture, device: torch.device) -> None:
        self._device = device
        self._sam = official_decoder()
        self._pixels = images.decode(picture.data, images.MAX_PIXELS)
        self._frame = Frame(picture.width, picture.height, self._sam.image_encoder.img_size)
        prompts = picture.rounds()[0]
        self._point = (prompts.x, prompts.y, 1)
        self._predictor = SamPredictor(copy.deepcopy(self._sam).to(device))
        self._predictor.set_image(self._pixels)
        self._ordinary = _ordinary_logits(self._frame)
        self._served: dict[torch.dtype, tuple[SamModel, Embedding]] = {}

    def peers(self) -> tuple[dict[str, Contestant], dict[str, str]]:
        """Contestants by name; and who is absent, with the reason."""
        contestants = {"SamPredictor.predict": self._predict, "MaskDecoder": self._bare_decoder()}
        absent = why_no_onnx(self._device)
        if absent is not None:
            return contestants, {"ONNX Runtime": absent}
        return contestants | {"ONNX Runtime": self._onnx_click()}, {}

    def ours(self, dtype: torch.dtype) -> dict[str, Contestant]:
        """A whole click, and a decode alone."""

        def decode() -> object:
            return self._decode(dtype)

        def click() -> object:
            self._decode(dtype)
            return masks.finish(self._ordinary, self._frame)

        return {f"decode {short_name(dtype)}": decode, f"click {short_name(dtype)}": click}

    def largest_difference(self) -> float:
        """Of the best mask's logits, float32, upstream's and ours."""
        _, scores, theirs = self._predict()
        ours = self._decode(torch.float32).logits[0]
        return float(np.abs(theirs[int(np.argmax(scores))] - ours).max())

    def _decode(self, dtype: torch.dtype) -> Decoded:
        if dtype not in self._served:
            model = SamModel(
                copy.deepcopy(self._sam),
                name="sam",
                fingerprint="bench",
                device=self._device,
                dtype=dtype,
            )
            model.compile()
            self._served[dtype] = model, run_steps(model.encode(self._pixels))
        model, embedding = self._served[dtype]
        request = DecodeRequest(Prompt(points=(self._point,)), "best")
        (decoded,) = model.decode([(embedding, request)])
        return decoded

    def _predict(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """As its users call it: three masks, of which they take the best."""
        found: tuple[NDArray[Any], NDArray[Any], NDArray[Any]] = self._predictor.predict(
            point_coords=np.array([self._point[:2]]),
            point_labels=np.array([1]),
            multimask_output=True,
        )
        return found

    def _bare_decoder(self) -> Contestant:
        """Prompt encoder and mask decoder on tensors, up to the logits."""
        sam, features = self._predictor.model, self._predictor.get_image_embedding()
        xy = torch.as_tensor(self._model_xy, dtype=torch.float32, device=self._device)[None]
        labels = torch.ones(1, 1, dtype=torch.int, device=self._device)

        @torch.no_grad()
        def decode() -> object:
            sparse, dense = sam.prompt_encoder(points=(xy, labels), boxes=None, masks=None)
            logits, _ = sam.mask_decoder(
                image_embeddings=features,
                image_pe=sam.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=True,
            )
            return logits.cpu()

        return decode

    @property
    def _model_xy(self) -> NDArray[np.float64]:
        return self._frame.to_model(np.array([self._point[:2]]))

    def _onnx_click(self) -> Contestant:
        """As upstream's notebook does it: its export, one mask, at the image's size."""
        session = _onnx_session(self._sam)
        embedding = self._predictor.get_image_embedding().cpu().numpy()
        point = np.concatenate([self._model_xy, np.zeros((1, 2))])[None].astype(np.float32)
        inputs = {
            "image_embeddings": embedding,
            "point_coords": point,
            "point_labels": np.array([[1, -1]], np.float32),
            "mask_input": np.zeros((1, 1, 256, 256), np.float32),
            "has_mask_input": np.zeros(1, np.float32),
            "orig_im_size": np.array([self._frame.height, self._frame.width], np.float32),
        }

        def click() -> object:
            found, _scores, _logits = session.run(None, inputs)
            return found > 0.0

        return click


def _ordinary_logits(frame: Frame) -> Decoded:
    """One disc in the middle of the image, a few logits wide at its edge."""
    side = frame.input_size // 4
    height, width = frame.valid_logits(side)
    rows, columns = np.mgrid[0:side, 0:side]
    distance = np.hypot(columns - width / 2, rows - height / 2)
    logits = (_ORDINARY_RADIUS * side - distance).astype(np.float32)
    return Decoded(logits[None], np.ones(1, np.float32))


def why_no_onnx(device: torch.device) -> str | None:
    """Why there is no comparison with ONNX Runtime, if there is none."""
    return None if device.type == "cpu" else "compared on a CPU only"


def _onnx_session(sam: Sam) -> InferenceSession:
    """Upstream's export in ONNX Runtime, with as many threads as torch has."""
    options = SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sam.onnx"
        _export(sam, path)
        return InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _export(sam: Sam, path: Path) -> None:
    """As upstream's scripts/export_onnx_model.py has it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing upstream's code warns of what upstream intends
        torch.onnx.export(
            SamOnnxModel(copy.deepcopy(sam), return_single_mask=True),
            tuple(_example_inputs(sam).values()),
            path,
            input_names=list(_example_inputs(sam)),
            output_names=["masks", "iou_predictions", "low_res_masks"],
            dynamic_axes={"point_coords": {1: "num_points"}, "point_labels": {1: "num_points"}},
            opset_version=_OPSET,
            dynamo=False,
        )


def _example_inputs(sam: Sam) -> Mapping[str, torch.Tensor]:
    dim: int = sam.prompt_encoder.embed_dim
    return {
        "image_embeddings": torch.randn(1, dim, *sam.prompt_encoder.image_embedding_size),
        "point_coords": torch.rand(1, 5, 2) * 1024,
        "point_labels": torch.randint(0, 4, (1, 5)).float(),
        "mask_input": torch.randn(1, 1, *sam.prompt_encoder.mask_input_size),
        "has_mask_input": torch.ones(1),
        "orig_im_size": torch.tensor([1500.0, 2250.0]),
    }
