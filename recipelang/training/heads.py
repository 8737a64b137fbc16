"""The output of a network in training mode: one answer, or several, each with its weight in the loss."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.images.batches import first
from recipelang.kinds import Labels, Task
from recipelang.surgery import answers
from recipelang.surgery.chance import random_numbers
from recipelang.surgery.tracing import first_line


@dataclass(frozen=True)
class Head:
    """An answer of the task, scores B×C for example, and the weight of its loss."""

    answer: Tensor
    weight: float
    auxiliary: bool = False


class Heads:
    """Reads the answers of one network in training mode.

    A network that returns one answer is trained on it. If it returns several, those that make up its answer in
    evaluation mode are trained with equal weights that sum to one, and auxiliary classifiers with
    `answers.AUXILIARY` each; `answers.trained` distinguishes them, once.

    Args:
        task: what an answer is.
        labels: the classes of the data, where it has any.
    """

    def __init__(self, task: Task, labels: Labels | None) -> None:
        self.task, self.labels = task, labels
        self._trained: answers.Trained | None = None

    def look(self, module: nn.Module, images: Tensor, targets: Any) -> None:
        """Tell what is trained, the first time; a copy of the module runs, so nothing of it may be replaced meanwhile.

        Raises:
            Refusal: as `outputs`.
        """
        if self._trained is None:
            self._trained = self._tell(module, images[:2], first(targets, 2))

    def outputs(
        self, module: nn.Module, images: Tensor, targets: Any, instead: Callable[[Tensor], Any] | None = None
    ) -> tuple[Head, ...]:
        """Run the network in training mode and read its answer; a tensor that evaluation also returns comes first.

        Raises:
            Refusal: RCP0713: the network cannot run in training mode; RCP0812, RCP0840: no tensor of its output is an
                answer to these targets.
        """
        self.look(module, images, targets)
        assert self._trained is not None
        raw, (own, auxiliary) = _run(module, images, instead), (self._trained.answers, self._trained.auxiliary)
        read = [(path, 1 / len(own), False) for path in own] + [(path, answers.AUXILIARY, True) for path in auxiliary]
        return tuple(
            Head(self.task.answer(answers.at(raw, path), targets, self.labels), weight, extra)
            for path, weight, extra in read
        )

    def _tell(self, module: nn.Module, images: Tensor, targets: Any) -> answers.Trained:
        """Which tensors of the output in training mode are trained, found on a copy, so that no statistics change."""
        fit = answers.fits(self.task, targets, self.labels)
        with random_numbers(device=images.device), torch.enable_grad():
            try:
                told = answers.trained(copy.deepcopy(module), images, fit)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # the module is the user's and may raise anything
                raise _cannot_run(module, images, error) from error
            if told is None:
                self.task.answer(module(images.clone()), targets, self.labels)  # says why
                raise RuntimeError(f"{self.task.name} understands an output that it did not understand before")
        return told


def _run(module: nn.Module, images: Tensor, instead: Callable[[Tensor], Any] | None) -> Any:
    try:
        return (instead or module)(images)
    except (torch.OutOfMemoryError, Refusal):
        raise
    except Exception as error:  # the module is the user's and may raise anything
        raise _cannot_run(module, images, error) from error


def mean_answer(heads: Sequence[Head]) -> Tensor:
    """The approximate answer of evaluation: the mean of those that belong to it."""
    own = [head.answer for head in heads if not head.auxiliary]
    return own[0] if len(own) == 1 else torch.stack(own).mean(0)


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
