"""Several copies of a network whose answers are averaged, as one network."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.surgery.averaged import FEWEST, MOST, Averaged, multiply
from recipelang.surgery.entries import Wrong, shown


@dataclass(frozen=True)
class Ensemble:
    """Make a network several copies of itself, `members.0` and so on, whose answers are averaged.

    Attributes:
        members: how many copies.
    """

    kind: ClassVar[str] = "ensemble"
    resizes: ClassVar[bool] = True

    members: int

    def __str__(self) -> str:
        return f"making {self.members} members of the network"

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> Ensemble:
        """The edit of an entry of a log.

        Raises:
            Wrong: it is not as `json` writes it.
        """
        if entry.keys() != {"edit", "members"}:
            raise Wrong("it has other entries than `edit` and `members`")
        members = entry["members"]
        if type(members) is not int or not FEWEST <= members <= MOST:
            raise Wrong(f"an ensemble has {shown(members)} members, not {FEWEST} to {MOST}")
        return cls(members)

    def json(self) -> dict[str, Any]:
        """`{"edit": "ensemble", "members": 3}`."""
        return {"edit": self.kind, "members": self.members}

    def apply(self, module: nn.Module) -> None:
        """Change the module in place.

        Raises:
            Refusal: RCP0701: it is a single layer, or an ensemble already.
        """
        if isinstance(module, Averaged) or not any(True for _ in module.children()):
            raise Refusal(
                "RCP0701",
                "only a network of several modules that is no ensemble yet can have members",
                "use the folder as it was written, with the code that the network was built from",
            )
        multiply(module, self.members)

    def left(self, name: str, tensor: Tensor) -> None:
        """Nothing under its name: the copies have names of their own."""

    def removes(self, path: str) -> bool:
        """Everything has another path."""
        return True

    def run_neutralised(self, module: nn.Module, example: Tensor) -> Any:
        """Run the module as it is: the mean of equal answers is that answer."""
        return module(example)

    def neutralised(self, module: nn.Module) -> AbstractContextManager[None]:
        """Inside the block the module is as it is."""
        return nullcontext()
