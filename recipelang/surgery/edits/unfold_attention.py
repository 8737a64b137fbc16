"""Attention of torch in a form whose heads can be removed: the same function of the same parameters."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.surgery.entries import MOST_TENSORS, Wrong, sequence, text
from recipelang.surgery.headed import unfold


@dataclass(frozen=True)
class UnfoldAttention:
    """Make layers `nn.MultiheadAttention` layers whose heads can be removed; nothing else changes.

    Attributes:
        paths: of the layers.
    """

    kind: ClassVar[str] = "unfold_attention"
    resizes: ClassVar[bool] = False
    rewrites: ClassVar[bool] = True

    paths: tuple[str, ...]

    def __str__(self) -> str:
        return f"unfolding `{self.paths[0]}`" + (f" and {len(self.paths) - 1} more" if len(self.paths) > 1 else "")

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> UnfoldAttention:
        """The edit of an entry of a log.

        Raises:
            Wrong: it is not as `json` writes it.
        """
        if entry.keys() != {"edit", "paths"}:
            raise Wrong("it has other entries than `edit` and `paths`")
        paths = tuple(text(path, "a path") for path in sequence(entry["paths"], "`paths`", MOST_TENSORS))
        if not paths or not all(paths) or len(set(paths)) != len(paths):
            raise Wrong("its `paths` are not those of layers")
        return cls(paths)

    def json(self) -> dict[str, Any]:
        """`{"edit": "unfold_attention", "paths": ["encoder.layers.0.self_attn"]}`."""
        return {"edit": self.kind, "paths": list(self.paths)}

    def apply(self, module: nn.Module) -> None:
        """Change the module in place.

        Raises:
            Refusal: RCP0701: there is no such layer.
        """
        try:
            unfold(module, self.paths)
        except (AttributeError, TypeError) as error:
            raise Refusal(
                "RCP0701",
                f"attention cannot be unfolded as the edit log says: {error}",
                "use the folder as it was written, with the code that the network was built from",
            ) from error

    def left(self, name: str, tensor: Tensor) -> Tensor:
        """The tensor itself."""
        return tensor

    def removes(self, path: str) -> bool:
        """Nothing is removed."""
        return False

    def run_neutralised(self, module: nn.Module, example: Tensor) -> Any:
        """Run the module as it is."""
        return module(example)

    def neutralised(self, module: nn.Module) -> AbstractContextManager[None]:
        """Inside the block the module is as it is."""
        return nullcontext()
