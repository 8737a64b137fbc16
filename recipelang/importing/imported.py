"""A network from an ONNX file, compared with onnxruntime before anything is done with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy
import torch
from torch import nn

from recipelang.errors import Refusal
from recipelang.importing.building import build
from recipelang.importing.reading import Program
from recipelang.importing.running import Session
from recipelang.importing.settling import resized, settled
from recipelang.surgery.probe import probability_notes
from recipelang.surgery.tracing import evaluating, example, first_line
from recipelang.units import counted

#: sizes of the batches that are compared
BATCHES = (1, 3)
#: how many images are asked whether a network answers with probabilities
ASKED = 8
#: how far answers may be from onnxruntime's, as a part of their norm: other libraries sum in other orders
TOLERANCE = 1e-4
#: the same where the file computes with 16 bits and the network with 32
ROUNDED = 2e-2
USUAL_SIZE = 224


@dataclass(frozen=True)
class Imported:
    """A network of a file.

    Attributes:
        module: in evaluation mode.
        shape: of one image, for which it was built.
        built: what it is built again from, as JSON.
        notes: for the user.
    """

    module: nn.Module
    shape: tuple[int, ...]
    built: dict[str, Any]
    notes: tuple[str, ...]


def imported(program: Program, shape: tuple[int, ...] | None, target: str = "class") -> Imported:
    """The network of a program, for images of a shape, or of the shape that the file names.

    Args:
        target: of the task: a note says where the program ends with a softmax or sigmoid that its loss applies too.

    Raises:
        Refusal: RCP0766: it has operators without a translation; RCP0767: it cannot be a network; RCP0768: onnxruntime
            gives other answers.
    """
    wanted, notes = shape or _own_shape(program), program.notes
    if shape is None and None in program.axes[2:] and program.told.input_shape is None:
        notes = (*notes, f"its file takes images of any size; without data it is built for {wanted[-2]}×{wanted[-1]}")
    made = build(settled(program, wanted), program.name)
    if program.axes[0] is not None:
        fixed = counted(program.axes[0], "image")
        notes = (*notes, f"its file is for {fixed} at a time; as a network it takes any number")
    _require_same(program, made.module, wanted)
    with evaluating(made.module), torch.no_grad():
        notes = (*notes, *probability_notes(made.module(example(made.module, wanted, ASKED)), target))
    return Imported(made.module, wanted, made.told, notes)


def _own_shape(program: Program) -> tuple[int, ...]:
    """The shape that its metadata or its axes name."""
    axes = program.axes[1:]
    told = program.told.input_shape
    if told and len(told) == len(axes) and all(a in (None, b) for a, b in zip(axes, told, strict=True)):
        return told
    first = axes[0] or 3
    return (first, *(axis or USUAL_SIZE for axis in axes[1:]))


def _require_same(program: Program, module: nn.Module, shape: tuple[int, ...]) -> None:
    """Compare the answers to random images with those of the file, as it is and for other numbers of images."""
    draws = numpy.random.default_rng(1)
    model, fixed = resized(program, shape)
    tolerance = ROUNDED if program.original is not program.model else TOLERANCE
    for size in BATCHES if fixed is None else (fixed, 3 * fixed):
        images = draws.standard_normal((size, *shape), numpy.float32)
        expected = _answers(program, model, images, fixed)
        with evaluating(module):
            found = _found(program, module, images)
        if found.shape != expected.shape:
            raise _differs(program, f"of shape {_shape(found)} instead of {_shape(expected)}")
        norm = float(numpy.linalg.norm(expected))
        off = float(numpy.linalg.norm(found - expected)) / (norm or 1.0)
        if not off <= tolerance:
            raise _differs(program, f"{off:.1e} from onnxruntime's, and {tolerance:.0e} is allowed")


def _answers(program: Program, model: Any, images: numpy.ndarray, fixed: int | None) -> numpy.ndarray:
    """onnxruntime's answers, in calls of as many images as the file is for."""
    parts = [images] if fixed is None else numpy.split(images, len(images) // fixed)
    try:
        session, output = Session(model), model.graph.output[0].name
        return numpy.concatenate([session(part)[output] for part in parts]).astype(numpy.float64)
    except Exception as error:  # onnxruntime raises classes of its own
        raise _differs(program, f"none: onnxruntime raises {first_line(error)}") from error


def _found(program: Program, module: nn.Module, images: numpy.ndarray) -> numpy.ndarray:
    try:
        answer: numpy.ndarray = module(torch.from_numpy(images)).double().numpy()
    except Exception as error:  # sizes that depend on the number of images show here
        raise _differs(program, f"none: with {len(images)} images it raises {first_line(error)}") from error
    return answer


def _shape(value: numpy.ndarray) -> str:
    return "×".join(map(str, value.shape))


def _differs(program: Program, how: str) -> Refusal:
    return Refusal(
        "RCP0768",
        f"the network of `{program.name}` does not answer as its file does: its answers are {how}",
        "export it with a batch of variable size and another opset",
    )
