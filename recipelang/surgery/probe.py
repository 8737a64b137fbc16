"""One trial of a network built by a user's code: whether its answers, its copies and its state can be trusted.

    the same input, the same weights  ─▶  the same answer   again · by a deep copy · by another build

With `entry.enter` it costs at most fourteen forward passes of two images: less than two passes of a batch of sixteen.
A network that draws random numbers in evaluation mode costs up to seven more.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.surgery import answers
from recipelang.surgery.beside import held_beside_state, holders
from recipelang.surgery.chance import drawn, random_numbers
from recipelang.surgery.entry import evaluated
from recipelang.surgery.moved import TriedNetwork, tried
from recipelang.surgery.parity import TOLERANCE, relative_difference
from recipelang.surgery.tracing import evaluating, first_line
from recipelang.surgery.weights import few

#: calls of a network that draws random numbers, to see whether its answer depends on them
AGAIN = 8

Build = Callable[[], AbstractContextManager[nn.Module]]


def require_sound(
    module: nn.Module, example: Tensor, first: Tensor, again: Build, target: str = "class"
) -> tuple[str, ...]:
    """Compare a network with itself, a deep copy and another build of it, with the same weights each time.

    Meanwhile the weights differ from the network's own, so that a layer initialised to zero hides nothing.

    Args:
        module: as `enter` left it; it and all random number generators are left unchanged.
        example: an input, B×C×H×W.
        first: its answer to the example, B×…
        again: another build of it, made with other random numbers, for the duration of the block.
        target: of its task: `labels` where each output is the score of a label.

    Returns:
        notes for the user.

    Raises:
        Refusal: RCP0721: its answer differs when it is called again; RCP0722: a copy still uses its weights, or it
            cannot be copied; RCP0723: it computes with something that is not in its state; RCP0724: it answers NaN.
    """
    with random_numbers():
        _require_numbers(module, example, first)
        trial = tried(module, example)
        twin = _copied(module)
        trial.move(twin)
        before = drawn()
        found = _of_copy(twin, example)
        _require_repeatable(trial, found.detach(), before != drawn())
        _require_registered(twin, found)
        _require_settled(twin, example, found.detach())
        with again() as other:
            _require_rebuildable(trial, other)
        return (
            *_batch_notes(trial),
            *probability_notes(found.detach(), target),
            *_training_notes(twin, example, found.detach()),
        )


def require_same(module: nn.Module, other: nn.Module, example: Tensor, what: str) -> None:
    """Refuse where another build with equal state gives another answer, and name what it holds besides its state.

    Raises:
        Refusal: RCP0723.
    """
    expected, found = evaluated(module, example), evaluated(other, example)
    if not _alike(found, expected):
        raise _beside(what, held_beside_state(module, other))


# running --------------------------------------------------------------------------------------


def _of_copy(twin: nn.Module, example: Tensor) -> Tensor:
    """The answer of a copy in evaluation mode, with the graph of its computation where torch can build one."""
    try:
        with evaluating(twin), torch.enable_grad():
            found: Tensor = twin(example)
        return found
    except Exception as error:  # the module is the user's: it may have no derivative here, or not be a true copy
        reason = error
    try:
        with evaluating(twin):
            found = twin(example)
        return found
    except Exception as error:
        raise Refusal(
            "RCP0722",
            "a copy of the network cannot run, although the network itself can: "
            f"{type(reason).__name__}: {first_line(reason)}",
            "hooks, lambdas and functions that refer to `self` still refer to the original: write methods instead",
        ) from error


def _alike(found: Any, expected: Tensor) -> bool:
    """Equal up to rounding; NaN equals NaN."""
    if not isinstance(found, Tensor) or found.shape != expected.shape:
        return False
    same = (found == expected) | (found.isnan() & expected.isnan())
    scale = expected.abs().nan_to_num(0, 0, 0).max()
    return not bool(((found - expected).abs() > TOLERANCE * scale).logical_or(found.isnan())[~same].any())


# what is required -----------------------------------------------------------------------------


def _require_numbers(module: nn.Module, example: Tensor, first: Tensor) -> None:
    """NaN for normal numbers may be the logarithm of a negative one: an image of 0…1 must then give scores."""
    if first.isnan().any() and evaluated(module, example.abs().clamp(max=1)).isnan().any():
        raise Refusal(
            "RCP0724",
            "the network as built answers with NaN",
            "look for a division by zero, or the logarithm or root of a negative number, in `forward`",
        )


def _copied(module: nn.Module) -> nn.Module:
    try:
        twin = copy.deepcopy(module)
    except Exception as error:  # anything that the user's module holds may raise anything
        raise Refusal(
            "RCP0722",
            f"the network cannot be copied: {type(error).__name__}: {first_line(error)}",
            "keep open files, locks, generators and tensors of earlier passes out of the module",
        ) from error
    own = {id(tensor) for tensor in (*module.parameters(), *module.buffers())}
    if twin is module or any(id(tensor) in own for tensor in (*twin.parameters(), *twin.buffers())):
        raise _shares()
    return twin


def _require_repeatable(trial: TriedNetwork, found: Tensor, drew: bool) -> None:
    """Require that the copy answers as the network does, and so does the network when called again."""
    alike = _alike(found, trial.expected)
    if alike and not drew:
        return
    differs = _changed(trial)
    if differs is not None:
        difference = relative_difference(differs, trial.expected)
        raise Refusal(
            "RCP0721",
            "the network's answer to the same images changes when it is called again in evaluation mode "
            f"(by {difference:.1e} of the largest score)",
            "dropout needs `training=self.training`; in evaluation mode `forward` must draw no random numbers "
            "and change no statistics",
        )
    if not alike:
        raise _shares()


def _changed(trial: TriedNetwork) -> Any:
    """Another answer to the same images, if there is one: a weak dropout drops nothing in some calls."""
    for _ in range(AGAIN):
        before = drawn()
        found = trial.again()
        drew = before != drawn()
        # Rounding may differ from call to call; where random numbers are drawn, a difference is not rounding.
        if not _alike(found, trial.expected) or (drew and not torch.equal(found, trial.expected)):
            return found
        if not drew:
            break
    return None


def _require_settled(twin: nn.Module, example: Tensor, found: Tensor) -> None:
    """Require that the copy's answer does not depend on other images that it was given in between."""
    before = {name: buffer.clone() for name, buffer in twin.named_buffers()}
    try:
        evaluated(twin, example * 2 + 1 if example.is_floating_point() else example.flip(-1))
    except Refusal:  # it need not accept arbitrary numbers
        return
    if _alike(evaluated(twin, example), found):
        return
    moved = [f"`{name}`" for name, now in twin.named_buffers() if not _same_values(now, before.get(name))]
    raise Refusal(
        "RCP0721",
        "the network's answer to the same images depends on images that it was given before: in evaluation mode "
        f"it changes {few(moved) or 'something that it stores'}",
        "change statistics only where `self.training` is True; for fake quantisation, disable the observers",
    )


def _same_values(now: Tensor, before: Tensor | None) -> bool:
    return before is not None and now.shape == before.shape and torch.equal(now.nan_to_num(), before.nan_to_num())


def _shares() -> Refusal:
    return Refusal(
        "RCP0722",
        "a copy of the network still uses the original's weights, so that training it would change nothing",
        "write a method instead of a lambda or function that keeps a reference to `self` or to a layer",
    )


def _require_registered(module: nn.Module, found: Tensor) -> None:
    """Require that everything with gradients is a parameter: nothing else would be trained or saved."""
    known = {id(parameter) for parameter in module.parameters()}
    loose = [leaf for key, leaf in answers.graph(found).leaves.items() if key not in known]
    if loose:
        names = holders(module, loose)
        raise Refusal(
            "RCP0723",
            f"the network computes with {len(loose)} weights that are not its parameters"
            f"{': ' + few([f'`{name}`' for name in names]) if names else ''}; they would be neither trained nor saved",
            "use `nn.ModuleList`, `nn.ParameterList` or `register_buffer`, or make each layer an attribute of its own",
        )


def _require_rebuildable(trial: TriedNetwork, other: nn.Module) -> None:
    """Require that another build with the same weights answers as this one."""
    what = "the network, built again and given the same weights,"
    try:
        other.load_state_dict(trial.module.state_dict())
    except RuntimeError as error:
        raise Refusal(
            "RCP0723",
            f"the network, built again, has different weights: {_second_line(error)}",
            "an architecture drawn at random cannot be built again: write its numbers into the code",
        ) from error
    beside = held_beside_state(trial.module, other)
    trial.move(other)
    if not _alike(evaluated(other, trial.example), trial.expected):
        raise _beside(what, beside)


def _beside(what: str, names: Sequence[str]) -> Refusal:
    held = few([f"`{name}`" for name in names]) or "something that its code draws or counts outside the module"
    return Refusal(
        "RCP0723",
        f"{what} gives a different answer: its state does not hold {held}",
        "keep it in a buffer, `self.register_buffer(…)`, or compute it without random numbers",
    )


def _second_line(error: Exception) -> str:
    """torch's list of differences starts after a headline."""
    lines = str(error).strip().splitlines()
    return lines[1].strip()[:200] if len(lines) > 1 else first_line(error)


def _batch_notes(trial: TriedNetwork) -> tuple[str, ...]:
    """A note if the answer to an image depends on the other images of the batch."""
    try:
        alone = trial.again(trial.example[:1])
    except Refusal as refusal:
        return (f"it cannot answer a single image: {refusal.message}",)
    if _alike(alone, trial.expected[:1]):
        return ()
    return ("its answer to an image depends on the other images of the batch: accuracy depends on the batch size",)


def probability_notes(found: Tensor, target: str) -> tuple[str, ...]:
    """Probabilities of classes or labels: every loss here is made for what comes before a softmax or a sigmoid."""
    if target == "labels":
        if found.ndim != 2 or not found.numel() or bool(((found < 0) | (found > 1)).any()):
            return ()
        told = "it answers with probabilities, and the loss applies a sigmoid to its answers: let it return what comes"
        return (f"{told} before its own sigmoid",)
    if (
        found.ndim != 2
        or found.shape[1] < 2
        or bool((found < 0).any())
        or not _alike(found.sum(1), torch.ones(len(found)))
    ):
        return ()
    return (
        "it answers with probabilities, and losses apply a softmax to its answers: let it return what comes before its "
        "own softmax",
    )


# in training mode -----------------------------------------------------------------------------


def _training_notes(module: nn.Module, example: Tensor, found: Tensor) -> tuple[str, ...]:
    """Notes on the answer in training mode. The module must not be used afterwards."""
    try:
        told = answers.trained(module, example, answers.like(found))
    except Exception as error:  # the module is the user's
        why = f"{type(error).__name__}: {first_line(error)}"
        return (f"it can be measured but not trained: in training mode it raises {why}",)
    if told is None:
        gives = (
            "one score per class" if found.ndim == 2 else f"an answer of shape {'×'.join(map(str, found.shape[1:]))}"
        )
        return (f"it can be measured but not trained: in training mode it does not give {gives}",)
    return (told.note,) if told.note else ()
