"""Layers that can be removed, confirmed by removing them in a trial.

Each is swapped for its stand-in, the network runs once, and its output is compared with that of the network in which
the layer stays but answers as the stand-in would. The two differ where other code does more than call the layer: reads
its attributes, calls another of its methods, checks its class.

Layers are removed in groups such that for any two of them there is a run without the one and with the other: for n
layers about 2·log₂n runs, each of half a network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from recipelang.surgery.candidates import Candidate, RemovableLayers, look_for_layers
from recipelang.surgery.edits import remove
from recipelang.surgery.parity import observe, stopped, unlike


def survey(module: nn.Module, example: Tensor) -> RemovableLayers:
    """Every layer that can be removed, and why others that look like it cannot.

    Args:
        module: the network; it is not changed.
        example: an input, B×C×H×W (`tracing.example_input`).
    """
    found = look_for_layers(module, example)
    failed = _failing(module, example, found.layers)
    return RemovableLayers(
        tuple(layer for layer in found.layers if layer.name not in failed),
        {**found.stay, **failed},
    )


def _failing(module: nn.Module, example: Tensor, layers: Sequence[Candidate]) -> dict[str, str]:
    """Layer → why it cannot be removed."""
    failed: dict[str, str] = {}
    passed: set[str] = set()  # when removed alone
    for numbers in _groups(len(layers)):
        group = [layers[k] for k in numbers if layers[k].name not in failed]
        if not group or not _trouble(module, example, group, layers):
            continue
        for layer in group:
            if layer.name not in passed:
                if why := _trouble(module, example, [layer], layers):
                    failed[layer.name] = why
                else:
                    passed.add(layer.name)
    rest = [layer for layer in layers if layer.name not in failed]
    if failed or passed:  # the network must also run without all of them together
        return failed | _failing_together(module, example, rest)
    return failed


def _failing_together(module: nn.Module, example: Tensor, layers: Sequence[Candidate]) -> dict[str, str]:
    """Layer → why it cannot be removed after those before it."""
    if not layers or not _trouble(module, example, layers, layers):
        return {}
    failed, gone = {}, list[Candidate]()
    for layer in layers:
        if why := _trouble(module, example, [*gone, layer], layers):
            failed[layer.name] = f"after those before it are removed, {why}"
        else:
            gone.append(layer)
    return failed


def _groups(count: int) -> Iterator[list[int]]:
    """All; then those with and those without each binary digit, so that any two are separated in some groups."""
    if count:
        yield list(range(count))
    for digit in range((count - 1).bit_length() if count else 0):
        yield [k for k in range(count) if k >> digit & 1]
        yield [k for k in range(count) if not k >> digit & 1]


def _trouble(module: nn.Module, example: Tensor, group: Sequence[Candidate], layers: Sequence[Candidate]) -> str:
    """What goes wrong when the group is removed; empty where nothing goes wrong."""
    going = {layer.name for layer in group}
    points = [layer.paths[-1] for layer in layers if layer.name not in going]
    with _switched_off(module, group):
        try:
            expected = observe(module, points, lambda: module(example))
        except Exception as error:  # the module is the user's
            return f"with its branch at zero the network {stopped(error).removeprefix('it ')}"
    with _swapped(module, group):
        try:
            found = observe(module, points, lambda: module(example))
        except Exception as error:
            return f"without it the network {stopped(error).removeprefix('it ')}"
    how = unlike(expected, found)
    return f"without it more changes than that layer: {how}" if how else ""


@contextmanager
def _switched_off(module: nn.Module, group: Sequence[Candidate]) -> Iterator[None]:
    """Inside the block these layers answer as their stand-ins, and are otherwise unchanged."""
    before: list[tuple[nn.Module, dict[str, Any]]] = []
    try:
        for layer in group:
            for part in map(module.get_submodule, layer.paths):
                own = vars(part)
                before.append((part, {"forward": own["forward"]} if "forward" in own else {}))
                own["forward"] = remove(layer).stand_in(part).forward
        yield
    finally:
        for part, forward in before:
            vars(part).pop("forward", None)
            vars(part).update(forward)


@contextmanager
def _swapped(module: nn.Module, group: Sequence[Candidate]) -> Iterator[None]:
    """Inside the block these layers are removed."""
    parts = {path: module.get_submodule(path) for layer in group for path in layer.paths}
    try:
        for layer in group:
            remove(layer).apply(module)
        yield
    finally:
        for path, part in parts.items():
            module.set_submodule(path, part)
