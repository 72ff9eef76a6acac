"""What must be so before torch is loaded."""

import os
import subprocess
import sys

import pytest

SAY = "import os, server.engine.models; print(os.environ.get('GOMP_SPINCOUNT'))"


@pytest.mark.parametrize(
    ("already", "said"),
    [({}, "60000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None")],
    ids=["nothing set", "a count set", "a policy set"],
)
def test_waiting_threads_soon_sleep_unless_the_operator_says_otherwise(
    already: dict[str, str], said: str
) -> None:
    quiet = {k: v for k, v in os.environ.items() if k not in {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}}
    command = [sys.executable, "-c", SAY]
    told = subprocess.run(
        command, env={**quiet, **already}, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == said
