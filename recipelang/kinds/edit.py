"""What changes the structure of a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn


class Edit(Protocol):
    """One change of a network's structure, in one file under `surgery/edits/`, named by its kind.

    A frozen dataclass whose `str` says what it does: "removing `layer1.0`". The log of a network is made of these, as
    JSON; replayed on a new build it gives the same architecture.

    Attributes:
        kind: the name of its file, under `edit` in its JSON.
        resizes: whether the modules that stay may give outputs of another size: only the network's output is compared.

    Optional:
        rewrites: whether nothing is gone: modules compute the same in another form; default false.

    Optional, for edits that a unit makes:
        neutralised(module): a context manager: inside the block the module computes without what the edit removes, and
            afterwards it is as it was. `ablate` needs it.
    """

    kind: ClassVar[str]
    resizes: ClassVar[bool]

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> Edit:
        """The edit that `json` described, from a file that anyone may have written.

        Raises:
            Wrong: `recipelang.surgery.entries.Wrong`: the entry is not as `json` writes it.
        """

    def json(self) -> dict[str, Any]:
        """The edit as JSON, its kind under `edit`."""

    def apply(self, module: nn.Module) -> None:
        """Change the module in place."""

    def left(self, name: str, tensor: Tensor) -> Tensor | None:
        """What remains of a tensor of the shape of the parameter or buffer of this name: its mask, its scores, itself.

        The tensor itself where the edit does not touch it, None where all of it is removed.
        """

    def removes(self, path: str) -> bool:
        """Whether the edit removes the module or parameter at this path."""

    def run_neutralised(self, module: nn.Module, example: Tensor) -> Any:
        """Run the unchanged module as the changed one should answer."""
