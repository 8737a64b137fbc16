"""`with tensorrt` of `quantize`: what a statement leaves open becomes what the hardware has, the rest is compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from recipelang.catalogue import settings
from recipelang.errors import Span
from recipelang.kinds import Quantizer
from recipelang.meaning.reader import Reader
from recipelang.syntax import nodes
from recipelang.units import listed

#: the form of a part where a quantizer does not say another
FORMS = {"weights": "symmetric", "activations": "affine"}


def fitted(reader: Reader, quantizer: Any, parts: Sequence[str], bits: int, hardware: Any) -> Any:
    """The quantizer with the settings that the hardware asks for, where the statement leaves them open.

    Notes RCP1408 where the hardware does not have what the statement asks for.

    Args:
        reader: the statement.
        quantizer: of `by`.
        parts: what is quantized.
        bits: of a number; 0 where they are searched for.
        hardware: the profile.
    """
    if why := _numbers(quantizer, hardware):
        _refuse(reader, hardware, why, _span(reader, ""), "write `by minmax` or another quantizer of uniform grids")
    elif bits and bits not in hardware.bits:
        node = reader.argument("to")
        has = listed(map(str, hardware.bits), last="or")
        message = f"computes with {has} bits, not with {bits}"
        _refuse(
            reader, hardware, message, node.span if node is not None else None, f"write `to {hardware.bits[-1]} bits`"
        )
    elif not bits and len(set(hardware.bits).intersection(quantizer.bits)) < 2:
        message = f"computes with {hardware.bits[-1]} bits alone: there are no widths to search for"
        _refuse(reader, hardware, message, None, f"write `to {hardware.bits[-1]} bits`, without `until` and `while`")
    else:
        return _form(reader, _per(reader, quantizer, parts, hardware), parts, hardware)
    return quantizer


def _numbers(quantizer: Any, hardware: Any) -> str:
    """Why the hardware cannot compute with the numbers of a quantizer at all; "" where it may."""
    if type(quantizer).restriction is not Quantizer.restriction:
        return f"computes with uniform grids, and `{quantizer.name}` has numbers of its own"
    if hardware.powers and (quantizer.learns or quantizer.needs == "loss"):
        return f"has scales that are powers of two, and `{quantizer.name}` moves its ranges to any number"
    return ""


def _per(reader: Reader, quantizer: Any, parts: Sequence[str], hardware: Any) -> Any:
    """The quantizer with ranges for what of a weight may have its own."""
    if "weights" not in parts or getattr(quantizer, "per", "channel") in hardware.per:
        return quantizer
    choices = _open(reader, quantizer, "per")
    if able := [per for per in hardware.per if per in choices]:
        return dataclasses.replace(quantizer, per=able[0])
    has = listed((f"each {per}" if per != "tensor" else "a whole weight" for per in hardware.per), last="or")
    message = f"has one range for {has}, not for each {getattr(quantizer, 'per', 'channel')}"
    _refuse(reader, hardware, message, _span(reader, "per"), f"write `per={hardware.per[0]}`, or leave `per` out")
    return quantizer


def _form(reader: Reader, quantizer: Any, parts: Sequence[str], hardware: Any) -> Any:
    """The quantizer with grids of a form that the hardware has, for weights and for activations."""
    given = getattr(quantizer, "form", None)
    able = {"weights": hardware.weights, "activations": hardware.activations}
    wrong = [part for part in parts if (given or FORMS[part]) not in able[part]]
    if not wrong:
        return quantizer
    for form in _open(reader, quantizer, "form"):
        if all(form in able[part] for part in parts):
            return dataclasses.replace(quantizer, form=form)
    has = listed((f"{listed(able[part], last='or')} {part}" for part in wrong), last="and")
    message = f"has {has}, and those of `{quantizer.name}` here are {given or FORMS[wrong[0]]}"
    help = f"leave `form={given}` out" if given else "write `by minmax`, or another quantizer with the setting `form`"
    _refuse(reader, hardware, message, _span(reader, "form"), help)
    return quantizer


def _open(reader: Reader, quantizer: Any, name: str) -> tuple[str, ...]:
    """The choices of a setting that the statement does not write; () where it does, or where there is none."""
    found = next((one for one in settings(type(quantizer)) if one.name == name), None)
    return found.choices if found is not None and _argument(reader, name) is None else ()


def _argument(reader: Reader, name: str) -> Any | None:
    by = reader.argument("by")
    given = by.arguments if isinstance(by, nodes.Call) else ()
    return next((one for one in given if one.name is not None and one.name.text == name), None)


def _span(reader: Reader, name: str) -> Span | None:
    """Of a setting of the quantizer, or of the quantizer."""
    found = _argument(reader, name)
    by = reader.argument("by")
    return found.value.span if found is not None else by.span if by is not None else None


def _refuse(reader: Reader, hardware: Any, why: str, span: Span | None, help: str) -> None:
    reader.refuse("RCP1408", f"`{hardware.name}` ({hardware.executes}) {why}", span, help)
