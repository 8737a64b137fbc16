"""How a network is called: its input images are not changed, and in evaluation mode it returns one tensor B×…"""

from __future__ import annotations

import copy
import traceback
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

import recipelang
from recipelang.errors import Refusal
from recipelang.kinds import Task
from recipelang.surgery import answers
from recipelang.surgery.chance import random_numbers
from recipelang.surgery.layout import channels_first, takes_channels_last
from recipelang.surgery.network import Habits
from recipelang.surgery.tasks import task_named
from recipelang.surgery.tracing import answered, as_expected, called, evaluating, first_line

#: what is in none of these folders is a user's own code: torch and its neighbours, Python, this package
_LIBRARIES = (Path(torch.__file__).parents[1], Path(traceback.__file__).parent, Path(recipelang.__file__).parent)


class _Entry:
    """A base class for a network that needs it: passes on a copy of the images, or images in the default memory order,
    and returns one tensor in evaluation.

    A class rather than a hook or a module around it: `torch.export`, `torch.compile` and deep copies keep it, and
    weights keep their names.
    """

    _recipelang_habits: ClassVar[Habits]
    training: bool

    def forward(self, images: Tensor, *args: Any, **kwargs: Any) -> Any:
        habits = self._recipelang_habits
        given = channels_first(images) if habits.contiguous else images
        given = given.clone() if habits.changes_input else given
        raw = super().forward(given, *args, **kwargs)  # type: ignore[misc]
        return raw if self.training else answers.at(raw, habits.answer)


def enter(
    module: nn.Module,
    example: Tensor,
    task: Task | None = None,
    *,
    exact: answers.Fits | None = None,
    stranger: bool = True,
) -> tuple[Tensor, Habits]:
    """Run the network once in evaluation mode and ensure that it keeps its input and returns one tensor.

    Args:
        module: its class is changed in place where needed.
        example: an input, B×C×H×W; is not changed.
        task: what an answer is; default classification.
        exact: whether a tensor has the classes or the shape of the data too; None where they are unknown.
        stranger: whether it may depend on the memory order of images, which is then tried.

    Returns:
        its answer B×…, and its habits.

    Raises:
        Refusal: RCP0713: it does not take such images, or its answer is ambiguous.
    """
    task = task or task_named()
    given = example.clone()
    with random_numbers():
        raw = evaluated(module, given)
    path = answers.answer(raw, len(example), answers.fits(task), exact)
    if path is None:
        raise _not_understood(raw, example, task)
    scores: Tensor = answers.at(raw, path)
    contiguous = stranger and not takes_channels_last(module, example, scores, path)
    habits = Habits(not torch.equal(given, example), path, contiguous)
    if habits != Habits():
        _put_right(module, habits, example, raw, task)
    return scores, habits


def _put_right(module: nn.Module, habits: Habits, example: Tensor, raw: Any, task: Task) -> None:
    """Put `_Entry` before the class of the module, and check that it takes effect, in copies too."""
    own = type(module)
    attributes = {"_recipelang_habits": habits, "__module__": own.__module__, "__qualname__": own.__qualname__}
    given = example.clone()
    try:
        module.__class__ = type(own.__name__, (_Entry, own), attributes)
        with random_numbers(), evaluating(module):
            effective = isinstance(copy.deepcopy(module)(given), Tensor) and torch.equal(given, example)
    except Exception:  # a class may not allow to be changed, nor a module to be copied
        effective = False
    if not effective and habits.changes_input:
        raise Refusal(
            "RCP0713",
            "the network changes its input images, and its kind of module cannot be given copies",
            "start `forward` with `x = x.clone()`",
        )
    if not effective and habits.answer:
        raise _not_understood(raw, example, task)


def evaluated(module: nn.Module, example: Tensor) -> Any:
    """The network's answer in evaluation mode.

    Raises:
        Refusal: RCP0713: it raises.
    """
    try:
        with evaluating(module):
            return module(example)
    except Exception as error:  # the module is the user's and may raise anything
        raise _does_not_take(module, example, error) from error


def _does_not_take(module: nn.Module, example: Tensor, error: Exception) -> Refusal:
    place, own = _raised_at(error)
    why = f"{type(error).__name__}{place}: {first_line(error)}"
    if _trains(module, example):
        return Refusal(
            "RCP0713",
            f"the network runs in training mode but not in evaluation mode: {why}",
            "fix what `forward` does where `self.training` is False",
        )
    return Refusal(
        "RCP0713",
        f"the network does not take {called(example)}: {why}",
        f"mend the code there, or {as_expected(example)}" if own else as_expected(example),
    )


def _raised_at(error: BaseException) -> tuple[str, bool]:
    """(where in the user's files it was raised, or what raised it was called; whether the user's code raised it)."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [not any(Path(frame.filename).is_relative_to(folder) for folder in _LIBRARIES) for frame in frames]
    last = next((frame for frame, own in zip(frames[::-1], theirs[::-1], strict=True) if own), None)
    if last is None or last.filename.startswith("<"):
        return "", False
    return f" at line {last.lineno} of `{Path(last.filename).name}`", theirs[-1]


def _trains(module: nn.Module, example: Tensor) -> bool:
    """Whether a copy can run in training mode."""
    try:
        with random_numbers(), torch.no_grad():
            copy.deepcopy(module).train()(example.clone())
    except Exception:  # the module is the user's
        return False
    return True


def _not_understood(raw: Any, example: Tensor, task: Task) -> Refusal:
    several = len(answers.fitting(raw, len(example), answers.fits(task))) > 1
    return Refusal(
        "RCP0713",
        f"the network's answer to {answered(example)} is {answers.describe(raw)}"
        + (", and which of these are the scores is ambiguous" if several else f", not {task.gives}"),
        "return only the scores in evaluation mode, or name them `logits`"
        if several
        else f"use a {task.name} network, whose output has shape {task.form}",
    )
