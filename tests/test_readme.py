"""What the README shows works as shown."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.pictures import jpeg, scene
from tests.support.running_server import RunningServer

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_python_example_runs(fake: RunningServer, tmp_path: Path) -> None:
    found = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert found is not None
    (tmp_path / "photo.jpg").write_bytes(jpeg(scene(320, 240)[0]))
    example = found[1].replace("ws://localhost:8000", f"ws://127.0.0.1:{fake.port}")
    ran = subprocess.run(
        [sys.executable, "-c", example],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    assert "(240, 320)" in ran.stdout


@pytest.mark.parametrize("target", re.findall(r"\]\((?!http)([^)#]+)\)", README))
def test_a_link_leads_somewhere(target: str) -> None:
    assert (ROOT / target).exists()
