"""Parity: the edited network computes what the same network computes with the removed parts neutralised.

Both run in evaluation mode and float32 on the same example. They are compared after every remaining layer and
at the output: a new network whose head is zero returns zeros no matter what was removed from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.surgery.tracing import evaluating, first_line, hooked
from recipelang.surgery.wiring import main_tensor

#: largest difference, relative to the largest magnitude of the activation
TOLERANCE = 1e-4
OUTPUT = "the output"


def observe(module: nn.Module, points: Iterable[str], run: Callable[[], Any]) -> dict[str, Tensor]:
    """The outputs of the modules at `points` and of the network while `run()` runs it in evaluation mode.

    Of an output of several tensors, the first.
    """
    seen: dict[str, Tensor] = {}

    def keep(path: str) -> Callable[[nn.Module, Any, Any], None]:
        def after(part: nn.Module, args: Any, output: Any) -> None:
            if (main := main_tensor(output)) is not None:
                seen[path] = main.detach().clone()  # later layers may work in place

        return after

    with hooked(module.get_submodule(path).register_forward_hook(keep(path)) for path in points), evaluating(module):
        if (answer := main_tensor(run())) is not None:
            seen[OUTPUT] = answer.detach()
    return seen


def run_bypassing(module: nn.Module, paths: Iterable[str], example: Tensor) -> Any:
    """Run the network; each of these modules runs too, but its output is replaced with its input."""
    with _bypassed(module, paths):
        return module(example)


@contextmanager
def _bypassed(module: nn.Module, paths: Iterable[str]) -> Iterator[None]:
    inputs: dict[nn.Module, Tensor] = {}

    def before(part: nn.Module, args: tuple[Tensor]) -> None:
        inputs[part] = args[0].clone()  # an activation may work in place

    def after(part: nn.Module, args: tuple[Tensor], output: Tensor) -> Tensor:
        return inputs.pop(part)

    parts = [module.get_submodule(path) for path in paths]
    ins = [part.register_forward_pre_hook(before) for part in parts]
    outs = [part.register_forward_hook(after) for part in parts]
    with hooked((*ins, *outs)):
        yield


def require_parity(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], what: str) -> None:
    """Refuse unless both runs gave the same activations.

    Args:
        expected: the neutralised network's activations by point.
        found: the edited network's.
        what: the edit, for the message: "removing `layer1.0`".

    Raises:
        Refusal: RCP0702: where they first differ and by how much.
    """
    if how := unlike(expected, found):
        raise _different(what, how)


def unlike(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """Where two runs first differ, and by how much; empty where they agree."""
    for point, reference in expected.items():
        value = found.get(point)
        if value is None or value.shape != reference.shape:
            shape = "nothing" if value is None else f"shape {tuple(value.shape)}"
            return f"{point} gives {shape} instead of shape {tuple(reference.shape)}"
        difference = relative_difference(value, reference)
        if not difference <= TOLERANCE:  # also where it is NaN
            return f"{point} differs by {difference:.1e} of its largest magnitude"
    return ""


def relative_difference(value: Tensor, reference: Tensor) -> float:
    """Largest absolute difference divided by the reference's largest magnitude; NaN where either contains NaN."""
    if torch.equal(value, reference) or not reference.numel():
        return 0.0
    difference = (value.float() - reference.float()).abs().max()
    return float(difference / reference.float().abs().max().clamp_min(torch.finfo(torch.float32).tiny))


def answers_in(answer: Any) -> list[Tensor]:
    """The tensors of an output: itself, or those of a tuple, list, mapping or dataclass, in their order."""
    if isinstance(answer, Tensor):
        return [answer]
    values = answer.values() if isinstance(answer, Mapping) else answer if isinstance(answer, list | tuple) else ()
    return [tensor for value in values for tensor in answers_in(value)]


def largest_difference(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """The largest difference of two outputs relative to the largest magnitude; infinite where shapes differ, or where
    one has NaN."""
    worst = 0.0
    if [one.shape for one in found] != [other.shape for other in expected]:
        return math.inf
    for one, other in zip(found, expected, strict=True):
        if not one.numel() or torch.equal(one, other):
            continue
        ratio = float((one.double() - other.double()).abs().max() / other.double().abs().max().clamp_min(1e-30))
        worst = max(worst, ratio) if math.isfinite(ratio) else math.inf
    return worst


def cannot_run(what: str, error: Exception) -> Refusal:
    """The refusal for an edit after which the network raises."""
    return _different(what, stopped(error))


def stopped(error: Exception) -> str:
    """A message saying that a network raises."""
    return f"it no longer runs: {type(error).__name__}: {first_line(error)}"


def _different(what: str, how: str) -> Refusal:
    return Refusal(
        "RCP0702",
        f"{what} changes more of the network than that: {how}",
        "exclude this layer with `except`; `recipe layers MODEL` lists those that can be removed",
    )
