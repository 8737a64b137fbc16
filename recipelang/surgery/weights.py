"""Loading weights into a network, completely or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.surgery.naming import COUNTER, tied

SHOWN = 3
#: types in which weights of a float32 network may be stored
FLOATS = {torch.float32, torch.float64, torch.float16, torch.bfloat16}


def digest(tensors: Mapping[str, Tensor], of: str = "") -> str:
    """SHA-256, in hex, of names, types, shapes and bytes, preceded by the string `of`."""
    whole = hashlib.sha256(of.encode())
    for name, tensor in sorted(tensors.items()):
        plain = tensor.detach().cpu().contiguous()
        whole.update(f"{name} {plain.dtype} {tuple(plain.shape)}".encode())
        flat = plain.as_strided((plain.numel(),), (1,))  # a dimension of one element may have any stride
        whole.update(flat.view(torch.uint8).numpy().data)
    return whole.hexdigest()


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], what: str) -> None:
    """Load every weight into the module, in place.

    Args:
        module: of the same architecture; unchanged where the weights do not fit.
        weights: by the names of `module.state_dict()`.
        what: where they come from, for the message.

    Raises:
        Refusal: RCP0707: names are missing or superfluous, or shapes differ; the first few are listed.
    """
    own = {name: tensor for name, tensor in module.state_dict().items() if isinstance(tensor, Tensor)}
    # BatchNorm of old torch versions had no counter, and evaluation does not use it.
    groups = [names for names in tied(own) if not names[0].endswith(COUNTER)]
    missing = [f"`{names[0]}` {_shape(own[names[0]])}" for names in groups if not weights.keys() & names]
    extra = [f"`{name}` {_shape(weights[name])}" for name in weights if name not in own]
    other = [
        f"`{name}` is {_shape(weights[name])} and should be {_shape(own[name])}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    kinds = [
        f"{label} {few(lines)}"
        for label, lines in (("missing:", missing), ("not in the network:", extra), ("of another shape:", other))
        if lines
    ]
    if kinds:
        raise Refusal(
            "RCP0707",
            f"{what} do not fit the network; {'; '.join(kinds)}",
            "use the weights of this architecture, with this number of classes"
            + ("; `at` selects those under one prefix" if extra and not missing else ""),
        )
    _require_types(weights, own, what)
    given = {name: weights[name].to(own[name].dtype) for name in own if name in weights}
    require_finite(module, given, what)
    module.load_state_dict(given, strict=False)


def _require_types(weights: Mapping[str, Tensor], own: Mapping[str, Tensor], what: str) -> None:
    """Refuse tensors whose values would change when converted to the network's own types."""
    for name, weight in weights.items():
        kind, into = weight.dtype, own[name].dtype
        if weight.is_quantized or weight.layout != torch.strided or weight.is_meta:
            why = "quantised" if weight.is_quantized else "without values" if weight.is_meta else "sparse"
            help = "save the dense weights from before quantising or packing"
        elif kind != into and not _holds(kind, into):
            why, help = _type_name(kind), f"save it as {_type_name(into)}: `tensor.to(torch.{_type_name(into)})`"
            if kind.is_floating_point:
                help = "8-bit floats are incomplete without their scales; save the dense weights"
        else:
            continue
        raise Refusal("RCP0707", f"{what} do not fit the network: `{name}` is {why}, not {_type_name(into)}", help)


def _holds(kind: torch.dtype, into: torch.dtype) -> bool:
    """Whether values of one type keep their meaning in another: 16-bit floats in float32, integers in wider ones."""
    if into.is_floating_point or into.is_complex:
        return kind in FLOATS
    return not (kind.is_floating_point or kind.is_complex) and torch.promote_types(kind, into) == into


def _type_name(kind: torch.dtype) -> str:
    return str(kind).removeprefix("torch.")


def require_finite(module: nn.Module, weights: Mapping[str, Tensor], what: str) -> None:
    """Refuse weights that hold NaN or infinity.

    Args:
        module: of this architecture. Buffers may hold -inf, as an attention mask does.
        weights: by the names of `module.state_dict()`.
        what: where they come from, for the message.

    Raises:
        Refusal: RCP0707.
    """
    buffers = {name for name, _ in module.named_buffers(remove_duplicate=False)}
    broken = [
        f"`{name}`"
        for name, weight in weights.items()
        if weight.is_floating_point() and not _is_finite(weight, name in buffers)
    ]
    if broken:
        raise Refusal(
            "RCP0707",
            f"{what} hold NaN or infinity: {few(broken)}",
            "train again with a lower learning rate, or use an earlier checkpoint",
        )


def _is_finite(weight: Tensor, may_be_minus: bool) -> bool:
    """Whether all elements are finite, or -inf where these are allowed. A finite sum says so in one pass."""
    if weight.numel() and weight.sum().isfinite():
        return True
    return bool((weight.isfinite() | (weight.isneginf() & may_be_minus)).all())


def _shape(tensor: Tensor) -> str:
    return "×".join(str(n) for n in tensor.shape) or "scalar"


def few(lines: Sequence[str]) -> str:
    """The first few of these in one line, and the number of the others."""
    more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return ", ".join(lines[:SHOWN]) + more
