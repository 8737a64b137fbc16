"""The first convolution, which sees the channels of an image."""

from __future__ import annotations

import torch
from torch import nn

from recipelang.surgery import answers
from recipelang.surgery.hub import unfit
from recipelang.surgery.tracing import evaluating, example, record_calls


def flip_channels(module: nn.Module, shape: tuple[int, ...], where: str) -> None:
    """Make a network that wants blue, green, red take red, green, blue, in place: exact, by the weights of its stem.

    Args:
        module: takes B×C×H×W.
        shape: (C, H, W).
        where: its name, for the message.

    Raises:
        Refusal: RCP0762: its channels do not go into one convolution alone.
    """
    images = example(module, shape)
    paths = [path for path, call in record_calls(module, images).items() if call.input_shape == tuple(images.shape)]
    stems = [p for p in map(module.get_submodule, paths) if isinstance(p, nn.Conv2d) and p.groups == 1]
    with evaluating(module):
        before = _scores(module(images.flip(1)))
        if stems:
            stems[0].weight.data = stems[0].weight.data.flip(1).contiguous()
        after = _scores(module(images))
    if not torch.allclose(before, after, rtol=1e-4, atol=1e-5 * float(before.abs().max())):
        why = "its images are blue, green, red, and they go into more than one convolution"
        raise unfit(where, why, 'reverse the channels in a Python file: `model python("FILE.py:build")`')


def _scores(raw: object) -> torch.Tensor:
    return next(tensor for _, tensor in answers.tensors(raw))
