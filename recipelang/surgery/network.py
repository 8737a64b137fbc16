"""The network that accompanies the records: a module and how it was made.

A compressed model is (constructor, edit log, weights): `source` builds the original architecture, `edits`
replayed on it give the current one, the weights are the module's state.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from recipelang.kinds import Preprocessing


@dataclass(frozen=True)
class Mask:
    """Which elements of a weight may be nonzero, and the name of the pattern: `2:4`."""

    pattern: str
    keep: Tensor  # bool, the shape of the weight


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
class Network:
    """A module, the way to rebuild it, and what is needed to use it.

    Attributes:
        module: in training form (BatchNorm not folded). Treat it as read-only: stages work on `clone()`.
        source: JSON that `recipelang.surgery.artifact` rebuilds the original from:
            {"model": method name, "settings": {…}, "classes": […], "input_shape": [C, H, W]}.
        edits: the edit log, in order (`recipelang.surgery.edits`).
        masks: parameter name → Mask.
        input_shape: (channels, height, width).
        classes: class names, in the order of the outputs.
        preprocessing: how an image becomes an input.
        accelerated: settings of `accelerate`; None where the deployed form runs dense.
        habits: what was found about it when it was first run (`recipelang.surgery.probe`).
    """

    module: nn.Module
    source: dict[str, Any]
    input_shape: tuple[int, int, int]
    edits: tuple[Any, ...] = ()
    masks: dict[str, Mask] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None
    accelerated: dict[str, Any] | None = None
    habits: Habits = Habits()

    def clone(self) -> Network:
        """The same network with its own copy of the module."""
        return replace(self, module=copy.deepcopy(self.module), masks=dict(self.masks))
