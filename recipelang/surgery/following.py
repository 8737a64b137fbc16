"""What follows the product with a weight before anything else reads its outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recipelang.surgery.places import PRODUCTS, readers_of

RELUS = {"relu", "relu_"}


@dataclass(frozen=True)
class Following:
    """What is computed from the outputs of a weight before anything else reads them.

    Attributes:
        bias: name of the parameter that is added; "" where there is none.
        norm: path of the BatchNorm that alone reads the sum; "" where there is none.
        relu: whether a ReLU follows.
    """

    bias: str = ""
    norm: str = ""
    relu: bool = False


def following(calls: Mapping[str, Any], name: str) -> Following:
    """What follows the only product with a weight, found by what reads what.

    Args:
        calls: of `places.calls_of`.
        name: of the weight.
    """
    using = [place for place, call in calls.items() if call.function in PRODUCTS and name in call.parameters]
    if len(using) != 1 or calls[using[0]].parameters[0] != name:
        return Following()
    readers, bias = readers_of(calls), "".join(calls[using[0]].parameters[1:2])
    place, norm = using[0], ""
    if (after := _sole(calls, readers, place)) and calls[after].function == "batch_norm":
        place, norm = after, calls[after].path
    after = _sole(calls, readers, place)
    return Following(bias, norm, bool(after) and calls[after].function in RELUS)


def _sole(calls: Mapping[str, Any], readers: Mapping[str, Sequence[str]], place: str) -> str:
    found = set(readers[place])
    return found.pop() if len(found) == 1 else ""
