"""What the networks of `recipelang.nets` have in common as methods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import setting
from recipelang.errors import SettingError
from recipelang.kinds import ModelRequest

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class OwnModel(ABC):
    """A network of `recipelang.nets`: weights from a file or random, as many outputs as there are classes."""

    name: ClassVar[str]
    tasks: ClassVar[tuple[str, ...]] = ("classification", "multilabel")
    input_shape: ClassVar[tuple[int, int, int]]

    weights: str = setting("", type="text", hashed=False, help="File of weights: safetensors, or a plain state dict.")
    at: str = setting(
        "",
        type="text",
        help="State dict in the file, or prefix of its names; default `state_dict`, `model_state_dict`, `model`.",
    )
    classes: int | None = setting(None, type="integer", low=2, help="Number of outputs; default: that of the data.")
    width: float = setting(
        1.0,
        type="number",
        low=0.125,
        high=16,
        later=True,
        help="How many times as many filters every layer has, rounded.",
    )

    def __post_init__(self) -> None:
        require_file(self.at, self.weights)

    @abstractmethod
    def construct(self, channels: int, classes: int) -> nn.Module:
        """The architecture with random weights."""

    @property
    def pretrained(self) -> bool:
        """Whether the network starts from weights and not from random numbers."""
        return bool(self.weights) and self.classes is None

    def files(self, resolve: Callable[[str], Path]) -> tuple[Path, ...]:
        """The weights file, if there is one; all shards of an index."""
        from recipelang.surgery.checkpoints import files_of

        return files_of(resolve(self.weights)) if self.weights else ()

    def build(self, request: ModelRequest) -> Any:
        """The network; see `kinds.ModelMethod`."""
        from recipelang.surgery.assembly import assemble
        from recipelang.surgery.checkpoints import weights_for

        shape = request.input_shape or self.input_shape
        classes = self.classes or (len(request.classes) if request.classes else 10)
        return assemble(
            self.construct(shape[0], classes),
            request,
            model=self.name,
            settings={"width": self.width} if self.width != 1 else {},
            input_shape=shape,
            classes=self.classes,
            weights=weights_for(request, self.weights, self.at),
        )


def require_file(at: str, weights: str) -> None:
    """Refuse `at` where there is no file of weights that it could look into."""
    if at and not weights:
        raise SettingError("at", "`at` looks into a file of weights, and there is none", 'add `weights="FILE"`')
