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
from recipelang.kinds import Task
from recipelang.surgery.beside import held_tensors
from recipelang.surgery.network import Network
from recipelang.surgery.tasks import task_named


def example_input(network: Network, batch: int = 2) -> Tensor:
    """Seeded normal numbers, float32, of the batch and the network's input shape, on its device; always the same."""
    return example(network.module, network.input_shape, batch)


def example(module: nn.Module, input_shape: tuple[int, ...], batch: int = 2) -> Tensor:
    """Like `example_input`, for a module that is not a Network yet.

    Args:
        input_shape: of one input, as its data set says: (channels, height, width) for images.
    """
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, *input_shape, generator=generator).to(device_of(module))


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
    shape = "×".join(str(n) for n in example.shape[1:])
    try:
        with evaluating(module):
            output = module(example)
    except Exception as error:  # the module is the user's and may raise anything
        raise Refusal(
            "RCP0713",
            f"the network does not take {shape} images: {type(error).__name__}: {first_line(error)}",
            "give the images the size and number of channels that the network expects, as in `size=224`",
        ) from error
    if not isinstance(output, Tensor) or not _understood(task, output, len(example)):
        found = f"a tensor of shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise Refusal(
            "RCP0713",
            f"the network's answer to {len(example)} images of {shape} is {found}, not {task.gives}",
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
