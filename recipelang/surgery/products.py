"""The weights of a network: what multiplies its activations, found by running it, wherever they are held or computed.

parameter ───────────────▶ product with an activation     the weight is the parameter
parameters ─▶ operations ─▶ product with an activation     the weight is computed from them
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.surgery.network import Network
from recipelang.surgery.operands import unfused
from recipelang.surgery.provenance import LAYERS, Tracker, Use, memory_of
from recipelang.surgery.tracing import evaluating, example_input, first_line, hooked


def is_plain(part: nn.Module, *kinds: type[nn.Module]) -> bool:
    """Whether a module computes exactly what one of torch's layers computes with the parameter `weight`.

    A subclass may compute something else, a parametrization or a hook may recompute the weight for each call, and the
    forward function may have been replaced.
    """
    ways = ("forward", "_conv_forward")
    return (
        any(isinstance(part, k) and all(getattr(type(part), w, 0) is getattr(k, w, 0) for w in ways) for k in kinds)
        and "weight" in part._parameters
        and not part._forward_pre_hooks
        and not part._forward_hooks
        and "forward" not in part.__dict__
    )


@dataclass(frozen=True)
class Product:
    """A weight that multiplies what the network computes from its input.

    Attributes:
        name: of the parameter that it is; for a computed weight, its layer's `weight` or its first parameter.
        path: the module that holds the parameter, or computes with the weight.
        sources: the parameters that it is computed from, or the parameter itself.
        parts: its values as they are used, O×I or O×I×kernel, detached; several where it is used in pieces.
        kind: as in `operands.Side`.
        groups: of a convolution.
        outputs: the axis of the parameter that holds the outputs.
        parameter: whether the weight is a parameter, so that a mask can be applied to it.
        why: why its inputs are not along axis 1 of a parameter, as a mask requires; "" where they are.
    """

    name: str
    path: str
    sources: tuple[str, ...]
    parts: tuple[Tensor, ...]
    kind: str
    groups: int = 1
    outputs: int = 0
    parameter: bool = True
    why: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weight, or of its first part."""
        return tuple(self.parts[0].shape)

    @property
    def value(self) -> Tensor:
        """All of its values, outputs first; one row where its parts cannot be stacked."""
        rows = [part.reshape(len(part), -1) for part in self.parts]
        if len(self.parts) == 1:
            return self.parts[0]
        return (
            torch.cat(rows)
            if len({row.shape[1] for row in rows}) == 1
            else torch.cat([r.flatten() for r in rows])[None]
        )

    @property
    def elements(self) -> int:
        """The number of elements of the weight."""
        return sum(part.numel() for part in self.parts)

    @property
    def zeros(self) -> int:
        """The number of elements that are zero."""
        return sum(part.numel() - int(part.count_nonzero()) for part in self.parts)


def products_of(network: Network) -> tuple[Product, ...]:
    """The weights of a network, in its order. See `find_products`."""
    return find_products(network.module, example_input(network))


def find_products(module: nn.Module, example: Tensor) -> tuple[Product, ...]:
    """Every weight that enters a product when the module runs, in the order of its parameters, each once.

    Products are observed below modules and functions. Not included are weights that take no part in evaluation, fixed
    tensors that are not parameters, and products of parameters with each other, which compute a weight.

    Args:
        module: is not changed, nor are its modes.
        example: B×C×H×W; a copy is used.

    Raises:
        Refusal: RCP0731: the module does not run while its products are observed.
    """
    tracker = Tracker(module, example := example.clone())
    try:
        with hooked(tracker.hooks(module)), evaluating(module), unfused(), tracker:
            module(example)
    except Exception as error:  # the module is the user's and may raise anything
        raise Refusal(
            "RCP0731",
            f"the network's weights cannot be found: while its products are observed it raises "
            f"{type(error).__name__}: {first_line(error)}",
            "remove compiled and custom code from its forward function",
        ) from error
    return tuple(_assembled(tracker, module, len(example)))


def idle_weights(module: nn.Module, products: Iterable[Product]) -> dict[str, tuple[str, Tensor]]:
    """Weights of torch's layers, and of their subclasses, that no product uses: name → (module path, parameter)."""
    used = {name for product in products for name in product.sources}
    found: dict[str, tuple[str, Tensor]] = {}
    for path, part in module.named_modules():
        for leaf, parameter in part.named_parameters(recurse=False) if isinstance(part, LAYERS) else ():
            name = f"{path}.{leaf}".lstrip(".")
            if parameter.ndim >= 2 and name not in used and not _shared(module, parameter, used):
                found[name] = path, parameter
    return found


def _shared(module: nn.Module, parameter: Tensor, used: set[str]) -> bool:
    """Whether the parameter is in use under another name."""
    return any(held is parameter for name, held in module.named_parameters(remove_duplicate=False) if name in used)


def _assembled(tracker: Tracker, module: nn.Module, batch: int) -> list[Product]:
    """All uses of each weight combined, in the order of the parameters."""
    computing = [use for use in tracker.uses if not use.direct and not use.constant]
    inner = {name for use in computing for name in use.sources}
    computing += [use for use in tracker.uses if not use.direct and use.constant and not use.sources & inner]
    parameters = dict(module.named_parameters())
    direct: dict[str, list[Use]] = {}
    for use in tracker.uses:
        # What multiplies a constant on its way into a weight is part of computing that weight.
        if use.direct and not (use.constant and use.direct in inner):
            direct.setdefault(use.direct, []).append(use)
    order = {name: place for place, name in enumerate(parameters)}
    found = [_parameter(name, parameters[name], uses, name in inner) for name, uses in direct.items()]
    found += _computed(computing, module, order, batch)
    found += _of_idle_siblings(module, found, parameters)
    return _distinguished(sorted(found, key=lambda product: min(order[name] for name in product.sources)))


def _of_idle_siblings(module: nn.Module, found: list[Product], parameters: dict[str, nn.Parameter]) -> list[Product]:
    """The weights of layers that this input did not reach, while it reached layers of their kind: other experts."""
    used = {name for product in found for name in product.sources}
    more: list[Product] = []
    for path, part in module.named_modules():
        for idle, busy in _pairs(part, path, used) if isinstance(part, nn.ModuleList | nn.ModuleDict) else ():
            for product in [p for p in found if p.parameter and f"{p.name}.".startswith(f"{busy}.")]:
                name, weight = idle + product.name.removeprefix(busy), idle + product.path.removeprefix(busy)
                value = parameters.get(name)
                if value is not None and value.shape == parameters[product.name].shape:
                    more.append(replace(product, name=name, path=weight, sources=(name,), parts=(value.detach(),)))
    return more


def _pairs(layers: nn.Module, path: str, used: set[str]) -> list[tuple[str, str]]:
    """The paths of the idle children of a list, each with a child of the same class that is in use."""
    children = [(f"{path}.{name}".lstrip("."), child) for name, child in layers.named_children()]
    busy = {type(child): place for place, child in children if any(name.startswith(f"{place}.") for name in used)}
    return [
        (place, busy[type(child)])
        for place, child in children
        if type(child) in busy and not any(name.startswith(f"{place}.") for name in used)
    ]


def _distinguished(products: list[Product]) -> list[Product]:
    """The same products with unique names: parameters keep theirs, others get a number."""
    taken = {product.name for product in products if product.parameter}
    found = []
    for product in products:
        names = (f"{product.name} ({number})" if number > 1 else product.name for number in itertools.count(1))
        name = product.name if product.parameter else next(name for name in names if name not in taken)
        taken.add(name)
        found.append(replace(product, name=name))
    return found


def _parameter(name: str, parameter: Tensor, uses: list[Use], inner: bool) -> Product:
    """A weight that is a parameter."""
    axes = {_axis(use) for use in uses}
    first = uses[0]
    why = ""
    if inner:
        why = "another weight is also computed from it"
    elif len(axes) > 1:
        why = "it is used both as it is and transposed"
    elif axes == {0} and first.kind == "linear":
        why = "its inputs are along its first axis"
    elif axes == {None}:
        why = "it is not one matrix of outputs and inputs"
    path = name.rpartition(".")[0]
    outputs = 1 if axes == {0} and parameter.ndim > 1 else 0
    value = (parameter.detach(),)
    return Product(name, path, (name,), value, first.kind, first.side.groups, outputs, why=why)


def _axis(use: Use) -> int | None:
    """The axis of the parameter that a product sums over; None where it is not exactly one whole axis."""
    used, parameter = use.side.tensor, use.whole
    assert parameter is not None  # of uses that are parameters
    if use.kind in ("convolution", "transposed convolution") and used.shape != parameter.shape:
        return None
    if use.side.inputs in (0, 1):
        return use.side.inputs
    length, stride = used.shape[use.side.inputs], used.stride(use.side.inputs)
    for axis in sorted(range(parameter.ndim), key=lambda axis: axis != 1):
        others = parameter.numel() == parameter.shape[0] * length if axis else parameter.ndim == 2
        if parameter.shape[axis] == length and (length == 1 or parameter.stride(axis) == stride) and others:
            return axis
    return None


def _computed(uses: list[Use], module: nn.Module, order: dict[str, int], batch: int) -> list[Product]:
    """Computed weights, the pieces of each combined; recomputed with the same values they are the same weight."""
    groups: dict[tuple[int, frozenset[str]], dict[tuple[int, int], Use]] = {}
    for use in uses:
        tensor = use.side.tensor
        pieces = groups.setdefault((memory_of(tensor), use.sources), {})
        pieces.setdefault((int(tensor.storage_offset()), tensor.numel()), use)
    found: list[Product] = []
    for (_, sources), pieces in groups.items():
        first = next(iter(pieces.values()))
        names = tuple(sorted(sources, key=order.__getitem__))
        weight = f"{first.path}.weight".lstrip(".")
        name = weight if isinstance(module.get_submodule(first.path), LAYERS) else names[0]
        short = [
            source.removeprefix(f"{first.path}.") for source in names
        ]  # short names are the same for all weights of one kind
        why = f"computed from {' and '.join(f'`{source}`' for source in short[:3])}{' and others' * (len(names) > 3)}"
        known = sum(module.get_parameter(source).numel() for source in names)
        parts = tuple(_once(use, batch, known) for use in pieces.values())
        product = Product(name, first.path, names, parts, first.kind, first.side.groups, 0, parameter=False, why=why)
        if not any(_same(product, other) for other in found):
            found.append(product)
    return found


def _once(use: Use, batch: int, known: int) -> Tensor:
    """A weight without the repetitions of a batched product: one for each image of the example."""
    value = use.value
    if use.kind not in ("linear", "attention"):
        return value
    for axis in range(value.ndim - 2):
        if value.stride(axis) == 0:
            value = value.narrow(axis, 0, 1)
    if value.ndim > 2 and value.numel() > known and len(value) % batch == 0:
        images = value.unflatten(0, (batch, -1))
        value = images[0] if torch.equal(images, images[:1].expand_as(images)) else value
    while value.ndim > 2 and len(value) == 1:
        value = value[0]
    return value


def _same(one: Product, other: Product) -> bool:
    return (
        one.sources == other.sources
        and len(one.parts) == len(other.parts)
        and all(torch.equal(mine, theirs) for mine, theirs in zip(one.parts, other.parts, strict=True))
    )
