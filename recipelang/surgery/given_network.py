"""Networks that a program gives: an nn.Module, which is never changed, or a function that builds one.

What is kept is a copy of the module on the CPU (the prototype); every build is a copy of that.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from recipelang import identity
from recipelang.errors import Refusal
from recipelang.given import SHORT, Given
from recipelang.surgery.chance import random_numbers
from recipelang.surgery.code import require_network
from recipelang.surgery.tracing import evaluating, first_line
from recipelang.surgery.weights import few
from recipelang.surgery.wrappers import unwrapped

#: relative to the largest number of an answer: how far those of the same network may be apart on another machine
TOLERANCE = 1e-3


def given_network(value: Any, name: str = "") -> tuple[str, Given]:
    """A network of a program, ready to be named in a recipe: (digest of its content, what is known about it).

    Args:
        value: an nn.Module, on any device, in any mode, with or without wrappers; or a function or class that builds
            one, called without arguments.
        name: for messages; default that of the class or function.

    Raises:
        Refusal: RCP0712: it is not a network; RCP0722: it cannot be copied.
    """
    if isinstance(value, nn.Module):
        module, notes = _prototype(value)
        name = name or type(module).__name__
        found, code = identity.of_network(module), identity.of_network(module, weights=False)
        if found.unknown:
            held = few([f"`{kind}`" for kind in found.unknown])
            notes = (*notes, f"it holds {held}, which cannot be compared: its steps are not found again in another run")
        return found.digest[:SHORT], Given(name, module, code=code.digest, notes=notes)
    if not callable(value):
        raise Refusal(
            "RCP0712",
            f"`model` is {_a(value)}, not a network",
            "give an nn.Module, a function that builds one, or text as after `model` in a recipe",
        )
    found = identity.of_network(value)
    name = name or getattr(value, "__name__", type(value).__name__)
    notes = (f"it uses {few(list(found.unknown))}, which cannot be compared",) if found.unknown else ()
    return found.digest[:SHORT], Given(name, value, builds=True, code=found.digest, notes=notes)


def built(given: Given) -> nn.Module:
    """A network of its own: a copy of the module that was given, or what the function builds with the random numbers
    of now.

    Raises:
        Refusal: RCP0712: the function raises, or returns something other than a network.
    """
    if not given.builds:
        return copy.deepcopy(given.value)
    try:
        module = given.value()
    except (Refusal, KeyboardInterrupt):
        raise
    except BaseException as error:  # the user's code may raise anything
        raise Refusal(
            "RCP0712",
            f"`{given.name}` cannot build the network: {type(error).__name__}: {first_line(error)}",
            "it is called without arguments, more than once; for a class with arguments write `lambda: Net(…)`",
        ) from error
    require_network(module, f"`{given.name}` returns")
    return module.to("cpu")


def _prototype(module: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """A copy of a module on the CPU in float32 without its wrappers, and notes on what was changed."""
    require_network(module, "`model` is") if not _narrow(module) else None
    try:
        with torch.inference_mode(False):  # a program may call inside it, and what is made there cannot be trained
            copied = copy.deepcopy(module)
    except Exception as error:  # anything that the user's module holds may raise anything
        raise Refusal(
            "RCP0722",
            f"the network cannot be copied: {type(error).__name__}: {first_line(error)}",
            "keep open files, locks, generators and tensors of earlier passes out of the module",
        ) from error
    copied, wrappers = unwrapped(copied)
    notes = [f"`{wrapper}` is removed" for wrapper in wrappers]
    if narrow := _narrow(copied):
        copied = copied.float()
        notes.append(f"its weights are converted from {narrow} to float32, in which networks are trained")
    require_network(copied, "`model` is")
    copied = copied.to("cpu")
    for parameter in copied.parameters():
        parameter.grad = None
    frozen = sum(not p.requires_grad for p in copied.parameters())
    if frozen:
        total = sum(1 for _ in copied.parameters())
        notes.append(f"{frozen} of its {total} parameters are frozen (`requires_grad=False`) and are not trained")
    return copied, tuple(notes)


def _narrow(module: nn.Module) -> str:
    """The type of the parameters where all have one, other than float32; "" elsewhere."""
    types = {p.dtype for p in module.parameters() if not is_lazy(p) and p.is_floating_point()}
    return str(types.pop()).removeprefix("torch.") if len(types) == 1 and torch.float32 not in types else ""


def drawn_again(module: nn.Module) -> nn.Module:
    """The module with new random weights, drawn by the layers' own `reset_parameters`, in place.

    Raises:
        Refusal: RCP0923: some weights are drawn by no layer.
    """
    reached: set[int] = set()
    for part in module.modules():
        reset = getattr(part, "reset_parameters", None) or getattr(part, "_reset_parameters", None)
        if callable(reset):
            reset()
            reached |= {id(p) for p in part.parameters()}
    left = [f"`{name}`" for name, p in module.named_parameters() if id(p) not in reached]
    if left:
        raise Refusal(
            "RCP0923",
            f"nothing in the network says how {few(left)} are drawn, and new random weights are asked for",
            "give a function that builds the network, `model=lambda: Net()`, or the layer `reset_parameters`",
        )
    return module


# whether another module is the same network ------------------------------------------------------


def signature(module: nn.Module, example: Tensor) -> list[float]:
    """A few numbers by which a network is known again: its answer to an example, with weights that are always the same.

    Args:
        module: on the CPU; is not changed.
        example: an input, B×…

    Returns:
        [] where it has no finite answer.
    """
    twin = copy.deepcopy(module)
    for number, tensor in enumerate((*twin.parameters(), *twin.buffers())):
        if tensor.is_floating_point() and tensor.layout is torch.strided and bool(tensor.isfinite().all()):
            tensor.data = _fixed(tensor, number)
    try:
        with random_numbers(0), evaluating(twin):
            answer = twin(example).flatten().double()
    except Exception:  # the module is the user's, and may not compute with such weights
        return []
    some = answer[:: max(1, len(answer) // 8)][:8]
    return [float(f"{value:.4g}") for value in some.tolist()] if answer.isfinite().all() else []


def _fixed(tensor: Tensor, number: int) -> Tensor:
    """Numbers that depend on the place alone: of about the size of usual weights, and positive on a vector."""
    wave = torch.cos(torch.arange(tensor.numel(), dtype=torch.float64) * 1.7 + number).reshape(tensor.shape)
    fan = max(1, tensor[0].numel()) if tensor.ndim > 1 else 1
    return ((wave + 0.1) * (2 / fan) ** 0.5 if tensor.ndim > 1 else 1 + 0.5 * wave).to(tensor.dtype)


def require_alike(name: str, known: Sequence[float], found: Sequence[float]) -> None:
    """Refuse a module that is not the network that was saved, whatever its weights.

    Args:
        name: of the network.
        known, found: the `signature` of the saved network, and that of the module; where one is empty, it is not known.

    Raises:
        Refusal: RCP0923: its answer to the same input with the same weights differs.
    """
    most = max(map(abs, known), default=0.0)
    if known and found and any(abs(a - b) > TOLERANCE * most for a, b in zip(known, found, strict=False)):
        raise Refusal(
            "RCP0923",
            f"this is not the network `{name}` that was saved: with equal weights it answers differently",
            "build it as the one that the recipe was run with; `export pt2` writes a network that needs no code",
        )


def _a(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
