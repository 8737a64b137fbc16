"""The head: the layer whose output features are the network's outputs. Found by running, not by its name."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.surgery.answers import fits, fitting
from recipelang.surgery.chance import random_numbers
from recipelang.surgery.products import is_plain
from recipelang.surgery.tasks import task_named
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
    """Put a new head with this many outputs at `path`, in place; initialised with torch's global random numbers.

    A head that is the network itself (path "") cannot be replaced in place.

    Raises:
        Refusal: RCP0708.
    """
    old = module.get_submodule(path)
    if not path:
        raise Refusal(
            "RCP0708", "a network that is one layer has no head to replace", "build it with the right number of classes"
        )
    if not is_plain(old, nn.Linear, nn.Conv2d):
        raise Refusal(
            "RCP0708",
            f"the head `{path}` is a {type(old).__name__} that does not compute what torch's own layer does, "
            "so a new one cannot replace it",
            "let the function that builds the network take `classes` and size its head accordingly",
        )
    new: nn.Module
    if isinstance(old, nn.Conv2d):
        new = nn.Conv2d(old.in_channels, classes, kernel_size=1, bias=old.bias is not None)
    else:
        new = nn.Linear(old.in_features, classes, bias=old.bias is not None)  # type: ignore[arg-type]
    module.set_submodule(path, new.to(next(old.parameters()).device).train(old.training))


def replace_heads(module: nn.Module, example: Tensor, classes: int) -> tuple[str, ...]:
    """Give the network this many outputs with new heads, in place; returns the paths of the layers that were replaced.

    Where one head is not enough, since several are averaged or there are auxiliary classifiers, the layers with
    equally many features are replaced one after another, the last first, until evaluation and training fit.

    Args:
        module: a network whose answer is one tensor.
        example: an input, B×C×H×W.
        classes: number of outputs that it is to have.

    Raises:
        Refusal: RCP0708: there is no head, or replacing it does not give this many outputs.
    """
    outputs = outputs_of(module, example).shape[1]
    first = find_head(module, example)[0]
    replace_head(module, first, classes)
    replaced = [first]
    others = [path for path, part in module.named_modules() if _features(part) == outputs]
    while not _gives(module, example, classes):
        if not others:
            raise Refusal(
                "RCP0708",
                f"replacing the head `{first}` does not give the network {classes} outputs",
                "let the function that builds the network take `classes` and size its heads accordingly",
            )
        replaced.append(others.pop())
        replace_head(module, replaced[-1], classes)
    for path in reversed(others):  # auxiliary classifiers, which only training uses
        if outputs not in _in_training(module, example):
            break
        replace_head(module, path, classes)
        replaced.append(path)
    return tuple(replaced)


def _gives(module: nn.Module, example: Tensor, classes: int) -> bool:
    """Whether the network returns this many outputs; heads of different lengths may not yet fit together."""
    try:
        return outputs_of(module, example).shape[1] == classes
    except Refusal:
        return False


def _in_training(module: nn.Module, example: Tensor) -> set[int]:
    """Numbers of outputs of the tensors of the answer in training mode; empty where the network cannot run."""
    try:
        with random_numbers(), torch.no_grad():
            raw = copy.deepcopy(module).train()(example.clone())
    except Exception:  # the module is the user's
        return set()
    return {score.shape[1] for score in fitting(raw, len(example), fits(task_named())).values()}


def _features(part: nn.Module) -> int | None:
    if isinstance(part, nn.Linear):
        return part.out_features
    if isinstance(part, nn.Conv2d) and part.kernel_size == (1, 1) and part.groups == 1:
        return part.out_channels
    return None
