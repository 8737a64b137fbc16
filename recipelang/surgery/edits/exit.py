"""A network that answers earlier, with a classifier behind one of its modules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.surgery import exits
from recipelang.surgery.chance import random_numbers
from recipelang.surgery.entries import MOST_TENSORS, Wrong, sequence, text, whole

#: bounds of what a file may say
MOST_CLASSES, MOST_SIZE, MOST_EXPAND = 1_000_000, 100_000, 64


@dataclass(frozen=True)
class LeaveAt:
    """Let a network end behind a module, with a classifier whose answer is zero until weights are loaded.

    Attributes:
        exit: where, and the classifier.
        gone: modules that leave the network.
    """

    kind: ClassVar[str] = "exit"
    resizes: ClassVar[bool] = True

    exit: exits.Exit
    gone: tuple[str, ...]

    def __str__(self) -> str:
        return f"ending behind `{self.exit.path}`"

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> LeaveAt:
        """The edit of an entry of a log.

        Raises:
            Wrong: it is not as `json` writes it.
        """
        if entry.keys() != {"edit", "path", "shape", "axis", "classes", "expand", "gone"}:
            raise Wrong("it has other entries than `path`, `shape`, `axis`, `classes`, `expand` and `gone`")
        shape = tuple(whole(size, "a size of `shape`", MOST_SIZE) for size in sequence(entry["shape"], "`shape`", 3))
        axis, gone = entry["axis"], sequence(entry["gone"], "`gone`", MOST_TENSORS)
        if len(shape) not in (2, 3) or 0 in shape or type(axis) is not int or not 1 <= axis <= 3:
            raise Wrong("its `shape` and `axis` are not those of a map or of tokens")
        place = exits.Exit(
            text(entry["path"], "`path`"),
            shape,
            axis,
            whole(entry["classes"], "`classes`", MOST_CLASSES),
            whole(entry["expand"], "`expand`", MOST_EXPAND),
        )
        if not (place.path and place.classes and place.expand):
            raise Wrong("its `path`, `classes` or `expand` is empty")
        return cls(place, tuple(text(path, "a path of `gone`") for path in gone))

    def json(self) -> dict[str, Any]:
        """`{"edit": "exit", "path": "layer1.2", "shape": [16, 8, 8], "axis": 1, "classes": 10, "expand": 4, …}`."""
        place = self.exit
        told = {"path": place.path, "shape": list(place.shape), "axis": place.axis, "classes": place.classes}
        return {"edit": self.kind, **told, "expand": place.expand, "gone": list(self.gone)}

    def apply(self, module: nn.Module) -> None:
        """Change the module in place.

        Raises:
            Refusal: RCP0701: it has no such modules, or has an exit already.
        """
        try:
            for path in (self.exit.path, *self.gone):
                module.get_submodule(path)
            if isinstance(module, exits.Exited) or any(_within(self.exit.path, path) for path in self.gone):
                raise AttributeError("the network ends earlier already")
        except AttributeError as error:
            raise Refusal(
                "RCP0701",
                f"the network cannot end behind `{self.exit.path}` as the edit log says: {error}",
                "use the folder as it was written, with the code that the network was built from",
            ) from error
        with random_numbers():
            head = self.exit.head()
        nn.init.zeros_(head.classify.weight)
        nn.init.zeros_(head.classify.bias)
        some = next(module.parameters(), None)
        exits.leave(module, self.exit, self.gone, head if some is None else head.to(some.device))

    def left(self, name: str, tensor: Tensor) -> Tensor | None:
        """The tensor, or None where a module that is gone holds the parameter or buffer of this name."""
        return None if self.removes(name) else tensor

    def removes(self, path: str) -> bool:
        """Whether the module or parameter at this path is behind the exit."""
        return any(_within(path, gone) for gone in self.gone)

    def run_neutralised(self, module: nn.Module, example: Tensor) -> Any:
        """Run the unchanged module; a classifier without weights answers zero."""
        with self.neutralised(module):
            return module(example)

    def _zero(self, module: nn.Module, args: Any, output: Any) -> Tensor:
        return torch.zeros(len(args[0]), self.exit.classes, device=args[0].device)

    @contextmanager
    def neutralised(self, module: nn.Module) -> Iterator[None]:
        """Inside the block the module runs, and its answer is zero, B×classes."""
        hook = module.register_forward_hook(self._zero)
        try:
            yield
        finally:
            hook.remove()


def _within(path: str, outer: str) -> bool:
    return path == outer or path.startswith(outer + ".")
