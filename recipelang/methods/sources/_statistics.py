"""What sources share that make images from the statistics of BatchNorm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from recipelang.errors import Refusal
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

DATA = "write `on train(samples=512)`"


def require_statistics(name: str, network: Any) -> None:
    """Refuse a network without statistics, or one whose inputs cannot be moved by a gradient.

    Raises:
        Refusal: RCP1439.
    """
    if network.inputs.whole:
        message = f"`{name}` makes floating-point inputs, and those of the network are {network.inputs}"
        raise Refusal("RCP1439", message, DATA)
    if not norms(network.module):
        message = (
            f"`{name}` makes images from the statistics of BatchNorm, and the network has no BatchNorm that keeps "
        )
        raise Refusal("RCP1439", f"{message}them", DATA)


def norms(module: Any) -> list[Any]:
    """The BatchNorm layers that keep statistics."""
    kinds = torch.nn.modules.batchnorm._BatchNorm
    return [part for part in module.modules() if isinstance(part, kinds) and part.running_mean is not None]


def run_watched(name: str, module: Any, images: Tensor, see: Callable[[Any, Tensor], None]) -> Any:
    """The answer of a network; `see` is told of each BatchNorm that runs, and what enters it.

    Raises:
        Refusal: RCP1439: none runs.
    """
    seen: list[Any] = []

    def before(norm: Any, inputs: Any) -> None:
        seen.append(norm)
        see(norm, inputs[0])

    with ExitStack() as stack:
        for norm in norms(module):
            stack.callback(norm.register_forward_pre_hook(before).remove)
        answer = module(images)
    if not seen:
        message = f"`{name}` makes images from the statistics of BatchNorm, and no BatchNorm of the network runs"
        raise Refusal("RCP1439", message, DATA)
    return answer


def finite(name: str, distance: Tensor) -> Tensor:
    """The distance itself.

    Raises:
        Refusal: RCP1010: it is not a finite number.
    """
    if not bool(torch.isfinite(distance)):
        raise Refusal(
            "RCP1010",
            "the distance of an image to the statistics of BatchNorm is NaN or infinite",
            f"the network's statistics are damaged, or `lr` of `{name}` is too large",
        )
    return distance


@contextmanager
def without_gradients(module: Any) -> Iterator[None]:
    """Within the block no gradients of parameters are computed."""
    wanted = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in wanted:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)
