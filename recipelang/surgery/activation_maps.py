"""Class activation maps: where in an image a network sees each class.

    scores = W · mean over places of F + b = mean over places of (W · F) + b,   and W · F are the maps

Source: Zhou et al., "Learning deep features for discriminative localization", CVPR 2016, Eq 1 and 2.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from recipelang.errors import Refusal
from recipelang.surgery.head import find_head
from recipelang.surgery.network import Network
from recipelang.surgery.parity import TOLERANCE, relative_difference
from recipelang.surgery.tracing import evaluating, example_input, hooked, outputs_of

#: feature maps before the head that may be what it averages, the last ones
KEPT = 8


class _FeatureMaps(TorchFunctionMode):
    """Remembers the last tensors B×F×H×W that torch's functions return."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if type(result) is Tensor and result.ndim == 4 and result.is_floating_point():
            self.seen = [*self.seen[1 - KEPT :], result]
        return result


def activation_maps(network: Network, images: Tensor) -> tuple[Tensor, Tensor]:
    """The class activation maps of some images, and the network's scores.

    Args:
        network: a classifier.
        images: B×C×H×W, normalised.

    Returns:
        maps B×classes×h×w, without the head's bias, and scores B×classes: the mean of a map, plus the bias of its
        class, is the score.

    Raises:
        Refusal: RCP0716: the scores are not such means; RCP0708: the network has no head; RCP0713: it does not take
            the images.
    """
    path, head = find_head(network.module, example_input(network))
    given: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    with hooked([hook]), _FeatureMaps() as maps:
        scores = outputs_of(network.module, images.clone())
    with evaluating(head):
        weight, bias = head.weight.flatten(1), 0 if head.bias is None else head.bias
        for features in [*given[-1:], *reversed(maps.seen)]:
            if not _averaged(features, given[-1]):
                continue
            drawn = torch.einsum("cf,bfhw->bchw", weight, features)
            if relative_difference(drawn.mean((2, 3)) + bias, scores) <= TOLERANCE:
                return drawn, scores
    raise Refusal(
        "RCP0716",
        f"the network has no class activation maps: the head `{path}` does not read the mean over the places of a "
        "feature map, so its scores are not sums over places",
        "remove `activation_maps`; it draws networks that end with a mean over places and one linear layer",
    )


def _averaged(features: Tensor, read: Tensor) -> bool:
    """Whether what the head reads is a feature map, or its mean over places. A head of zeros gives equal scores to any
    map, so the scores alone do not tell."""
    if features.ndim != 4 or features.shape[2:].numel() == 1:
        return False
    if read.ndim == 4 and read.shape[2:].numel() > 1:
        return features is read
    read, mean = read.flatten(1), features.mean((2, 3))
    return mean.shape == read.shape and relative_difference(mean, read) <= TOLERANCE
