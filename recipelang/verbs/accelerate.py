"""`accelerate [with KERNEL] [by latency | memory]`: execute sparse layers as sparse in the deployed form."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.meaning import modules
from recipelang.meaning.reader import Reader
from recipelang.meaning.verb import Clause, Verb
from recipelang.plan import Needs, Selection
from recipelang.syntax.show import show


@dataclass(frozen=True)
class Accelerate:
    """Execute N:M-sparse layers as sparse, where this machine supports it and it helps."""

    verb: ClassVar[str] = "accelerate"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "execution"
    before_healthy: ClassVar[bool] = False

    kernels: tuple[Any, ...] = ()
    goal: str = "latency"
    selection: Selection = Selection()

    def needs(self) -> Needs:
        """The layers that it works on."""
        return Needs(selection=self.selection)


GOALS = ("latency", "memory")


def read(reader: Reader) -> Accelerate | None:
    """`accelerate`, `accelerate with dense except "fc"`, `accelerate by memory`."""
    reader.no_operands()
    kernels = reader.methods(reader.arguments("with"), "kernel", "`with`", "with dense")
    for name, count in Counter(kernel.name for kernel in kernels).items():
        if count > 1 and not reader.failed:
            help = "name each once: its settings hold for every layer"
            span = next(item.span for item in reversed(reader.arguments("with")) if show(item).startswith(name))
            reader.refuse("RCP0408", f"`{name}` appears twice", span, help)
    goal = reader.argument("by")
    word = reader.word(goal, "what to accelerate for", GOALS) if goal is not None else GOALS[0]
    return reader.done(Accelerate(kernels, word or GOALS[0], modules.selection(reader)))


VERB = Verb(
    summary="Executes sparse layers as sparse in the deployed form, where this machine supports it and it helps.",
    operands="nothing",
    clauses=(
        Clause("with", "the kernels to choose from", default="all that this machine has"),
        Clause("by", "`latency` or `memory`", default="latency"),
        Clause("in", "layers to consider", default="all that are sparse"),
        Clause("except", "layers to leave dense"),
    ),
    example="sparsify nm 2:4\ndistill from healthy\naccelerate",
    read=read,
    operation=Accelerate,
    rules=(
        "It is a property of the deployed form, so training may follow it, but removing layers may not.",
        "A layer must already be in a pattern; a second `accelerate` replaces the first.",
    ),
    sparse_first=True,
)
