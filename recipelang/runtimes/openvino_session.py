"""An ONNX program in OpenVINO, compiled for each shape of inputs that it is called with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor

from recipelang.runtimes.layers import ExecutedAs
from recipelang.runtimes.onnx_compared import cannot_execute
from recipelang.runtimes.onnx_products import Multiplied
from recipelang.runtimes.onnx_unsigned import overflows, unsigned

RUNTIME = "openvino"
#: Operations that multiply weights.
PRODUCTS = {"Convolution", "Deconvolution", "FullyConnected", "MatMul"}
#: Several operations that are compiled as one.
FUSED = "Subgraph"


class Compiled:
    """A program that OpenVINO executes on the CPU, with unsigned integers where products of others overflow.

    With unsigned weights it multiplies in float32, as `kernels` tells.
    A program whose shapes are known is up to a fifth faster than one for any batch.

    Args:
        program: bytes of an ONNX program with one input.
        threads: CPU threads of one call.
        counts: whether it counts what each operation takes.

    Raises:
        Refusal: RCP1029: OpenVINO cannot read the program.
    """

    def __init__(self, program: bytes, threads: int = 1, *, counts: bool = False) -> None:
        self._core = _core()
        self._how = {
            "INFERENCE_PRECISION_HINT": "f32",  # else some CPUs compute in bfloat16, healthy included
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "PERF_COUNT": counts,
            "ENABLE_CPU_PINNING": False,  # threads stay where whoever times them has put them
        }
        self._compiled: dict[tuple[int, ...], Any] = {}
        self._requests: dict[tuple[int, ...], Any] = {}
        try:
            self._program = unsigned(program) if _overflows() else program
            self._core.read_model(self._program)
        except Exception as error:  # OpenVINO raises RuntimeError for most, and others
            raise cannot_execute(RUNTIME, error) from error

    def __call__(self, inputs: Tensor) -> Tensor:
        """Inputs B×…, float32 on the CPU → the network's answer."""
        shape = tuple(inputs.shape)
        request = self._requests.get(shape)
        if request is None:
            request = self._requests[shape] = self.compiled(shape).create_infer_request()
        return torch.from_numpy(request.infer({0: inputs.numpy()}, share_inputs=True)[0])

    def compiled(self, shape: tuple[int, ...]) -> Any:
        """The `openvino.CompiledModel` for inputs of one shape.

        Raises:
            Refusal: RCP1029: OpenVINO cannot compile it.
        """
        if shape not in self._compiled:
            try:
                model = self._core.read_model(self._program)
                model.reshape(list(shape))
                self._compiled[shape] = self._core.compile_model(model, "CPU", self._how)
            except Exception as error:  # as above
                raise cannot_execute(RUNTIME, error) from error
        return self._compiled[shape]


@cache
def _core() -> Any:
    """The one `openvino.Core` of the process, which is never freed.

    Its CPU plugin puts a signal stack of its own in place of the thread's, and puts the previous one back when it is
    unloaded. Where two are unloaded in the order in which they came, the previous one is that of the first, which is
    freed: the next Ctrl-C would then end the process with a segmentation fault.
    """
    import openvino

    return openvino.Core()


@cache
def _overflows() -> bool:
    """Whether this processor needs unsigned integers."""

    def runs(program: bytes) -> Callable[[Tensor], Tensor]:
        compiled = _core().compile_model(_core().read_model(program), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return lambda inputs: torch.from_numpy(compiled({0: inputs.numpy()})[0])

    return overflows(runs)


def kernels(compiled: Any, places: Mapping[str, Multiplied]) -> dict[str, ExecutedAs]:
    """Place of a weight on a grid → how OpenVINO multiplies it; missing where the graph does not tell.

    Read from the graph that it executes (`get_runtime_model`): an operation there names those of the program that it
    was made of, and the kernel that was chosen, `brgconv_avx512_I8`.
    """
    told: dict[str, ExecutedAs] = {}
    for operation in compiled.get_runtime_model().get_ops():
        entries = operation.get_rt_info()
        kind, kernel = _text(entries, "layerType"), _text(entries, "primitiveType")
        # A product of which a part was moved elsewhere is called `NAME/…`.
        names = {name.partition("/")[0] for name in _text(entries, "originalLayersNames").split(",")}
        if kind == FUSED:
            why = "its product is in a Subgraph of OpenVINO, which does not tell in which numbers it multiplies"
            told = dict.fromkeys(names, ExecutedAs("float32", why)) | told
        elif kind in PRODUCTS:
            integers = kernel.lower().endswith("_i8")
            why = f"{kind} with the recipe's scales" if integers else _in_float32()
            told |= dict.fromkeys(names, ExecutedAs("int8" if integers else "float32", f"{why} ({kernel})"))
    # What gives the answer has the name of the answer.
    found = {place: told.get(where.node) or told.get(where.gives) for place, where in places.items()}
    return {place: way for place, way in found.items() if way is not None}


def originals(compiled: Any) -> list[tuple[str, str, tuple[str, ...]]]:
    """(name, kind, names of the program's operations that it was made of) of each operation that OpenVINO executes.

    A product whose bias became an operation of its own is called `NAME/WithoutBiases`, and the addition `NAME`.
    """
    found = []
    for operation in compiled.get_runtime_model().get_ops():
        entries = operation.get_rt_info()
        names = tuple(name for name in _text(entries, "originalLayersNames").split(",") if name)
        found.append((operation.get_friendly_name(), _text(entries, "layerType"), names))
    return found


def _in_float32() -> str:
    why = "its integers are converted to float32 first"
    return f"{why}: this processor's products of uint8 and int8 overflow" if _overflows() else why


def _text(told: Any, name: str) -> str:
    """An entry of an operation's information; "" where it has none."""
    return str(told[name].astype(str)) if name in told else ""
