"""The one door to segment_anything, which imports torchvision for a resize it hardly uses.

torchvision's wheel on PyPI is built for CUDA. Beside a CPU build of torch its compiled extension
does not load, and `import torchvision` dies where it describes operators that were never
registered. Declaring those two operators first is enough: nothing here calls them.
"""

from torch import library

try:
    import torchvision  # noqa: F401 - imported for its failure, before segment_anything meets it
except RuntimeError:
    # Kept for the life of the process: the declarations vanish with the object.
    _operators = library.Library("torchvision", "DEF")
    for _name in ("nms", "qnms"):
        _schema = f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        _operators.define(_schema)

from segment_anything import SamPredictor, sam_model_registry
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from segment_anything.modeling.common import LayerNorm2d, MLPBlock
from segment_anything.modeling.image_encoder import Attention as WindowAttention
from segment_anything.modeling.image_encoder import Block as WindowBlock
from segment_anything.modeling.image_encoder import get_rel_pos
from segment_anything.modeling.transformer import Attention, TwoWayAttentionBlock
from segment_anything.utils.onnx import SamOnnxModel
from segment_anything.utils.transforms import ResizeLongestSide

__all__ = [
    "Attention",
    "ImageEncoderViT",
    "LayerNorm2d",
    "MLPBlock",
    "MaskDecoder",
    "PromptEncoder",
    "ResizeLongestSide",
    "Sam",
    "SamOnnxModel",
    "SamPredictor",
    "TwoWayAttentionBlock",
    "TwoWayTransformer",
    "WindowAttention",
    "WindowBlock",
    "get_rel_pos",
    "sam_model_registry",
]
