"""Re-estimating BatchNorm statistics, which surgery has shifted, without training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.images.batches import count, moved
from recipelang.kinds import Dataset, Progress
from recipelang.plan import Samples
from recipelang.surgery.network import Network
from recipelang.surgery.simulated import running
from recipelang.surgery.tracing import hooked
from recipelang.training.machine import to_device
from recipelang.training.smoke import few


@dataclass
class _Moments:
    """Sums over all batches so far, float64: the number of elements per channel, and x and x² for each channel."""

    count: int = 0
    first: Tensor | float = 0.0
    second: Tensor | float = 0.0


def recalibrate(
    network: Network,
    data: Dataset,
    samples: Samples,
    *,
    seed: int,
    progress: Progress,
    device: str = "cpu",
    smoke: bool = False,
) -> Network:
    """A copy of the network whose BatchNorm layers hold the mean and variance of their inputs on this data.

    One pass: every layer normalises with its batch's statistics as in training, dropout is off, images are not
    augmented. Mean and variance are those of all images together, not a moving average
    (Wu and Johnson 2021, Rethinking "Batch" in BatchNorm, section 3: precise BN).

    Args:
        samples: the split and the maximum number of images, drawn with `seed`.
        smoke: whether a few images are enough.

    Raises:
        Refusal: RCP0813: the network has no BatchNorm that keeps statistics.
    """
    copy = network.clone()
    module = to_device(copy.module.eval(), device)
    norms = averaging_norms(module)
    moments = [_Moments() for _ in norms]
    hooks = [n.register_forward_pre_hook(_observer(m)) for n, m in zip(norms, moments, strict=True)]
    with hooked(hooks):
        _pass(running(replace(copy, module=module)), norms, data, samples, seed, device, progress, smoke)
    for norm, m in zip(norms, moments, strict=True):
        if m.count:  # a layer that the forward pass does not reach keeps its statistics
            _set(norm, m)
    module.cpu().to(memory_format=torch.contiguous_format).train(network.module.training)
    return replace(copy, module=module)


def averaging_norms(module: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """The BatchNorm layers of a network that keep statistics.

    Raises:
        Refusal: RCP0813: there are none.
    """
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    if not norms:
        raise Refusal(
            "RCP0813",
            "the network has no BatchNorm that keeps statistics, so there is nothing to recalibrate",
            "remove the line; `finetune` adapts networks with other norms",
        )
    return norms


def extent(data: Dataset, samples: Samples, smoke: bool = False) -> int:
    """The number of images of the split that are used: the requested number, limited by the size of the split."""
    return min(few(samples.count, smoke) or data.size(samples.split), data.size(samples.split))


def _pass(
    module: nn.Module,
    norms: list[nn.modules.batchnorm._BatchNorm],
    data: Dataset,
    samples: Samples,
    seed: int,
    device: str,
    progress: Progress,
    smoke: bool,
) -> None:
    """One forward pass with every norm in training mode."""
    limit = extent(data, samples, smoke)
    for norm in norms:
        norm.train()
    progress.start("recalibrating", limit)
    with torch.no_grad():
        for inputs, _ in data.batches(samples.split, samples=limit, seed=seed):
            if count(inputs) > 1:  # one image has no statistics where a norm sees no pixels
                module(moved(inputs, device))
            progress.advance(count(inputs))
    progress.stop()


def _observer(moments: _Moments) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def observe(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].double()
        axes = [a for a in range(x.ndim) if a != 1]
        moments.count += x.numel() // x.shape[1]
        moments.first = moments.first + x.sum(axes)
        moments.second = moments.second + x.square().sum(axes)

    return observe


def _set(norm: nn.modules.batchnorm._BatchNorm, moments: _Moments) -> None:
    """Mean and unbiased variance, as BatchNorm keeps them."""
    mean = torch.as_tensor(moments.first) / moments.count
    variance = (torch.as_tensor(moments.second) / moments.count - mean.square()).clamp_min(0)
    if norm.running_mean is not None and norm.running_var is not None:
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance * (moments.count / max(1, moments.count - 1)))
