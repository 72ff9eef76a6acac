from pathlib import Path

import pytest

import server.engine.models
from training.learner import Learner, load_weights

SHIPPED = Path(server.engine.models.__file__).parent / "weights" / "tiny.safetensors"


def test_weights_of_another_architecture_are_refused() -> None:
    weights = load_weights(SHIPPED)
    name = "sam.mask_decoder.iou_token.weight"
    with pytest.raises(ValueError, match="another architecture"):
        Learner(64).start_from({**weights, "sam.other": weights[name]})
    del weights[name]
    with pytest.raises(ValueError, match=name):
        Learner(64).start_from(weights)


def test_the_shipped_file_has_all_to_train_on_from_but_the_head_of_training() -> None:
    missing, unknown = Learner(384).load_state_dict(load_weights(SHIPPED), strict=False)
    assert unknown == []
    assert {name.split(".")[0] for name in missing} == {"grouping"}
