import pytest
import torch
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

from server.engine.models.recording.eager import or_eager


def test_what_cannot_be_recorded_stays_eager_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fails() -> str:
        raise Fail("no such operator")

    assert or_eager(fails, "eager") == "eager"
    assert "could not record" in caplog.text
    assert or_eager(lambda: "recorded", "eager") == "recorded"


def more_than_there_is() -> torch.Tensor:
    return torch.empty(1 << 50)


def python_has_no_more() -> str:
    raise MemoryError


def the_runtime_has_no_more() -> str:
    raise Fail("Exception during loading: std::bad_alloc")


@pytest.mark.parametrize("make", [more_than_there_is, python_has_no_more, the_runtime_has_no_more])
def test_memory_that_is_short_now_makes_nothing_slow_for_good(make: object) -> None:
    with pytest.raises((RuntimeError, MemoryError, Fail)):
        or_eager(make, "eager")  # type: ignore[arg-type]
