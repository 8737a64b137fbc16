"""The output of a network in training mode: one tensor of scores, or several, each with its weight in the loss."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.surgery import answers
from recipelang.surgery.chance import random_numbers
from recipelang.surgery.tracing import first_line


@dataclass(frozen=True)
class Head:
    """Scores B×C in float32, and the weight of their loss."""

    scores: Tensor
    weight: float
    auxiliary: bool = False


class Heads:
    """Reads the answers of one network in training mode.

    A network that returns one tensor B×C is trained on it. If it returns several, those that make up its answer in
    evaluation mode are trained with equal weights that sum to one, and auxiliary classifiers with
    `answers.AUXILIARY` each; `answers.trained` distinguishes them, once.

    Args:
        classes: C, the number of classes of the data.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self._trained: answers.Trained | None = None

    def outputs(self, module: nn.Module, images: Tensor) -> tuple[Head, ...]:
        """Run the network in training mode and read its answer; a tensor that evaluation also returns comes first.

        Raises:
            Refusal: RCP0713: the network cannot run in training mode; RCP0812: no tensor of the answer is B×C.
        """
        if self._trained is None:
            self._trained = _tell(module, images[:2], self.classes)
        raw, (own, auxiliary) = _run(module, images), (self._trained.answers, self._trained.auxiliary)
        read = [(path, 1 / len(own), False) for path in own] + [(path, answers.AUXILIARY, True) for path in auxiliary]
        found = tuple(Head(answers.at(raw, path), weight, extra) for path, weight, extra in read)
        if any(head.scores.ndim != 2 or head.scores.shape[1] != self.classes for head in found):
            raise misfit(raw, self.classes)
        return tuple(replace(head, scores=head.scores.float()) for head in found)


def _run(module: nn.Module, images: Tensor) -> Any:
    try:
        return module(images)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # the module is the user's and may raise anything
        raise _cannot_run(module, images, error) from error


def mean_answer(heads: Sequence[Head]) -> Tensor:
    """The approximate scores B×C of evaluation: the mean of those that belong to its answer."""
    own = [head.scores for head in heads if not head.auxiliary]
    return own[0] if len(own) == 1 else torch.stack(own).mean(0)


def misfit(raw: Any, classes: int) -> Refusal:
    """The refusal for outputs that are not one score per class."""
    shape = "×".join(map(str, raw.shape[1:])) if isinstance(raw, Tensor) else answers.describe(raw)
    return Refusal(
        "RCP0812",
        f"the network gives {shape} outputs per image, and the data has {classes} classes",
        f"build the network for this data, for example with `classes={classes}`",
    )


def _tell(module: nn.Module, images: Tensor, classes: int) -> answers.Trained:
    """Which tensors of the answer in training mode are trained, found on a copy, so that no statistics change."""
    with random_numbers(device=images.device), torch.enable_grad():
        try:
            told = answers.trained(copy.deepcopy(module), images, classes)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # the module is the user's and may raise anything
            raise _cannot_run(module, images, error) from error
        if told is None:
            raise misfit(module(images.clone()), classes)
    return told


def _cannot_run(module: nn.Module, images: Tensor, error: Exception) -> Refusal:
    """The precision is to blame only where the network runs without it."""
    if torch.is_autocast_enabled(images.device.type) and _runs_in_float32(module, images):
        precision = str(torch.get_autocast_dtype(images.device.type)).removeprefix("torch.")
        return Refusal(
            "RCP0726",
            f"the network cannot be trained in {precision}: {type(error).__name__}: {first_line(error)}",
            "make the tensors of `forward` follow its input: `dtype=x.dtype`",
        )
    shape = "×".join(map(str, images.shape))
    return Refusal(
        "RCP0713",
        f"the network cannot take a batch of {shape} in training mode: {type(error).__name__}: {first_line(error)}",
        "fix what `forward` does where `self.training` is True",
    )


def _runs_in_float32(module: nn.Module, images: Tensor) -> bool:
    try:
        with random_numbers(device=images.device), torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            copy.deepcopy(module)(images.clone())
    except Exception:  # the module is the user's
        return False
    return True
