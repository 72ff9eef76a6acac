import pytest

from server.app import _engine_settings
from server.config import Settings


@pytest.mark.parametrize("reduced", [False, True])
def test_the_engine_reads_jpegs_as_the_operator_chose(*, reduced: bool) -> None:
    assert _engine_settings(Settings(reduced_jpeg=reduced)).reduced_jpeg == reduced
