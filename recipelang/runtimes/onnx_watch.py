"""What each layer takes in onnxruntime, by its own profiler; the optimised graph says what became of a layer."""

from __future__ import annotations

import bisect
import hashlib
import json
import math
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from recipelang.kinds.layer_times import JOINED, Watched
from recipelang.measuring.clock import waited
from recipelang.runtimes.onnx_graph import Graph
from recipelang.runtimes.onnx_products import FORM
from recipelang.runtimes.onnx_session import Session

#: the profiler counts whole microseconds, and cuts off the rest
CUT_S = 0.5e-6
#: how onnxruntime names an operation that it has put into its blocked layout of channels, after the value that it gives
_BLOCKED = re.compile(r"^(.+)_nchwc(_token_\d+)?$")
#: of a sample: attempts at one that has not waited for its core, and calls in a row
ATTEMPTS, MOST_CALLS = 6, 5
#: the part of an attempt for which it may have waited
UNDISTURBED = 0.01
#: operations that the profiler notes in all: it writes some hundred bytes for each
MOST_EVENTS = 100_000
#: events of the profiler: a whole call, and after its name an operation
RUN, NODE = "model_run", "_kernel_time"
#: multiply a weight with what the network computes
PRODUCTS = re.compile(r"Conv|MatMul|Gemm|Attention|^(LSTM|GRU|RNN)$")


class OnnxWatch:
    """A `kinds.Watch` of a program in onnxruntime.

    Args:
        program: bytes of an ONNX program.
        weights: name of each parameter of the deployed network → its values.
        threads: of the CPU.

    Raises:
        Refusal: RCP1029: onnxruntime cannot execute it.
    """

    settling = 0.0
    how = "by onnxruntime's profiler; operations without a weight are added up by their kind"

    def __init__(self, program: bytes, weights: Mapping[str, Tensor], threads: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="recipe-profile-")
        place = Path(self._folder.name)
        self._kept = place / "optimised.onnx"
        self._session = Session(program, threads, keep=str(self._kept), profile=str(place / "profile"))
        self._named = layers_of(program, self._kept, weights)
        self._attempts: list[tuple[int, int | None]] = []  # calls of an attempt, and the sample that it is
        self._samples, self._left = 0, MOST_EVENTS // max(1, len(self._named))

    def sample(self, inputs: Tensor, calls: int) -> None:
        """Call the network some times; the means over these calls are one sample.

        The profiler counts the time for which another process held the core to whatever ran then, so an attempt that
        has waited is repeated, and the one that has waited least is the sample.
        """
        calls, best, least = min(calls, MOST_CALLS), len(self._attempts), math.inf
        for _ in range(ATTEMPTS):
            before, began = waited(), time.perf_counter()
            for _ in range(calls):
                self._session(inputs)
            share = (waited() - before) / (time.perf_counter() - began)
            if share < least:
                best, least = len(self._attempts), share
            self._attempts.append((calls, None))
            self._left -= calls
            if share < UNDISTURBED or self._left <= 0:
                break
        self._attempts[best] = (calls, self._samples)
        self._samples += 1

    def finish(self) -> Watched:
        """What the profiler has written."""
        events = json.loads(Path(self._session.end_profile()).read_text("utf-8"))
        return read(events, self._named, self._attempts)

    def close(self) -> None:
        """Remove the profiler's files."""
        self._folder.cleanup()


def read(
    events: list[dict[str, Any]], named: Mapping[str, tuple[str, str]], attempts: Sequence[tuple[int, int | None]]
) -> Watched:
    """Seconds of each layer from what the profiler wrote; what it does between two operations counts for none.

    Args:
        events: in Chrome's form, durations in microseconds.
        named: operation → (layer, what became of it).
        attempts: how many calls each one has, and which sample it is; None where another one is.
    """
    ends = [start + length for start, length in sorted((e["ts"], e["dur"]) for e in events if e["name"] == RUN)]
    nodes = sorted((e["ts"], e["name"].removesuffix(NODE), e["dur"]) for e in events if _is_node(e))
    layers = dict.fromkeys(named[name][0] for _, name, _ in nodes)
    kinds: dict[str, dict[str, None]] = {layer: {} for layer in layers}
    calls = {sample: many for many, sample in attempts if sample is not None}
    seconds: dict[str, list[float]] = {layer: [0.0] * len(calls) for layer in layers}
    counts = dict.fromkeys(layers, 0)
    samples = [sample for many, sample in attempts for _ in range(many)]
    for start, name, length in nodes:
        sample = samples[bisect.bisect_right(ends, start)]
        if sample is None:
            continue
        layer, kind = named[name]
        seconds[layer][sample] += (length * 1e-6 + CUT_S) / calls[sample]
        counts[layer] += 1
        kinds[layer].setdefault(kind)
    whole = max(1, sum(calls.values()))
    told = {layer: " + ".join(found) for layer, found in kinds.items()}
    return Watched(seconds, told, {layer: max(1, round(count / whole)) for layer, count in counts.items()})


def _is_node(event: Mapping[str, Any]) -> bool:
    return event.get("cat") == "Node" and str(event["name"]).endswith(NODE)


def layers_of(program: bytes, optimised: Path, weights: Mapping[str, Tensor]) -> dict[str, tuple[str, str]]:
    """Operation of the optimised graph → (layer, its kind).

    A layer is named as in reports: `layer1.0.conv1` for `layer1.0.conv1.weight`. Operations that multiply no weight are
    `every KIND`.

    Args:
        program: before the optimisation.
        optimised: the file that onnxruntime wrote.
        weights: name of each parameter of the deployed network → its values.
    """
    import onnx

    written = Written(Graph(onnx.load_from_string(program).graph), weights)
    found: dict[str, tuple[str, str]] = {}
    for node in onnx.load(optimised).graph.node:
        layer = written.layer(node) if PRODUCTS.search(node.op_type) else ""
        found[node.name] = (layer or f"every {node.op_type}", node.op_type)
    return found


class Written:
    """The graph as it was before the optimisation, with what its weights are called."""

    def __init__(self, graph: Graph, weights: Mapping[str, Tensor]) -> None:
        self.graph = graph
        self.named = {node.name: node for node in graph.graph.node}
        self.weights = layers_read(graph, weights)

    def layer(self, node: Any) -> str:
        """The layer of an operation of the optimised graph: by a weight that it reads, or by what it stands for."""
        if weight := self._read(node):
            return weight
        blocked = _BLOCKED.match(node.name)
        values = [*node.output, *([blocked[1]] if blocked else ())]
        origin = next((self.graph.made[value] for value in values if value in self.graph.made), None)
        origin = origin or self.named.get(node.name.split("/")[0])
        while origin is not None:  # what follows a product in it, such as a ReLU, gives it its name
            if weight := self._read(origin):
                return weight
            before = [self.graph.made[name] for name in origin.input if name in self.graph.made]
            origin = before[0] if len(before) == 1 and not PRODUCTS.search(origin.op_type) else None
        return ""

    def _read(self, node: Any) -> str:
        """The layer whose weight an operation reads, perhaps transposed or made of integers; "" for any other."""
        for value in node.input:
            while value in self.graph.made and self.graph.made[value].op_type in FORM:
                value = self.graph.made[value].input[0]
            if value in self.weights:
                return self.weights[value]
        return ""


def layers_read(graph: Graph, weights: Mapping[str, Tensor]) -> dict[str, str]:
    """Value of a program → the layer whose weight it is, integers of a weight included.

    The exporter transposes weights, and gives them names of its own: they are found by their numbers. Of weights with
    equal numbers it keeps one, as in layers that are copies of each other and not trained yet; what reads it is a layer
    by the names of both, `encoder.0.linear + encoder.1.linear`.

    Args:
        graph: before any optimisation.
        weights: name of each parameter of the deployed network → its values.
    """
    from onnx import numpy_helper

    several = {name: weight.numpy() for name, weight in weights.items() if weight.ndim > 1}
    named = {value: name for name in several for value in (name, f"{name}.integers")}
    present = {named[value] for value in graph.held if value in named}
    same: dict[Any, list[str]] = {}
    for name, array in several.items():
        for key in dict.fromkeys([_values(array), *([_values(array.T)] if array.ndim == 2 else ())]):
            same.setdefault(key, []).append(name)
    found = {value: [name] for value, name in named.items()}
    for value, array in graph.held.items():
        if value not in named and len(array.dims) > 1 and (names := same.get(_values(numpy_helper.to_array(array)))):
            found[value] = [name for name in names if name not in present] or names
    known = present.union(*(names for value, names in found.items() if value not in named))
    for value in graph.held:
        if value in named:
            found[value] += [name for name in same[_values(several[named[value]])] if name not in known]
    return {value: JOINED.join(name.removesuffix(".weight") for name in names) for value, names in found.items()}


def _values(array: Any) -> tuple[tuple[int, ...], str]:
    """Shape and digest of an array, equal for equal numbers."""
    return array.shape, hashlib.sha256(array.tobytes()).hexdigest()
