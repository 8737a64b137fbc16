"""What a model method must offer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from recipelang.kinds.inputs import FLOATING, Inputs

if TYPE_CHECKING:
    from recipelang.kinds.task import Task


@dataclass(frozen=True)
class ModelRequest:
    """What a model is built for."""

    classes: tuple[str, ...] | None = None  # class names of the data; None where there is no data, or it has none
    input_shape: tuple[int, ...] | None = None  # of one input of the data: (channels, height, width) for images
    resolve: Callable[[str], Path] = Path  # turns a path of the recipe into a path on this machine
    trust: bool = False  # whether Python code that the recipe names may run
    weights: bool = True  # False builds the architecture alone (rebuilding from an artifact)
    redrawn: bool = False  # whether weights with which a network comes are drawn again at random
    task: Task | None = None  # what the network is for; None is classification
    inputs: Inputs = FLOATING  # what the numbers of an input are; `input_shape` is beside it
    target_shape: tuple[int, ...] | None = None  # of one target of the data, where the answer must have its shape
    #: `Network.source["built"]` of a saved network that is built again: its library, version, configuration; else {}
    built: Mapping[str, Any] = field(default_factory=dict)


class ModelMethod(Protocol):
    """`model NAME(…)`.

    Attributes:
        tasks: optional, names of the tasks that its networks are for; () or none is every task.
    """

    def files(self, resolve: Callable[[str], Path]) -> tuple[Path, ...]:
        """The files that decide what `build` gives; their contents enter the key, their paths do not."""

    def build(self, request: ModelRequest) -> Any:
        """A `recipelang.surgery.network.Network`, weights loaded, edits replayed.

        Raises:
            Refusal: RCP07xx: no such model, weights missing or of another shape, or code not trusted.
        """

    @property
    def pretrained(self) -> bool:
        """Whether the network starts from given weights and not from random numbers."""
