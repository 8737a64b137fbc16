"""The weights of a network that hold few values, as an encoder stores them in an artifact.

model.safetensors holds `NAME.codes` (and `NAME.gaps`, `NAME.levels`) in place of `NAME`; restrictions.safetensors holds
no assignment of shared values, and no mask that the zeros of the weight say as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy
import torch
from torch import Tensor, nn

from recipelang import catalogue
from recipelang.errors import Refusal
from recipelang.kinds import Encoder, Restriction
from recipelang.surgery.coding import KINDS, Codes, Encoded, codes_of, decode, encode, like, weight_of
from recipelang.surgery.entries import Wrong, entry, mapping, text, whole
from recipelang.surgery.network import Network, tensor_name
from recipelang.surgery.restricting import is_parameter, read
from recipelang.surgery.restrictions.codebook import Codebook
from recipelang.surgery.restrictions.shared import MOST, Shared
from recipelang.surgery.sparse import WIDTHS

CODES, GAPS, LEVELS = ".codes", ".gaps", ".levels"
Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Stored:
    """How the weights of a saved network are encoded.

    Attributes:
        by: the encoder's name.
        widths: parameter name → bits of its gaps; 0 where it is stored densely.
    """

    by: str
    widths: Mapping[str, int]

    def json(self) -> dict[str, Any]:
        """`{"by": "huffman", "widths": {"fc.weight": 5}}`."""
        return {"by": self.by, "widths": dict(self.widths)}

    @staticmethod
    def read(value: Any) -> Stored | None:
        """What `json` made; None where nothing is encoded.

        Raises:
            Wrong: it describes nothing.
        """
        if value is None:
            return None
        told = mapping(value, "`encoded`")
        widths = mapping(entry(told, "widths"), "`widths` of `encoded`")
        found = {name: 0 if bits == 0 else whole(bits, "a gap", WIDTHS[-1]) for name, bits in widths.items()}
        return Stored(text(entry(told, "by"), "`by` of `encoded`"), found)


def encoder_named(name: str) -> Encoder:
    """The encoder of this name.

    Raises:
        Refusal: RCP0746: there is none here.
    """
    found: Any = catalogue.find("encoder", name)
    if found is None:
        raise Refusal(
            "RCP0746",
            f"the network was encoded by `{name}`, which is not known here",
            f"install the package that adds it; the encoders here are {', '.join(catalogue.names('encoder'))}",
        )
    encoder: Encoder = found()
    return encoder


@torch.no_grad()
def coded(network: Network) -> dict[str, Codes]:
    """Parameter name → its numbers, for every float32 weight that holds few values."""
    found = {}
    for name, each in network.restrictions.items():
        weight = network.module.get_parameter(name) if is_parameter(name) else None
        if weight is not None and weight.dtype == torch.float32 and (codes := codes_of(weight, each)) is not None:
            found[name] = codes
    return found


@torch.no_grad()
def settled(network: Network) -> Network:
    """A copy whose weights are exactly what their numbers stand for: quantized weights lose what was finer in them."""
    copied, restrictions = network.clone(), {}
    for name, codes in coded(network).items():
        weight, one = copied.module.get_parameter(name), _told_by(network, name, codes.kind)
        weight.copy_(_exact(codes, weight, one))
        if isinstance(one, Codebook) and one.edges is not None:
            restrictions[name] = replace(one, edges=None)  # a level need not be between its own edges
    return copied.restricted(restrictions)


def _told_by(network: Network, name: str, kind: str) -> Any:
    return next(one for one in network.restrictions[name] if one.kind == kind)


def _exact(codes: Codes, weight: Tensor, one: Any) -> Tensor:
    """The weight that its numbers stand for."""
    return one.apply(weight.detach()) if isinstance(one, Shared) else weight_of(codes, weight.shape, one)


# writing --------------------------------------------------------------------------------------


@torch.no_grad()
def packed(network: Network) -> tuple[Tensors, Tensors, Stored]:
    """The state of an encoded network, the tensors of its restrictions, and how they are stored."""
    encoder = encoder_named(network.encoded)
    state, restricting = dict(network.module.state_dict()), network.restricting()
    widths = {}
    for name, codes in coded(network).items():
        weight, one = state[name].cpu(), _told_by(network, name, codes.kind)
        if not torch.equal(weight, _exact(codes, weight, one)):
            continue  # it was changed afterwards
        made = encode(codes, encoder)
        widths[name] = made.width
        del state[name]
        state |= {f"{name}.{what}": _tensor(data) for what, data in made.streams.items()}
        if isinstance(one, Shared):
            state[name + LEVELS] = one.levels(weight).float()
            del restricting[tensor_name(name, "shared", "codes")]
        mask = tensor_name(name, "mask", "keep")
        if mask in restricting and torch.equal(restricting[mask].cpu().flatten(), codes.kept):
            del restricting[mask]
    return state, restricting, Stored(network.encoded, widths)


def _tensor(data: bytes) -> Tensor:
    return torch.from_numpy(numpy.frombuffer(data, numpy.uint8).copy())


# reading --------------------------------------------------------------------------------------


def unpacked(
    module: nn.Module, stored: Stored, told: Mapping[str, list[dict[str, Any]]], state: Tensors, restricting: Tensors
) -> tuple[Tensors, Tensors]:
    """The inverse of `packed`: exact.

    Args:
        module: the network's, whatever its weights.
        stored: how they are encoded.
        told: place → the entries of its restrictions.
        state, restricting: the tensors of the files, which may come from anyone.

    Raises:
        ValueError, KeyError: they do not belong together.
        Refusal: RCP0746: the encoder, or a restriction, is not known here.
    """
    encoder, shapes = encoder_named(stored.by), {name: p.shape for name, p in module.named_parameters()}
    state, restricting = dict(state), dict(restricting)
    for name, width in stored.widths.items():
        if name not in shapes:
            raise Wrong(f"`{name[:60]}` is encoded, and the network has no such weight")
        kinds = {one["kind"]: one for one in told.get(name, ())}
        kind = next((kind for kind in KINDS if kind in kinds), None)
        if kind is None:
            raise Wrong(f"`{name}` is encoded, and nothing says what its codes stand for")
        parts = {"codes": CODES, "gaps": GAPS} if width else {"codes": CODES}
        encoded = Encoded(width, {part: _bytes(state.pop(name + end)) for part, end in parts.items()})
        one = _restriction(name, kinds[kind], shapes[name], restricting)
        codes = decode(encoded, encoder, like(one, shapes[name].numel()))
        if isinstance(one, Shared):
            numbers = torch.where(codes.numbers == one.count, -1, codes.numbers).to(torch.int16).view(shapes[name])
            restricting[tensor_name(name, "shared", "codes")] = numbers
            state[name] = Shared(numbers, one.count).values(_levels(state.pop(name + LEVELS), one.count))
        else:
            state[name] = weight_of(codes, shapes[name], one)
        mask = tensor_name(name, "mask", "keep")
        if "mask" in kinds and mask not in restricting:
            restricting[mask] = codes.kept.view(shapes[name])
    return state, restricting


def _restriction(name: str, told: dict[str, Any], shape: torch.Size, restricting: Tensors) -> Any:
    """What the numbers of a weight stand for: of shared values only how many they are."""
    if told["kind"] == "shared":
        return Shared(torch.empty(0, dtype=torch.int16), whole(entry(told, "count"), "`count`", MOST))
    prefix = tensor_name(name, told["kind"], "")
    own = {key.removeprefix(prefix): tensor for key, tensor in restricting.items() if key.startswith(prefix)}
    one: Restriction = read(name, told, own)
    if why := one.why_not(torch.empty(shape)):
        raise Wrong(f"the {one.kind} of `{name}` {why}")
    return one


def _levels(levels: Tensor, count: int) -> Tensor:
    if levels.dtype != torch.float32 or levels.shape != (count,):
        raise Wrong(f"the levels of shared values are not {count} float32 numbers")
    return levels


def _bytes(tensor: Tensor) -> bytes:
    if tensor.dtype != torch.uint8:
        raise Wrong("encoded numbers are not bytes")
    data: bytes = tensor.numpy().tobytes()
    return data
