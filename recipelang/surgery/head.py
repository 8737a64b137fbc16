"""The head: the layer whose output features are the network's outputs. Found by running, not by its name."""

from __future__ import annotations

from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.surgery.tracing import outputs_of, record_calls


def find_head(module: nn.Module, example: Tensor) -> tuple[str, nn.Linear | nn.Conv2d]:
    """The path and layer of the head: the last linear layer or 1×1 convolution to run that has one feature per output.

    Args:
        module: a classification network.
        example: an input, B×C×H×W.

    Raises:
        Refusal: RCP0708: there is none; RCP0713: the network does not take the example.
    """
    outputs = outputs_of(module, example).shape[1]
    for path in reversed(record_calls(module, example)):
        part = module.get_submodule(path)
        if _features(part) == outputs and isinstance(part, nn.Linear | nn.Conv2d):
            return path, part
    raise Refusal(
        "RCP0708",
        f"no layer of the network has as many features as the network has outputs ({outputs})",
        "end the network with a linear layer",
    )


def embedding_length(module: nn.Module, example: Tensor) -> int:
    """Number of features that enter the head.

    Raises:
        Refusal: as `find_head`.
    """
    layer = find_head(module, example)[1]
    return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels


def replace_head(module: nn.Module, path: str, classes: int) -> None:
    """Put a fresh head with so many outputs at `path`, in place; initialised by torch's global random numbers.

    A head that is the network itself (path "") cannot be replaced in place.

    Raises:
        Refusal: RCP0708.
    """
    old = module.get_submodule(path)
    if not path:
        raise Refusal(
            "RCP0708", "a network that is one layer has no head to replace", "give it the number of classes yourself"
        )
    new: nn.Module
    if isinstance(old, nn.Conv2d):
        new = nn.Conv2d(old.in_channels, classes, kernel_size=1, bias=old.bias is not None)
    else:
        new = nn.Linear(old.in_features, classes, bias=old.bias is not None)  # type: ignore[arg-type]
    parent, _, leaf = path.rpartition(".")
    setattr(module.get_submodule(parent), leaf, new.to(next(old.parameters()).device).train(old.training))


def _features(part: nn.Module) -> int | None:
    if isinstance(part, nn.Linear):
        return part.out_features
    if isinstance(part, nn.Conv2d) and part.kernel_size == (1, 1) and part.groups == 1:
        return part.out_channels
    return None
