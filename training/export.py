"""Step 3: the averaged weights of a checkpoint become the file that ships.

python -m training.export --run RUN/last.pt --out server/engine/models/weights/tiny.safetensors

Half precision, and eight bits for large matrices (`compact`), cost nothing measurable; the model
computes in the dtype its caller chooses.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from server.engine.models.compact import narrowed
from training.learner import load_checkpoint

__all__ = ["export", "main"]

MAX_BYTES = 16 * 1000 * 1000


def export(state: dict[str, Any], size: int, out: Path) -> None:
    """Write the shipped file from a training checkpoint."""
    weights: dict[str, Tensor] = {
        name: value
        for name, value in state["average"].items()
        if name.startswith(("sam.", "closeup."))
    }
    note = {"name": "tiny", "input_size": size, "format": 2, "steps": state["step"]}
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(narrowed(weights), out, metadata={"samwire": json.dumps(note)})
    out.chmod(0o644)
    if out.stat().st_size > MAX_BYTES:
        raise ValueError(f"{out} has {out.stat().st_size} bytes, more than {MAX_BYTES}")


def main() -> None:
    """Export one checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="a checkpoint of training.train")
    parser.add_argument("--size", type=int, help="input size, if not the checkpoint's own")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    state = load_checkpoint(args.run)
    export(state, args.size or state["size"], args.out)
    print(f"wrote {args.out}: {args.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
