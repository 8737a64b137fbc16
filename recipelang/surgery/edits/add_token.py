"""A distillation token and the head that reads it: `distill … with deit` trains them, and they stay."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.surgery.entries import Wrong
from recipelang.surgery.tokened import add_token, has_token


@dataclass(frozen=True)
class AddToken:
    """Give a vision transformer a distillation token; its answer is the mean of both heads."""

    kind: ClassVar[str] = "add_token"
    resizes: ClassVar[bool] = True
    rewrites: ClassVar[bool] = True

    def __str__(self) -> str:
        return "adding a distillation token and its head"

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> AddToken:
        """The edit of an entry of a log.

        Raises:
            Wrong: it is not as `json` writes it.
        """
        if entry.keys() != {"edit"}:
            raise Wrong("it has other entries than `edit`")
        return cls()

    def json(self) -> dict[str, Any]:
        """`{"edit": "add_token"}`."""
        return {"edit": self.kind}

    def apply(self, module: nn.Module) -> None:
        """Change the module in place.

        Raises:
            Refusal: RCP0701: it cannot have a distillation token, or has one.
        """
        try:
            if has_token(module):
                raise ValueError("it has one")
            add_token(module)
        except ValueError as error:
            raise Refusal(
                "RCP0701",
                f"the network cannot be given a distillation token as the edit log says: {error}",
                "use the folder as it was written, with the libraries that the network was built from",
            ) from error

    def left(self, name: str, tensor: Tensor) -> Tensor:
        """The tensor itself."""
        return tensor

    def removes(self, path: str) -> bool:
        """Nothing is removed."""
        return False

    def run_neutralised(self, module: nn.Module, example: Tensor) -> Any:
        """Run a copy with a token: nothing is neutralised, and every other token attends to one more."""
        changed = copy.deepcopy(module)
        self.apply(changed)
        return changed(example)

    def neutralised(self, module: nn.Module) -> AbstractContextManager[None]:
        """Inside the block the module is as it is."""
        return nullcontext()
