"""What a layer returns in terms of its arguments: one tensor, a tuple with a state, a keyword argument.

A removed layer leaves a stand-in that answers its callers as the layer would without its branch. What it returns is
described as JSON, so that it can be written into the edit log:

{"argument": 0}          the first argument; {"argument": "x"} that keyword argument; {"argument": [1, 0]} the first
                         item of the second
{"zeros_like": 0}        zeros of that argument's shape
{"constant": null}       None, a number, a string
{"tuple": […]}, {"list": […]}, {"dict": {…}}     several of them
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

#: the place of a tensor among arguments: a position or a keyword, or a list of them for a nested one
Place = int | str | list[Any]
Wires = Mapping[str, Any]

IDENTITY = "identity"
ZERO = "zero"


class StandIn(nn.Module):
    """Replaces a removed layer: accepts the layer's arguments, and returns what `wires` describes.

    Args:
        wires: what it returns, see above.
        layer: the removed layer. `nn.TransformerEncoder` and `nn.TransformerDecoder` ask their first layer whether
            it is `batch_first`, so that attribute is kept.
    """

    def __init__(self, wires: Wires, layer: nn.Module) -> None:
        super().__init__()
        self.wires = wires
        if isinstance(layer, nn.TransformerEncoderLayer | nn.TransformerDecoderLayer):
            attention: Any = getattr(layer, "self_attn", None)
            self.self_attn = _Attention(getattr(attention, "batch_first", False))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the layer returns without its branch."""
        return answer(self.wires, args, kwargs)

    def extra_repr(self) -> str:
        """The wires, for `print(module)`."""
        return json.dumps(self.wires)


class _Attention:
    """The remaining attribute of a removed layer's attention."""

    def __init__(self, batch_first: bool) -> None:
        self.batch_first = batch_first


def tensors_in(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[tuple[Place, Tensor]]:
    """Every tensor among arguments and inside tuples, lists and dictionaries there, with its place."""
    return [(place, value) for place, value in values_in(args, kwargs) if isinstance(value, Tensor)]


def values_in(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[tuple[Place, Any]]:
    """Everything among arguments and inside tuples, lists and dictionaries there, with its place."""
    found: list[tuple[Place, Any]] = []

    def look(value: Any, place: list[Any]) -> None:
        if isinstance(value, list | tuple):
            for k, item in enumerate(value):
                look(item, [*place, k])
        elif isinstance(value, dict):
            for key, item in value.items():
                if isinstance(key, str):
                    look(item, [*place, key])
        else:
            found.append((place[0] if len(place) == 1 else place, value))

    for key, value in [*enumerate(args), *kwargs.items()]:
        look(value, [key])
    return found


def at(place: Place, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The value at a place among arguments."""
    first, *rest = place if isinstance(place, list) else [place]
    value: Any = args[first] if isinstance(first, int) else kwargs[first]
    for key in rest:
        value = value[key]
    return value


def main_tensor(output: Any) -> Tensor | None:
    """The first tensor of a module's output; None where there is none."""
    if isinstance(output, Tensor):
        return output
    items = output.values() if isinstance(output, Mapping) else output if isinstance(output, list | tuple) else ()
    return next((tensor for item in items if (tensor := main_tensor(item)) is not None), None)


def main_place(wires: Wires) -> Place | None:
    """The place of the argument that the first tensor of the answer is, or has the shape of."""
    for kind, value in wires.items():
        if kind in ("argument", "zeros_like"):
            return value
        items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        for item in items:
            if (place := main_place(item)) is not None:
                return place
    return None


def trace_wires(output: Any, given: list[tuple[Place, Any]]) -> tuple[str, Wires | None] | None:
    """How an output derives from the arguments, determined by comparing values.

    Args:
        output: of a layer whose branch is neutralised.
        given: `values_in` its arguments; its tensors should all differ.

    Returns:
        `identity` where the first tensor is one of those given, `zero` where it is zeros of the shape of one; None
        where it is neither. With it the wires; None where the output holds what a stand-in cannot return: an object
        of a custom class, or a number that the layer computes, which may differ for another batch. A further tensor
        that is neither becomes None: callers often drop it, and the trial shows whether they do.
    """
    main = main_tensor(output)
    tensors = [(place, value) for place, value in given if isinstance(value, Tensor)]
    first = _tensor_wires(main, tensors) if main is not None else {}
    if not first or "constant" in first:
        return None
    return (IDENTITY if "argument" in first else ZERO), _wires(output, tensors, given)


def _wires(output: Any, tensors: list[tuple[Place, Tensor]], given: list[tuple[Place, Any]]) -> Wires | None:
    if isinstance(output, Tensor):
        return _tensor_wires(output, tensors)
    if output is None or isinstance(output, bool | str) or (isinstance(output, int | float) and output == 0):
        return {"constant": output}
    if isinstance(output, int | float):
        same = [place for place, value in given if type(value) is type(output) and value == output]
        return {"argument": same[0]} if same else None
    if type(output) in (tuple, list):
        items = [_wires(item, tensors, given) for item in output]
        return None if None in items else {type(output).__name__: items}
    if type(output) is dict and all(isinstance(key, str) for key in output):
        found = {key: _wires(item, tensors, given) for key, item in output.items()}
        return None if None in found.values() else {"dict": found}
    return None


def _tensor_wires(output: Tensor, given: list[tuple[Place, Tensor]]) -> Wires:
    like = [(place, t) for place, t in given if t.shape == output.shape and t.dtype == output.dtype]
    if bool(output.any()):
        same = [place for place, t in like if torch.equal(t, output)]
        return {"argument": same[0]} if same else {"constant": None}
    # From zeros the module may compute zeros in any case.
    moving = [place for place, t in like if bool(t.any())]
    return {"zeros_like": moving[0]} if moving else {"constant": None}


def answer(wires: Wires, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The output for these arguments."""
    ((kind, value),) = wires.items()
    if kind == "argument":
        return at(value, args, kwargs)
    if kind == "zeros_like":
        return torch.zeros_like(at(value, args, kwargs))
    if kind == "dict":
        return {key: answer(item, args, kwargs) for key, item in value.items()}
    if kind in ("tuple", "list"):
        items = [answer(item, args, kwargs) for item in value]
        return tuple(items) if kind == "tuple" else items
    return value


def are_wires(value: Any) -> bool:
    """Whether a JSON value has the form above."""
    if not isinstance(value, dict) or len(value) != 1:
        return False
    ((kind, inner),) = value.items()
    if kind in ("argument", "zeros_like"):
        places = inner if isinstance(inner, list) else [inner]
        return bool(places) and all(type(place) in (int, str) for place in places)
    if kind in ("tuple", "list"):
        return isinstance(inner, list) and all(are_wires(item) for item in inner)
    if kind == "dict":
        return isinstance(inner, dict) and all(are_wires(item) for item in inner.values())
    return kind == "constant" and (inner is None or isinstance(inner, bool | int | float | str))
