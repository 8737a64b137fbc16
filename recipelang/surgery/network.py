"""The network that travels beside the records: a module and how it came to be.

A compressed model is (constructor, edit log, weights): `source` builds the original architecture, `edits`
replayed on it give the present one, the weights are the module's state.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from recipelang.kinds import Preprocessing


@dataclass(frozen=True)
class Mask:
    """Which elements of a weight may be other than zero, and the name of the pattern: `2:4`."""

    pattern: str
    keep: Tensor  # bool, the shape of the weight


@dataclass(frozen=True)
class Habits:
    """What was found about a network when it came in.

    Attributes:
        changes_input: it writes into its images, so its `forward` works on a copy of them.
        answer: where in what it gives in evaluation mode its scores stand; () where it gives nothing else.
        contiguous: it relies on images and weights in torch's default order, channels first (`surgery/layout.py`).
        notes: what a user should know, such as a head that was replaced.
    """

    changes_input: bool = False
    answer: tuple[str | int, ...] = ()
    contiguous: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Network:
    """A module, the way to rebuild it, and what one needs to use it.

    Attributes:
        module: in training form (BatchNorm not folded). Treat it as read-only: stages work on `clone()`.
        source: JSON that `recipelang.surgery.artifact` rebuilds the original from:
            {"model": method name, "settings": {…}, "classes": […], "input_shape": [C, H, W]}.
        edits: the edit log, in order (`recipelang.surgery.edits`).
        masks: parameter name → Mask.
        input_shape: (channels, height, width).
        classes: class names, in the order of the outputs.
        preprocessing: how a picture becomes an input.
        accelerated: settings of `accelerate`; None where the deployed form runs dense.
        habits: what was found about it when it came in (`recipelang.surgery.probe`).
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
        """The same network with a module of its own."""
        return replace(self, module=copy.deepcopy(self.module), masks=dict(self.masks))
