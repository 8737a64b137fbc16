"""What each layer takes in OpenVINO, by its own counters; the graph that it executes says what became of a layer.

A counter is the mean of all calls since the program was compiled, in whole microseconds, and cannot be reset. Each
sample is a program of its own: after the first call the counters are that call, after some more they are the mean of
all, and the difference is the later ones.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from recipelang.kinds.layer_times import JOINED, Watched
from recipelang.measuring.clock import waited
from recipelang.runtimes.onnx_graph import Graph
from recipelang.runtimes.onnx_watch import PRODUCTS, UNDISTURBED, Written
from recipelang.runtimes.openvino_session import Compiled, originals

#: of a sample: attempts at one that has not waited for its core; and calls in a row, so many that the counters' cut
#: hardly matters, or fewer that take long
ATTEMPTS, MOST_CALLS, FEWEST_CALLS, LONG_S = 3, 20, 3, 0.1
#: the counters cut off what is less than a microsecond
CUT_S = 0.5e-6
#: a product whose bias is added by another operation
WITHOUT_BIAS = "/WithoutBiases"
#: OpenVINO's kinds of products with a weight, which may be named after the bias that they add
MULTIPLIES = {"Convolution", "Deconvolution", "FullyConnected"}
#: layer and kind of what is counted and is not in the graph
OTHERS = "every other operation", ""

#: layer → (kind, seconds of a call) of each of its operations
Counted = dict[str, list[tuple[str, float]]]


class OpenVinoWatch:
    """A `kinds.Watch` of a program in OpenVINO.

    Args:
        program: bytes of an ONNX program.
        weights: name of each parameter of the deployed network → its values.
        threads: of the CPU.

    Raises:
        Refusal: RCP1029: OpenVINO cannot execute it.
    """

    settling = 0.01  # a program that is compiled takes all the caches
    how = (
        "by OpenVINO's counters, each sample compiled anew; operations without a weight are added up by their kind, "
        "and what a call takes outside of its operations is in none"
    )

    def __init__(self, program: bytes, weights: Mapping[str, Tensor], threads: int) -> None:
        import onnx

        self._program, self._threads = program, threads
        self._written = Written(Graph(onnx.load_from_string(program).graph), weights)
        self._samples: list[Counted] = []

    def sample(self, inputs: Tensor, calls: int) -> None:
        """Call a program of its own some times; an attempt that has waited for its core is repeated."""
        best, least = Counted(), math.inf
        for _ in range(ATTEMPTS):
            compiled = Compiled(self._program, self._threads, counts=True).compiled(tuple(inputs.shape))
            before, began = waited(), time.perf_counter()
            found = _counted(compiled, inputs)
            share = (waited() - before) / (time.perf_counter() - began)
            if share < least:
                best, least = by_layer(found, layers_of(originals(compiled), self._written)), share
            if share < UNDISTURBED:
                break
        self._samples.append(best)

    def finish(self) -> Watched:
        """What the counters said."""
        layers = dict.fromkeys(layer for sample in self._samples for layer in sample)
        own = {layer: [sample.get(layer, []) for sample in self._samples] for layer in layers}
        seconds = {layer: [sum(took for _, took in each) for each in samples] for layer, samples in own.items()}
        kinds = {layer: dict.fromkeys(kind for each in samples for kind, _ in each) for layer, samples in own.items()}
        calls = {layer: max(map(len, samples)) for layer, samples in own.items()}
        return Watched(seconds, {layer: " + ".join(found) for layer, found in kinds.items()}, calls)

    def close(self) -> None:
        """It holds nothing."""


def _counted(compiled: Any, inputs: Tensor) -> dict[str, float]:
    """Operation → seconds of a call: the mean of some, without the first."""
    request, given = compiled.create_infer_request(), {0: inputs.numpy()}
    request.infer(given)
    first, end, calls = _counters(request), time.perf_counter() + LONG_S, 0
    while calls < FEWEST_CALLS or (calls < MOST_CALLS and time.perf_counter() < end):
        request.infer(given)
        calls += 1
    return later(first, _counters(request), calls)


def _counters(request: Any) -> dict[str, float]:
    return {one.node_name: one.real_time.total_seconds() for one in request.get_profiling_info()}


def later(first: Mapping[str, float], mean: Mapping[str, float], calls: int) -> dict[str, float]:
    """Operation → seconds of a call after the first one.

    What took less than a microsecond in all calls is left out: it cannot be told from what is not executed, such as a
    new shape for the same numbers. Other times are right on average, as long as they are not shorter.

    Args:
        first: what the first call took.
        mean: what all calls took on average, cut to whole microseconds as every call is.
        calls: how many there were after the first.
    """
    cut = CUT_S + CUT_S * (1 + calls) / calls
    seen = (name for name in mean if mean[name] or first.get(name))
    return {name: max(0.0, (mean[name] * (1 + calls) - first.get(name, 0.0)) / calls + cut) for name in seen}


def by_layer(found: Mapping[str, float], named: Mapping[str, tuple[str, str]]) -> Counted:
    """The operations of each layer. Their names are forgotten: each compilation numbers some of them anew.

    Args:
        found: operation → seconds of a call.
        named: operation → (layer, kind), of the same compilation.
    """
    layers = Counted()
    for operation, took in found.items():
        layer, kind = named.get(operation, OTHERS)
        layers.setdefault(layer, []).append((kind, took))
    return layers


def layers_of(executed: list[tuple[str, str, tuple[str, ...]]], written: Written) -> dict[str, tuple[str, str]]:
    """Operation that OpenVINO executes → (layer, its kind).

    Those that multiply no weight are `every KIND`; one that multiplies those of several layers has all their names,
    since nothing tells what each of them takes.

    Args:
        executed: as `originals` gives them.
        written: the program.
    """
    apart = {
        name.removesuffix(WITHOUT_BIAS) for _, _, names in executed for name in names if name.endswith(WITHOUT_BIAS)
    }
    found: dict[str, tuple[str, str]] = {}
    for operation, kind, names in executed:
        told = [name.partition("/")[0] for name in names if name not in apart]
        origins = [each for name in told if (each := written.named.get(name) or written.graph.made.get(name))]
        products = [origin for origin in origins if PRODUCTS.search(origin.op_type)]
        if not products and kind in MULTIPLIES:  # named after the bias alone, an addition after the product
            products = origins
        layers = dict.fromkeys(layer for origin in products if (layer := written.layer(origin)))
        found[operation] = JOINED.join(layers) or f"every {kind}", kind
    return found
