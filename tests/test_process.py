"""What the process asks of its system; asked in processes of their own, which it would change."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.running_server import running_server

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def few_descriptors() -> Iterator[int]:
    """Fewer than there are, for this process and those that it starts; how many there are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, hard - 1), hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


MEASURE = """
import threading
from server.process import give_memory_back

def resident() -> int:
    return int(open("/proc/self/statm").read().split()[1]) * 4096

def read_picture() -> None:
    bytearray(20 << 20)  # from one that is freed malloc learns to keep as large ones
    kept = []
    for _ in range(8):
        kept.append(b"x" * (15 << 20))
        kept.append(b"y" * 4096)
    del kept[:-1:2]
    before.append(kept)

before = []
if not give_memory_back():
    raise SystemExit("no such malloc")
at_first = resident()
thread = threading.Thread(target=read_picture)
thread.start()
thread.join()
print((resident() - at_first) >> 20)
"""


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


@only_linux
def test_what_a_large_picture_took_goes_back_to_the_system() -> None:
    measured = python(MEASURE)
    if "no such malloc" in measured.stderr:
        pytest.skip("not glibc, or set by whoever runs this")
    assert int(measured.stdout) < 10


@pytest.mark.parametrize("name", ["MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"])
def test_what_an_operator_has_set_of_malloc_stands(name: str) -> None:
    code = "from server.process import give_memory_back; print(give_memory_back())"
    assert python(code, **{name: ""}).stdout == "False\n"


@only_linux
def test_the_server_takes_as_many_descriptors_as_there_are(few_descriptors: int) -> None:
    with running_server() as server:
        limits = Path(f"/proc/{server.process.pid}/limits").read_text()
    [line] = [line for line in limits.splitlines() if line.startswith("Max open files")]
    assert line.split()[3:5] == [str(few_descriptors)] * 2
