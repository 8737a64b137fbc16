"""The network that accompanies the records: a module, how it was made, and what limits its numbers.

A compressed model is (constructor, edit log, restrictions, weights): `source` builds the original architecture, `edits`
replayed on it give the current one, `restrictions` limit its numbers, the weights are the module's state.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeAlias

from torch import Tensor, nn

from recipelang.images.preprocessing import entries
from recipelang.kinds import DEFAULT_TASK, FLOATING, GOALS, Inputs, Preprocessing, Restriction
from recipelang.surgery.entries import MOST_TENSORS, Wrong, entry, mapping, sequence, text
from recipelang.surgery.restrictions.mask import Mask
from recipelang.surgery.weights import digest

#: place → the restrictions there, at most one of each kind
Restrictions: TypeAlias = Mapping[str, tuple[Restriction, ...]]


@dataclass(frozen=True)
class Habits:
    """What was found about a network when it was first run.

    Attributes:
        changes_input: it changes its input images, so its `forward` works on a copy of them.
        answer: the path of its scores in its output in evaluation mode; () where it returns nothing else.
        contiguous: it depends on images and weights in torch's default order, channels first (`surgery/layout.py`).
        notes: for the user, for example on a head that was replaced.
    """

    changes_input: bool = False
    answer: tuple[str | int, ...] = ()
    contiguous: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Accelerated:
    """What `accelerate` asks of the deployed form.

    Attributes:
        layers: paths of the layers that may execute as sparse.
        kernels: the names of the kernels that may be chosen; `dense` among them allows a layer to stay dense.
        goal: `latency` or `memory`.
        int8: whether their weights are rounded to 8 bits.
        runtimes: the names of the runtimes of which the fastest executes it where it is timed; none: torch does.
    """

    layers: tuple[str, ...]
    kernels: tuple[str, ...]
    goal: str
    int8: bool = False
    runtimes: tuple[str, ...] = ()

    def json(self) -> dict[str, Any]:
        """The fields, lists for tuples; without `runtimes` where there are none, as older versions wrote it."""
        told = {**asdict(self), "layers": list(self.layers), "kernels": list(self.kernels)}
        runtimes = told.pop("runtimes")
        return {**told, "runtimes": list(runtimes)} if runtimes else told

    @staticmethod
    def read(value: Any) -> Accelerated | None:
        """What `json` made; None where nothing is accelerated.

        Raises:
            Wrong: it describes nothing.
        """
        if value is None:
            return None
        told = mapping(value, "`accelerated`")
        names = {key: sequence(entry(told, key), f"`{key}`", MOST_TENSORS) for key in ("layers", "kernels")}
        names["runtimes"] = sequence(told.get("runtimes", []), "`runtimes`", MOST_TENSORS)
        for each in names.values():
            for name in each:
                text(name, "a name of `accelerated`")
        goal, int8 = entry(told, "goal"), entry(told, "int8")
        if not isinstance(goal, str) or goal not in GOALS or not isinstance(int8, bool):
            raise Wrong("`goal` or `int8` of `accelerated` is invalid")
        return Accelerated(tuple(names["layers"]), tuple(names["kernels"]), goal, int8, tuple(names["runtimes"]))


@dataclass(frozen=True)
class Network:
    """A module, the way to rebuild it, and what is needed to use it.

    Attributes:
        module: in training form (BatchNorm not folded). Treat it as read-only: stages work on `clone()`.
        source: JSON that `recipelang.surgery.artifact` rebuilds the original from:
            {"model": method name, "settings": {…}, "classes": […], "input_shape": [C, H, W]}, "task": its name where it
            is not classification, the entries of its `inputs` where these are whole numbers, and "built": what a
            library built it from (`surgery/libraries.py`).
        edits: the edit log, in order (`recipelang.surgery.edits`).
        restrictions: place → the restrictions there, one of a kind and at most one that computes
            (`surgery/restricting.py`).
        input_shape: of one input: (channels, height, width) for images.
        classes: class names, in the order of the outputs; none where the task has no classes.
        preprocessing: how an image becomes an input.
        accelerated: settings of `accelerate`; None where the deployed form runs dense.
        encoded: the encoder that its files are written with; "": none.
        habits: what was found about it when it was first run (`recipelang.surgery.probe`).
        inputs: what the numbers of its inputs are.
    """

    module: nn.Module
    source: dict[str, Any]
    input_shape: tuple[int, ...]
    edits: tuple[Any, ...] = ()
    restrictions: Restrictions = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None
    accelerated: Accelerated | None = None
    encoded: str = ""
    habits: Habits = Habits()
    inputs: Inputs = FLOATING

    @property
    def masks(self) -> dict[str, Mask]:
        """Parameter name → its mask."""
        return {place: one for place, each in self.restrictions.items() for one in each if isinstance(one, Mask)}

    @property
    def task(self) -> str:
        """The name of the task that it is for."""
        return str(self.source.get("task", DEFAULT_TASK))

    def clone(self) -> Network:
        """The same network with its own copy of the module."""
        return replace(self, module=copy.deepcopy(self.module))

    def on_cpu(self) -> Network:
        """The network with its parameters on the CPU: this one where they are there already, else a copy."""
        if all(parameter.device.type == "cpu" for parameter in self.module.parameters()):
            return self
        return replace(self, module=copy.deepcopy(self.module).cpu())

    def restricted(self, more: Mapping[str, Restriction]) -> Network:
        """The same module with these restrictions, each in place of an earlier one of its kind, and of any that
        computes where it computes itself: a weight is on a grid or in a codebook, not on one after the other."""
        found = dict(self.restrictions)
        for place, one in more.items():
            others = (other for other in found.get(place, ()) if other.kind != one.kind)
            found[place] = (*(other for other in others if not (one.computes and other.computes)), one)
        return replace(self, restrictions=found)

    def described(self) -> dict[str, Any]:
        """Everything that the network is apart from its tensors, as JSON; with `tensors` it decides all that it does.

        Its habits are left out: whoever builds it from this finds them again.
        """
        return {
            "source": self.source,
            "input_shape": list(self.input_shape),
            **self.inputs.json(),
            "classes": list(self.classes),
            "preprocessing": entries(self.preprocessing) if self.preprocessing else None,
            "accelerated": self.accelerated.json() if self.accelerated else None,
            **({"encoded": self.encoded} if self.encoded else {}),
            "edits": [edit.json() for edit in self.edits],
            "restrictions": {
                place: [{"kind": one.kind, **one.json()} for one in each]
                for place, each in sorted(self.restrictions.items())
                if each
            },
        }

    def restricting(self) -> dict[str, Tensor]:
        """The tensors of all restrictions: `layer1.0.conv1.weight@mask.keep`."""
        return {
            tensor_name(place, one.kind, name): tensor
            for place, each in self.restrictions.items()
            for one in each
            for name, tensor in one.tensors().items()
        }

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor that the network is made of: the module's state, and the tensors of its restrictions."""
        return {**self.module.state_dict(), **self.restricting()}


def tensor_name(place: str, kind: str, name: str) -> str:
    """The name of a restriction's tensor, which no parameter of a module can have."""
    return f"{place}@{kind}.{name}"


def content(network: Network) -> str:
    """Digest of everything that a network is: what it says of itself, and every tensor."""
    return digest(network.tensors(), of=json.dumps(network.described(), sort_keys=True))
