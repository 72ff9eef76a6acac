"""The averaged weights of a checkpoint become the file that ships.

python -m training.export --run RUN/last.pt --out server/engine/models/weights/tiny.safetensors

Half precision, and eight bits for large matrices (`compact`), cost nothing measurable; the model
computes in the dtype its caller chooses. After a run that began from weights (`--init`) the
mean of those and its own is often better than either: `--midway` (Wortsman et al.,
"Robust fine-tuning of zero-shot models", CVPR 2022).
"""

import argparse
import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from server.engine.models.tiny.quantization import quantized
from training.learner import load_checkpoint, load_weights

__all__ = ["export", "main", "midway"]

MAX_BYTES = 16 * 1000 * 1000


def midway(weights: dict[str, Tensor], others: dict[str, Tensor]) -> dict[str, Tensor]:
    """The mean of two states of one network; counts, and what only the first has, are its own."""
    return {
        name: (value + others[name].to(value)) / 2
        if name in others and value.is_floating_point()
        else value
        for name, value in weights.items()
    }


def export(state: dict[str, Any], size: int, out: Path) -> None:
    """Write the shipped file from a training checkpoint."""
    weights: dict[str, Tensor] = {
        name: value
        for name, value in state["average"].items()
        if name.startswith(("sam.", "closeup."))
    }
    note = {"name": "tiny", "input_size": size, "format": 2, "steps": state["step"]}
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(quantized(weights), out, metadata={"samwire": json.dumps(note)})
    out.chmod(0o644)
    if out.stat().st_size > MAX_BYTES:
        raise ValueError(f"{out} has {out.stat().st_size} bytes, more than {MAX_BYTES}")


def main() -> None:
    """Export one checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="a checkpoint of training.train")
    parser.add_argument("--size", type=int, help="input size, if not the checkpoint's own")
    parser.add_argument("--midway", type=Path, help="what the run went on from: half of each")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    state = load_checkpoint(args.run)
    if args.midway:
        state["average"] = midway(state["average"], load_weights(args.midway))
    export(state, args.size or state["size"], args.out)
    print(f"wrote {args.out}: {args.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
