"""Observing a network: an example input, temporary evaluation mode, and which module is called when. Candidates,
parity, the deployed form and the head are all found from what a forward pass does."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from recipelang.errors import Refusal
from recipelang.kinds import FLOATING, Inputs, Task
from recipelang.surgery.beside import held_tensors
from recipelang.surgery.network import Network
from recipelang.surgery.tasks import task_named


def example_input(network: Network, batch: int = 2) -> Tensor:
    """Seeded numbers of the batch and the network's input shape, on its device; always the same.

    They are what its inputs are: normal numbers, float32, or whole numbers, int64, each as likely as the others.
    """
    return example(network.module, network.input_shape, batch, network.inputs)


def example(module: nn.Module, input_shape: tuple[int, ...], batch: int = 2, inputs: Inputs = FLOATING) -> Tensor:
    """Like `example_input`, for a module that is not a Network yet.

    Args:
        input_shape: of one input, as its data set says: (channels, height, width) for images.
        inputs: what its numbers are.
    """
    return drawn_inputs(inputs, (batch, *input_shape), torch.Generator().manual_seed(0)).to(device_of(module))


def drawn_inputs(inputs: Inputs, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Numbers of a shape, B×…, that may be inputs: normal numbers, float32, or whole numbers, int64."""
    if inputs.ids is None:
        return torch.randn(*shape, generator=generator)
    return torch.randint(inputs.ids, shape, generator=generator)


def placed(inputs: Tensor, device: torch.device | str, dtype: torch.dtype) -> Tensor:
    """Inputs on a device and in a precision; whole numbers have none."""
    return inputs.to(device, dtype) if inputs.is_floating_point() else inputs.to(device)


def called(example: Tensor) -> str:
    """What an example is, for messages: `3×32×32 images`, `inputs of 16 whole numbers`."""
    shape = "×".join(str(n) for n in example.shape[1:])
    return f"{shape} images" if example.is_floating_point() else f"inputs of {shape} whole numbers"


def answered(example: Tensor) -> str:
    """How many inputs an example has, and their shape: `2 images of 3×32×32`."""
    shape = "×".join(str(n) for n in example.shape[1:])
    what = "images" if example.is_floating_point() else "inputs of whole numbers"
    return f"{len(example)} {what} of {shape}"


def as_expected(example: Tensor) -> str:
    """The help where a network does not take an example."""
    if example.is_floating_point():
        return "give the images the size and number of channels that the network expects, as in `size=224`"
    return "use a network with an embedding for every id that the data has, and for every place of an input"


def device_of(module: nn.Module) -> torch.device:
    """The device of the module's parameters; the CPU where it has none."""
    return next((p.device for p in module.parameters()), torch.device("cpu"))


@contextmanager
def hooked(handles: Iterable[RemovableHandle]) -> Iterator[None]:
    """Hooks for the duration of the block, even if it raises."""
    hooks = list(handles)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards every submodule is in its previous mode."""
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, training in modes:
            part.training = training


def let_go(network: Network) -> None:
    """Run a network that keeps activations once: it holds the graph of the last step, which cannot be copied."""
    if any(tensor.grad_fn is not None for tensor in held_tensors(network.module)):
        with evaluating(network.module):
            network.module(example_input(network))


@contextmanager
def hushed() -> Iterator[None]:
    """For torch's own tracers: before they raise they print warnings, log lines and whole graphs to stderr."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


@dataclass(frozen=True)
class ModuleCall:
    """How a module took part in one forward pass.

    Attributes:
        order: the order of its first call.
        count: how often it was called.
        input_shape, output_shape: of its last call; None unless exactly one tensor goes in and one comes out.
    """

    order: int
    count: int
    input_shape: tuple[int, ...] | None
    output_shape: tuple[int, ...] | None

    @property
    def once(self) -> bool:
        """Called exactly once, one tensor in and one out."""
        return self.count == 1 and self.input_shape is not None and self.output_shape is not None


def record_calls(module: nn.Module, example: Tensor) -> dict[str, ModuleCall]:
    """The calls of one forward pass in evaluation mode, by module path, in order of first call.

    The network itself has the path "". A module that has two paths is listed under the first.
    """
    started: dict[str, int] = {}
    calls: dict[str, ModuleCall] = {}

    def watch(path: str, part: nn.Module) -> list[Any]:
        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            started.setdefault(path, len(started))

        def after(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            single = len(args) == 1 and not kwargs and isinstance(args[0], Tensor) and isinstance(output, Tensor)
            calls[path] = ModuleCall(
                order=started[path],
                count=1 + (calls[path].count if path in calls else 0),
                input_shape=tuple(args[0].shape) if single else None,
                output_shape=tuple(output.shape) if single else None,
            )

        return [
            part.register_forward_pre_hook(before, with_kwargs=True),
            part.register_forward_hook(after, with_kwargs=True),
        ]

    hooks = [hook for path, part in module.named_modules() for hook in watch(path, part)]
    with hooked(hooks), evaluating(module):
        module(example)
    return dict(sorted(calls.items(), key=lambda item: item[1].order))


def outputs_of(module: nn.Module, example: Tensor, task: Task | None = None) -> Tensor:
    """The network's answer to the example, B×…

    Args:
        task: what an answer is; default classification, one score per class.

    Raises:
        Refusal: RCP0713: the network does not take this input, or its answer is not one of the task.
    """
    task = task or task_named()
    try:
        with evaluating(module):
            output = module(example)
    except Exception as error:  # the module is the user's and may raise anything
        raise Refusal(
            "RCP0713",
            f"the network does not take {called(example)}: {type(error).__name__}: {first_line(error)}",
            as_expected(example),
        ) from error
    if not isinstance(output, Tensor) or not _understood(task, output, len(example)):
        found = f"a tensor of shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise Refusal(
            "RCP0713",
            f"the network's answer to {answered(example)} is {found}, not {task.gives}",
            f"use a {task.name} network, whose output has shape {task.form}",
        )
    return output


def _understood(task: Task, output: Tensor, samples: int) -> bool:
    try:
        task.answer(output)
    except Refusal:
        return False
    return len(output) == samples


def first_line(error: BaseException) -> str:
    """The first line of an exception's text, shortened: enough for a message."""
    text = str(error).strip().splitlines()
    return text[0][:200] if text else "no details"
