"""`model METHOD [as NAME]`: the network to work on, or a second one by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.meaning import names
from recipelang.meaning.reader import Reader
from recipelang.meaning.verb import Clause, Verb
from recipelang.plan import Built, Needs


@dataclass(frozen=True)
class Model:
    """The network to work on; with a name, another network to distill from."""

    verb: ClassVar[str] = "model"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "setup"
    before_healthy: ClassVar[bool] = True

    method: Any
    name: str = ""

    def needs(self) -> Needs:
        """The network to build."""
        return Needs(writes=Built(self.method, self.name))


def read(reader: Reader) -> Model | None:
    """`model resnet56(weights="…")`, `model torchvision.resnet18 as teacher`."""
    node = reader.operand("one model", "write `model resnet56` or `model torchvision.resnet18(…)`")
    method = reader.method(node, "model", "`model`", "model resnet56") if node is not None else None
    name = reader.argument("as")
    return reader.done(Model(method, (names.new(reader, name, "model") or "") if name is not None else ""))


VERB = Verb(
    summary="Names the network to work on; with `as`, another network to distill from.",
    operands="a model",
    accepts=("model",),
    clauses=(Clause("as", "a name for a second network", accepts=("name",)),),
    example='model resnet56(weights="resnet56.safetensors")\nmodel torchvision.resnet50(weights="DEFAULT") as teacher',
    read=read,
    operation=Model,
    rules=("A recipe works on one network; every other one has a name.",),
    top_level=True,
    once=True,
    provides="model",
)
