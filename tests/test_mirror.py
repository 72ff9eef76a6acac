"""Each module has a test file where one looks for it, or stands here with where it is tested."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"server": "tests", "client_demo": "tests/client_demo", "training": "tests/training"}

NO_BEHAVIOUR = "fields and signatures, held by the types of those that use them"
ELSEWHERE = {
    "client_demo/load/annotator.py": "tests/client_demo/load/test_running.py",
    "client_demo/opening.py": "tests/client_demo/test_client.py",
    "server/engine/models/decoder/contract.py": NO_BEHAVIOUR,
    "server/engine/models/decoder/core.py": "tests/engine/models/decoder/test_batched.py",
    "server/engine/models/recording/cuda_graphs.py": "tests/engine/models/vit/test_whole_blocks.py",
    "server/engine/models/tiny/layers.py": "tests/engine/models/tiny/test_networks.py",
    "server/engine/models/upstream.py": "tests/engine/models/test_sam.py",
    "server/engine/models/vit/shared.py": "tests/engine/models/vit/test_stepped.py",
    "server/engine/observer.py": NO_BEHAVIOUR,
    "server/load.py": "tests/test_main.py",
    "server/local.py": "tests/test_main.py",
    "server/sessions/effects.py": NO_BEHAVIOUR,
    "server/sessions/rules.py": NO_BEHAVIOUR,
    "training/sample.py": NO_BEHAVIOUR,
    "training/veil.py": "tests/training/test_closeups.py",
}
"""Of `server/bench`, all that measures is tested as one: `tests/test_bench.py`."""

MODULES = [
    path.relative_to(ROOT)
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path.name != "__init__.py" and not {"web", "bench"} & set(path.parts)
]


def own_test(module: Path) -> Path:
    """Where one looks for it; `__main__` is tested by `test_main`."""
    top, *folders, _ = module.parts
    return ROOT.joinpath(FOLDERS[top], *folders, f"test_{module.stem.strip('_')}.py")


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_the_module_has_a_test_file_or_is_known_to_have_none(module: Path) -> None:
    assert own_test(module).exists() != (module.as_posix() in ELSEWHERE)


@pytest.mark.parametrize("module", ELSEWHERE)
def test_what_is_tested_elsewhere_is_there_and_so_is_its_test(module: str) -> None:
    assert Path(module) in MODULES
    assert ELSEWHERE[module] == NO_BEHAVIOUR or (ROOT / ELSEWHERE[module]).exists()
