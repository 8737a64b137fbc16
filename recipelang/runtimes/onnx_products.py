"""Where a quantized program multiplies the integers of a weight, and in which numbers that is executed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from recipelang.runtimes.layers import ExecutedAs
from recipelang.runtimes.onnx_graph import Graph
from recipelang.runtimes.onnx_integers import MOST_BITS, codebooks, grids
from recipelang.surgery.network import Network
from recipelang.surgery.restricting import is_parameter

#: Only changes the form of a value: the operation that computes reads its result.
FORM = {"DequantizeLinear", "Transpose", "Reshape", "Unsqueeze", "Squeeze", "Cast", "Identity"}


@dataclass(frozen=True)
class Multiplied:
    """The operation of a program that multiplies a weight on a grid.

    Attributes:
        node: its name in the program.
        gives: the name of its result.
        operation: its kind: `Conv`, `MatMul`.
        integers: whether what it is multiplied with is on a grid, too.
    """

    node: str
    gives: str
    operation: str
    integers: bool


def multiplied(program: bytes, places: Collection[str]) -> dict[str, Multiplied]:
    """Place of a weight → what multiplies it; missing where nothing does.

    Args:
        program: with the initializers `PLACE.integers`.
        places: of weights.
    """
    import onnx

    graph = Graph(onnx.load_from_string(program).graph)
    found = {}
    for place in places:
        value, node = f"{place}.integers", None
        while (node := next(iter(graph.readers.get(value, ())), None)) is not None and node.op_type in FORM:
            value = node.output[0]
        if node is not None:
            others = [graph.made[name].op_type for name in node.input if name != value and name in graph.made]
            found[place] = Multiplied(node.name, node.output[0], node.op_type, "DequantizeLinear" in others)
    return found


def ways(network: Network, program: bytes, runtime: str, told: Mapping[str, ExecutedAs]) -> dict[str, ExecutedAs]:
    """Parameter name → how a runtime executes the product of a weight that is on a grid or in a codebook.

    Args:
        network: with the grids and codebooks.
        program: that of the network.
        runtime: its name.
        told: place of a weight → what the runtime says; the others are in float32, and why follows from the program.
    """
    weights = {place: grid for place, grid in grids(network).items() if is_parameter(place)}
    places = multiplied(program, weights) if weights else {}
    levels = f"its levels are multiplied in float32: {runtime} has no kernels for codebooks"
    found = {place: ExecutedAs("float32", levels) for place in codebooks(network) if is_parameter(place)}
    for place, grid in weights.items():
        where = places.get(place)
        if grid.scheme.bits > MOST_BITS:
            found[place] = ExecutedAs("float32", f"{runtime} multiplies integers of at most {MOST_BITS} bits")
        elif (way := told.get(place)) is not None and way.executes != "float32":
            found[place] = way
        elif where is not None and not where.integers:
            why = "its integers are converted to float32 first: what they are multiplied with is in float32"
            found[place] = ExecutedAs("float32", why)
        elif way is not None:
            found[place] = way
        else:
            operation = f" for {where.operation}" if where else ""
            why = f"its integers are converted to float32 first: {runtime} has no integer kernel{operation} here"
            found[place] = ExecutedAs("float32", why)
    return found
