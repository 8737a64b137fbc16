"""Whether what executes an ONNX program gives the network's answers: asked before anything is timed or written."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from recipelang.errors import Refusal
from recipelang.runtimes.layers import VERIFIED_IMAGES
from recipelang.runtimes.onnx_integers import rounds
from recipelang.runtimes.onnx_reading import reading
from recipelang.surgery.deployed import deployed
from recipelang.surgery.network import Network
from recipelang.surgery.tracing import example_input, first_line, placed

#: Inputs B×…, float32 on the CPU → the network's answer.
Call: TypeAlias = Callable[[Tensor], Any]
#: How far answers in float32 may be from torch's, as a part of their norm: other libraries sum in other orders.
TOLERANCE = 1e-3
#: How far a quantized program may be from the simulated network, as a part of the distance that quantizing has made:
#: the graph as it is written, and as a runtime optimises it. A number in the middle between two integers is rounded
#: to one here and to the other there, and the layers that follow multiply such differences: at most two results that
#: are equally far from float32, in different directions.
AS_WRITTEN, OPTIMISED = 0.75, 1.5
#: What takes the place of `AS_WRITTEN` where the order of sums alone moves the simulation further, but never that of
#: `OPTIMISED`: a program that is as near to the simulation with sums in float64 as the simulation in float32 is, is at
#: most twice as far from the latter, since a way by a third point is never shorter.
BY_SUMS = 2.0
#: The distance that is assumed where it cannot be computed, below that of an answer of zeros, which is 1.
OVERFLOWED = 0.5


def verify(
    network: Network,
    runtime: str,
    optimised: Call,
    batches: Sequence[int],
    as_written: Callable[[], Call] | None = None,
) -> None:
    """Compare a program with the deployed form, in which quantization is simulated.

    Args:
        network: is not changed.
        runtime: its name, for messages.
        optimised: the program as it will be executed.
        batches: sizes of calls, in turn, until at least `VERIFIED_IMAGES` images were compared.
        as_written: makes the program without optimisations, where the runtime can do without; asked for only where
            there are grids or codebooks, whose numbers are then compared more closely.

    Raises:
        Refusal: RCP1028: the answers differ; RCP1029: the runtime raises.
    """
    sizes = _sizes(batches)
    calls = example_input(network, sum(sizes)).cpu().split(sizes)
    simulated = flat_answers(deployed(network), calls)
    if not rounds(network):
        require_same(runtime, optimised, simulated, calls, TOLERANCE)
        return
    masks = {place: tuple(one for one in each if not one.computes) for place, each in network.restrictions.items()}
    apart = distance(simulated, flat_answers(deployed(replace(network, restrictions=masks)), calls))
    if not math.isfinite(apart):  # in float32 the answers overflow, which the ends of grids prevent
        apart = OVERFLOWED
    as_read = reading(network)  # a runtime may round what weights in groups are multiplied with, and need not
    off = TOLERANCE + (distance(flat_answers(as_read, calls), simulated) if as_read else 0.0)
    if as_written is not None:
        found, allowed = _answers(runtime, as_written(), calls), AS_WRITTEN * apart
        if not distance(found, simulated) <= allowed + off:  # in deep networks ties may have multiplied like this
            moved = BY_SUMS * _moved_by_sums(network, simulated, calls)
            allowed = max(allowed, min(moved, OPTIMISED * apart))
        _require_near(runtime, found, simulated, allowed + off)
    require_same(runtime, optimised, simulated, calls, OPTIMISED * apart + off)


def _moved_by_sums(network: Network, simulated: Tensor, calls: Sequence[Tensor]) -> float:
    """How far the simulated network is from itself with sums in float64; 0 where its code does not compute in it."""
    module = deployed(network).double()
    try:
        other = flat_answers(lambda inputs: module(placed(inputs, "cpu", torch.float64)), calls)
    except Exception:  # networks are anyone's code; this one has run in float32, so float32 is written in it
        return 0.0
    moved = distance(simulated, other)
    return moved if math.isfinite(moved) else 0.0


def _sizes(batches: Sequence[int]) -> list[int]:
    """Sizes of whole calls that compare enough images."""
    sizes = list(batches)
    while sum(sizes) < VERIFIED_IMAGES:
        sizes.append(batches[len(sizes) % len(batches)])
    return sizes


def cannot_execute(runtime: str, error: Exception) -> Refusal:
    """The refusal of a program that a runtime does not take."""
    return Refusal(
        "RCP1029",
        f"{runtime} cannot execute the network: {type(error).__name__}: {first_line(error)}",
        f"leave `runtime={runtime}` out, or `pip install --upgrade {runtime}`",
    )


def flat_answers(module: Call, calls: Sequence[Tensor]) -> Tensor:
    """All answers as one row of float64."""
    with torch.no_grad():
        return torch.cat([module(inputs).detach().cpu().double().flatten() for inputs in calls])


def require_same(runtime: str, call: Call, expected: Tensor, calls: Sequence[Tensor], allowed: float) -> None:
    """Refuse a program whose answers are not those of the network.

    Args:
        runtime: its name, for messages.
        call: is called on each of `calls`.
        expected: the network's answers, as of `flat_answers`.
        allowed: the largest distance of all answers together, relative to the norm of the network's.

    Raises:
        Refusal: RCP1028: they differ; RCP1029: the runtime raises.
    """
    _require_near(runtime, _answers(runtime, call, calls), expected, allowed)


def _answers(runtime: str, call: Call, calls: Sequence[Tensor]) -> Tensor:
    """What a runtime answers, as of `flat_answers`."""
    try:
        return flat_answers(call, calls)
    except Refusal:
        raise
    except Exception as error:  # runtimes raise classes of their own; the network itself has just run on these inputs
        raise cannot_execute(runtime, error) from error


def _require_near(runtime: str, found: Tensor, expected: Tensor, allowed: float) -> None:
    """Refuse answers that are too far from those of the network."""
    off = distance(found, expected)
    if not off <= allowed:
        raise Refusal(
            "RCP1028",
            f"{runtime}'s answers are {off:.1e} from the network's, and {allowed:.1e} is allowed",
            f"leave `runtime={runtime}` out, and please report it",
        )


def distance(answer: Tensor, expected: Tensor) -> float:
    """Norm of the difference divided by the norm of the expected answer; NaN where either contains NaN."""
    size = expected.norm().clamp_min(torch.finfo(torch.float32).tiny)
    return float((answer - expected).norm() / size)
