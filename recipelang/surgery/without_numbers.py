"""Running a network for the sizes of its tensors alone, which costs next to nothing however large it is."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensor, FakeTensorMode

from recipelang.surgery.beside import TORCHS_OWN, held_tensors
from recipelang.surgery.parity import answers_in
from recipelang.surgery.tracing import evaluating

#: attributes of these kinds may be filled in a run
KEEPING = (dict, list, set)
#: parameters from which on a trial takes one image: each pass of such a network takes seconds
LARGE = 200_000_000


def few_images(module: nn.Module, example: Tensor) -> Tensor:
    """The images with which cuts are tried: all of the example, or for a large network one, if it takes one."""
    if len(example) < 2 or sum(parameter.numel() for parameter in module.parameters()) < LARGE:
        return example
    with evaluating(module):
        many, one = (_shapes(module, images) for images in (example, example[:1]))
    fits = [(1, *shape[1:]) if shape[:1] == (len(example),) else shape for shape in many] == one
    return example[:1] if fits else example


def _shapes(module: nn.Module, images: Tensor) -> list[tuple[int, ...]]:
    try:
        return [tuple(answer.shape) for answer in answers_in(run_without_numbers(module, images))]
    except Exception:  # the module is the user's, and may want more images
        return []


def run_without_numbers(module: nn.Module, example: Tensor) -> Any:
    """The network's output: sizes without numbers, or with them where its code asks for numbers.

    Args:
        module: in its present mode; without numbers no parameter or buffer changes.
        example: an input, B×C×H×W.

    Raises:
        Exception: whatever the network raises.
    """
    found, _ = _sizes_alone(module, example)
    return module(example) if found is None else found


def branches_on_values(module: nn.Module, example: Tensor) -> bool:
    """Whether its code asks for the numbers of a result, in evaluation: `if`, `while`, `float(…)`.

    Args:
        module: left unchanged, with its modes.
        example: an input, B×C×H×W.
    """
    with evaluating(module):
        return isinstance(_sizes_alone(module, example)[1], DataDependentOutputException)


def _sizes_alone(module: nn.Module, example: Tensor) -> tuple[Any, Exception | None]:
    """The output without numbers, None where it has none to keep; and why it could not be computed."""
    before = [
        (part, {k: copy.copy(v) if isinstance(v, KEEPING) else v for k, v in _own(part)}) for part in module.modules()
    ]
    found, why = None, None
    try:
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            found = module(mode.from_tensor(example))
    except Exception as error:  # its code may branch on values: then a run with numbers decides
        why = error
    if any(isinstance(tensor, FakeTensor) for tensor in held_tensors(module)):
        found = None  # it keeps activations, or values that it computes once, and is not to keep these
        for part, attributes in before:
            for name, _ in _own(part):
                del vars(part)[name]
            vars(part).update(attributes)
    return found, why


def _own(part: nn.Module) -> list[tuple[str, Any]]:
    """The attributes of a module that torch does not manage."""
    return [(name, value) for name, value in vars(part).items() if name not in TORCHS_OWN]
