"""Networks compiled as a whole by ONNX Runtime: to a CPU what CUDA graphs are to a GPU.

A decode of one click is some hundred small products. Torch, run eagerly, spends as long between
them as in them; ONNX Runtime plans the whole of them once. A network is recorded by an example
call: what it decides in Python is decided for good, what it computes from its inputs' shapes is
not. But computing shapes takes time too; so for single rows, which lone clicks are, a plan is made
for each shape when it is first met, with all of that done beforehand. Each plan has its own copy of
the weights, and nothing here bounds the plans: whoever calls has few shapes.
"""

import io
import warnings
from collections.abc import Mapping

import onnxruntime
import torch
from torch import Tensor, nn

__all__ = ["EXAMPLE_ROWS", "Compiled", "compiling_pays"]

OPSET = 18
FATAL_SEVERITY = 4
"""What the runtime writes to stderr; its errors are raised as well."""
EXAMPLE_ROWS = 2
"""A size of one would be taken for a constant."""
SLOWER_FUSIONS = ["SkipLayerNormFusion"]
"""Of the runtime's ways to plan: what it fuses took six times as long as its parts."""
MOST_PLAN_THREADS = 8
"""Every plan has threads of its own, and products this small gain nothing from more."""
SPIN_US = 50
"""How long a thread waits busily for its share of the next product, microseconds; then it sleeps.
Most products of a click are apart by less. Longer waits would take the cores from other work."""
ROWS = "rows"
SPINNING = {
    "session.intra_op.allow_spinning": "1",
    "session.intra_op.spin_duration_us": str(SPIN_US),
    "session.force_spinning_stop": "1",  # and not at all between two calls
}


def compiling_pays(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether compiled code is the faster: in half precision torch's kernels are."""
    return device.type == "cpu" and dtype == torch.float32


class Compiled:
    """Stands in for the network it was made from, on inputs of any number of rows.

    Args:
        network: of tensors to a tensor or a tuple of them, ready for inference.
        example: its inputs by name, in order, of `EXAMPLE_ROWS` rows; those without axes are
            numbers.
        threads: that a call may use; of many, `MOST_PLAN_THREADS`.
        free: of an input, the axis besides the rows whose size may differ from the example's.
    """

    def __init__(
        self,
        network: nn.Module,
        example: Mapping[str, Tensor],
        threads: int,
        free: Mapping[str, int] | None = None,
    ) -> None:
        self._free = free or {}
        self._threads = min(threads, MOST_PLAN_THREADS)
        self._names = list(example)
        self._recording = _record(network, example, self._axes(example))
        self._plans: dict[tuple[int, ...], onnxruntime.InferenceSession] = {}
        self._any_shape = self._plan({})

    def _axes(self, example: Mapping[str, Tensor]) -> dict[str, dict[int, str]]:
        """What the sizes are called that are not the example's."""
        rows = {name: {0: ROWS} for name, value in example.items() if value.ndim}
        others = {name: {axis: f"{name} each"} for name, axis in self._free.items()}
        return {name: axes | others.get(name, {}) for name, axes in rows.items()}

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """As the network answers.

        Raises:
            RuntimeError: the runtime could not; in its own words.
        """
        fed = {name: value.numpy() for name, value in zip(self._names, inputs, strict=True)}
        sizes = {f"{name} each": fed[name].shape[axis] for name, axis in self._free.items()}
        try:
            plan = self._any_shape if len(inputs[0]) > 1 else self._plan_of_a_row(sizes)
            return tuple(map(torch.from_numpy, plan.run(None, fed)))
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - the runtime's errors share no other base
            failure = str(error)
        # Without a link to the runtime's error, whose traceback would keep the inputs alive.
        raise RuntimeError(failure)

    def _plan_of_a_row(self, sizes: Mapping[str, int]) -> onnxruntime.InferenceSession:
        shape = tuple(sizes.values())
        if shape not in self._plans:
            self._plans[shape] = self._plan({ROWS: 1, **sizes})
        return self._plans[shape]

    def _plan(self, sizes: Mapping[str, int]) -> onnxruntime.InferenceSession:
        """For inputs of these sizes; for the others any will do."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = FATAL_SEVERITY
        for name, value in SPINNING.items():
            options.add_session_config_entry(name, value)
        if not sizes:
            # It would keep, for good, the most that batches of every size ever took.
            options.enable_mem_pattern = options.enable_cpu_mem_arena = False
        for name, size in sizes.items():
            options.add_free_dimension_override_by_name(name, size)
        return onnxruntime.InferenceSession(
            self._recording,
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=SLOWER_FUSIONS,
        )


def _record(
    network: nn.Module, example: Mapping[str, Tensor], axes: Mapping[str, Mapping[int, str]]
) -> bytes:
    file = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        # The exporter that is to replace this one takes 25 s for a decoder, this one a second.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings("ignore", "Constant folding")
        torch.onnx.export(
            network,
            tuple(example.values()),
            file,  # type: ignore[arg-type]  # torch takes it, and says so, but not in its types
            input_names=list(example),
            dynamic_axes={name: dict(named) for name, named in axes.items()},
            opset_version=OPSET,
            dynamo=False,
        )
    return file.getvalue()
