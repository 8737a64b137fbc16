"""A teacher as its student needs it: the student's classes in the student's order, from the student's images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.images.classes import listed, match, unknown_to
from recipelang.kinds import Preprocessing
from recipelang.surgery.network import Network
from recipelang.surgery.restricting import hold, on_device
from recipelang.surgery.simulated import simulated
from recipelang.training.machine import to_device


@dataclass(frozen=True)
class Teacher:
    """A network that a loss compares with.

    Attributes:
        name: in the recipe.
        network: as the student needs it.
        own: as it is; None where that is `network`.
        trains: whether it trains along with the student: a peer.
    """

    name: str
    network: Network
    own: Network | None = None
    trains: bool = False

    def on(self, device: str, *, trains: bool = False) -> Teacher:
        """A copy that computes on a device, in evaluation mode and without gradients, or in training mode with them."""
        copied = self.network.clone().module
        module = to_device(copied.train() if trains else copied.eval().requires_grad_(False), device)
        restrictions = on_device(self.network.restrictions, device)
        if trains:
            hold(untranslated(module), restrictions)
        network = replace(self.network, module=module, restrictions=restrictions)
        return replace(self, network=network, trains=trains)

    def trained(self) -> Network:
        """A peer after the training as the network that it is, on the CPU."""
        own = self.own or self.network
        module = untranslated(self.network.module).cpu().to(memory_format=torch.contiguous_format)
        return replace(own, module=module.train(own.module.training))

    def answer(self, images: Tensor) -> Any:
        """What it gives for images B×C×H×W, computed with its restrictions."""
        with simulated(untranslated(self.network.module), self.network.restrictions):
            return self.network.module(images)


class Translated(nn.Module):
    """A network adapted to another one: takes images normalised for that one, and returns some outputs, in its order.

    Args:
        module: B×C×H×W → B×classes, or another answer; where it returns several, the first is the answer.
        outputs: the chosen outputs, in order; None: the whole answer, or where it is not looked at.
        scale, shift: per channel, from the given images to those that the module expects.
    """

    outputs: Tensor | None
    scale: Tensor
    shift: Tensor

    def __init__(self, module: nn.Module, outputs: Tensor | None, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.module = module
        self.register_buffer("outputs", outputs)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, images: Tensor) -> Any:
        """Images B×C×H×W → the chosen outputs, B×len(outputs), or the whole answer."""
        # whole numbers have no scale: a teacher reads the same ids
        given = images * self.scale + self.shift if images.is_floating_point() else images
        answer = self.module(given)
        if self.outputs is None:
            return answer
        answer = answer[0] if isinstance(answer, tuple) else answer
        return answer[:, self.outputs]


def untranslated(module: nn.Module) -> nn.Module:
    """A teacher's own module."""
    return module.module if isinstance(module, Translated) else module


def translated(teacher: Network, student: Network, name: str, *, outputs: bool = True) -> tuple[Network, str]:
    """The teacher for this student, and a note on what was done; the teacher itself where nothing is needed.

    Args:
        teacher: knows the student's classes by name, perhaps more of them or in another order.
        student: whose classes and preprocessing the training follows.
        name: of the teacher, for messages.
        outputs: whether its outputs are compared; without, it may have any classes.

    Raises:
        Refusal: RCP0914: the teacher does not know a class, or reads other channels or other kinds of numbers.
    """
    if teacher.inputs.whole != student.inputs.whole:
        raise Refusal(
            "RCP0914",
            f"the teacher `{name}` reads {teacher.inputs}, the network {student.inputs}",
            "use a teacher for the same inputs",
        )
    if not student.inputs.whole and teacher.input_shape[0] != student.input_shape[0]:
        raise Refusal(
            "RCP0914",
            f"the teacher `{name}` reads {teacher.input_shape[0]} channels, the network {student.input_shape[0]}",
            "use a teacher for the same images",
        )
    if outputs and teacher.task != student.task:
        raise Refusal(
            "RCP0914",
            f"the teacher `{name}` was made for the task {teacher.task}, the network for {student.task}",
            "use a teacher of the same task",
        )
    chosen, note = tuple(range(len(student.classes))), ""
    if outputs and teacher.classes and student.classes and teacher.classes != student.classes:
        found = match(teacher.classes, student.classes)
        if found is None:
            raise Refusal(
                "RCP0914",
                f"the teacher `{name}` does not know {unknown_to(teacher.classes, student.classes)} of the network; "
                f"it knows {listed(teacher.classes)}",
                "use a teacher trained on these classes, in any order",
            )
        chosen, note = found.outputs, _note(teacher, student, name, found.how)
    scale, shift = _renormalisation(student.preprocessing, teacher.preprocessing)
    same_images = bool((scale == 1).all() and (shift == 0).all())
    if same_images and (not outputs or chosen == tuple(range(len(teacher.classes)))):
        return teacher, note
    module = Translated(teacher.module, torch.tensor(chosen) if outputs and student.classes else None, scale, shift)
    return replace(teacher, module=module, classes=student.classes, preprocessing=student.preprocessing), note


def all_translated(
    teachers: Sequence[Teacher], student: Network, *, outputs: bool = True
) -> tuple[tuple[Teacher, ...], tuple[str, ...]]:
    """Every teacher for this student, and the notes; see `translated`."""
    found = [(t.name, *translated(t.network, student, t.name, outputs=outputs)) for t in teachers]
    made = tuple(Teacher(name, network, t.network) for t, (name, network, _) in zip(teachers, found, strict=True))
    return made, tuple(note for *_, note in found)


def _note(teacher: Network, student: Network, name: str, how: str) -> str:
    if how == "imagenet":
        return f"the classes of `{name}` are matched by WordNet number"
    if how != "name":
        return f"`{name}` names its classes differently: they are matched by number"
    if len(teacher.classes) > len(student.classes):
        return f"{len(student.classes)} of the {len(teacher.classes)} classes of `{name}` are used, matched by name"
    return f"the classes of `{name}` are matched by name"


def _renormalisation(given: Preprocessing | None, wanted: Preprocessing | None) -> tuple[Tensor, Tensor]:
    """scale and shift, 1×C×1×1, such that images·scale + shift are normalised as `wanted`."""
    if given is None or wanted is None or (given.mean, given.std) == (wanted.mean, wanted.std):
        return torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
    mean, std = (torch.tensor(part, dtype=torch.float64) for part in (given.mean, given.std))
    own_mean, own_std = (torch.tensor(part, dtype=torch.float64) for part in (wanted.mean, wanted.std))
    scale, shift = std / own_std, (mean - own_mean) / own_std
    return scale.float().view(1, -1, 1, 1), shift.float().view(1, -1, 1, 1)
