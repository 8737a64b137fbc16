"""What every layer with a weight is: how wide, how many nonzeros, with how many bits, how many operations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from recipelang.errors import Refusal
from recipelang.kinds import Restriction
from recipelang.measuring.flops import count
from recipelang.surgery.network import Network
from recipelang.surgery.places import ATTENTION, PRODUCTS, READ, calls_of, moved
from recipelang.surgery.products import Product, products_of
from recipelang.surgery.provenance import memory_of
from recipelang.surgery.simulated import computing
from recipelang.surgery.tracing import example_input

FLOAT = 32.0


@dataclass(frozen=True)
class Form:
    """One layer.

    Attributes:
        layer: its path, as in reports.
        kind: the class of the module that holds its weight, or computes with it.
        width: units that it gives: output channels, neurons.
        parameters, nonzero: elements of its weight, in the training form.
        bits: of an element of its weight. activation_bits: of what it reads.
        flops: of its products for one input; None where they cannot be told from those of others.
    """

    layer: str
    kind: str
    width: int
    parameters: int
    nonzero: int
    bits: float = FLOAT
    activation_bits: float = FLOAT
    flops: int | None = None


def forms_of(network: Network) -> tuple[Form, ...]:
    """Every layer with a weight that the network multiplies with, in its order.

    Raises:
        Refusal: RCP0731: the network's products cannot be observed.
    """
    products = products_of(network)
    flops, reading = _flops(network, products), _read_bits(network)
    return tuple(
        Form(
            product.name.removesuffix(".weight"),
            type(network.module.get_submodule(product.path)).__name__,
            _width(product),
            product.elements,
            product.elements - product.zeros,
            min((_bits(one) for one in network.restrictions.get(product.name, ())), default=FLOAT),
            reading.get(product.name, FLOAT),
            flops.get(product.name),
        )
        for product in products
    )


def _width(product: Product) -> int:
    """Of a transposed convolution the parameter holds the outputs of one group."""
    groups = product.groups if product.kind == "transposed convolution" else 1
    return int(product.shape[min(product.outputs, len(product.shape) - 1)] * groups)


def _bits(one: Restriction) -> float:
    """How many bits an element takes under a restriction."""
    return float(getattr(one, "bits", FLOAT))


def _flops(network: Network, products: tuple[Product, ...]) -> Mapping[str, int]:
    places = {p.name: memory_of(network.module.get_parameter(p.name)) for p in products if p.parameter}
    try:
        found = count(network.module, example_input(network, 1), weights=set(places.values())).of
    except Refusal:  # its operations cannot be counted; `flops` says why where it is asked for
        return {}
    return {name: round(found[place]) for name, place in places.items() if found[place]}


def _read_bits(network: Network) -> Mapping[str, float]:
    """Parameter → bits of the activation that it is multiplied with, where that is not in floating point."""
    if not any(not place.endswith("weight") for place in computing(network.restrictions)):
        return {}
    calls = calls_of(network.module, example_input(network))
    origin, found = moved(calls), dict[str, float]()
    for place, call in calls.items():
        if call.function in PRODUCTS | {ATTENTION} and call.reads:
            read = call.reads[0]
            for where in (place + READ, read, origin.get(read, read)):
                if each := computing(network.restrictions).get(where):
                    found |= {name: min(map(_bits, each)) for name in call.parameters}
                    break
    return found
