from pathlib import Path

import server.engine.models
from training.learner import Learner, load_weights

SHIPPED = Path(server.engine.models.__file__).parent / "weights" / "tiny.safetensors"


def test_the_shipped_file_has_all_to_train_on_from_but_the_head_of_training() -> None:
    missing, unknown = Learner(384).load_state_dict(load_weights(SHIPPED), strict=False)
    assert unknown == []
    assert {name.split(".")[0] for name in missing} == {"grouping"}
