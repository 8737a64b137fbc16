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

from recipelang.kinds.layer_times import Watched
from recipelang.measuring.clock import waited
from recipelang.runtimes.onnx_graph import Graph
from recipelang.runtimes.onnx_watch import PRODUCTS, UNDISTURBED, Written
from recipelang.runtimes.openvino_session import Compiled, originals

#: of a sample: attempts at one that has not waited for its core; and calls in a row, so many that the counters' cut
#: hardly matters
ATTEMPTS, CALLS = 3, 20
#: the counters cut off what is less than a microsecond
CUT_S = 0.5e-6
EXECUTED = "Status.EXECUTED"
#: OpenVINO's kind of a product of matrices, with its bias
MULTIPLIES = "FullyConnected"

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

    how = "by OpenVINO's counters, each sample compiled anew; operations without a weight are added up by their kind"

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
                best, least = by_layer(found, layers_of(compiled, self._written)), share
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
    first = _counters(request)
    for _ in range(CALLS):
        request.infer(given)
    return later(first, _counters(request), CALLS)


def _counters(request: Any) -> dict[str, float]:
    return {
        one.node_name: one.real_time.total_seconds()
        for one in request.get_profiling_info()
        if str(one.status) == EXECUTED
    }


def later(first: Mapping[str, float], mean: Mapping[str, float], calls: int) -> dict[str, float]:
    """Operation → seconds of a call after the first one.

    Args:
        first: what the first call took.
        mean: what all calls took on average, cut to whole microseconds as every call is.
        calls: how many there were after the first.
    """
    cut = CUT_S + CUT_S * (1 + calls) / calls
    return {
        n: max(0.0, (all_of_them * (1 + calls) - first.get(n, 0.0)) / calls + cut) for n, all_of_them in mean.items()
    }


def by_layer(found: Mapping[str, float], named: Mapping[str, tuple[str, str]]) -> Counted:
    """The operations of each layer. Their names are forgotten: each compilation numbers some of them anew.

    Args:
        found: operation → seconds of a call.
        named: operation → (layer, kind), of the same compilation.
    """
    layers = Counted()
    for operation, took in found.items():
        layer, kind = named[operation]
        layers.setdefault(layer, []).append((kind, took))
    return layers


def layers_of(compiled: Any, written: Written) -> dict[str, tuple[str, str]]:
    """Operation of the graph that OpenVINO executes → (layer, its kind); those that multiply no weight are
    `every KIND`."""
    found: dict[str, tuple[str, str]] = {}
    for operation, kind, names in originals(compiled):
        origins = [written.named.get(name) or written.graph.made.get(name) for name in names]
        products = [origin for origin in origins if origin is not None and PRODUCTS.search(origin.op_type)]
        if not products and kind == MULTIPLIES:  # named after the bias alone, an addition after the product
            products = [origin for origin in origins if origin is not None]
        layer = next((layer for origin in products if (layer := written.layer(origin))), "")
        found[operation] = layer or f"every {kind}", kind
    return found
