"""`accelerate [with KERNEL, RUNTIME] [by latency | memory]`: sparse kernels and runtimes, chosen by measurement."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.kinds import GOALS
from recipelang.meaning import modules
from recipelang.meaning.reader import Reader
from recipelang.meaning.training import names
from recipelang.meaning.verb import Clause, Verb
from recipelang.plan import Needs, Selection, later
from recipelang.syntax.show import show


@dataclass(frozen=True)
class Accelerate:
    """Execute N:M-sparse layers as sparse, and the network by the fastest runtime, where this machine supports it."""

    verb: ClassVar[str] = "accelerate"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "execution"
    before_healthy: ClassVar[bool] = False

    kernels: tuple[Any, ...] = ()
    goal: str = "latency"
    selection: Selection = Selection()
    runtimes: tuple[Any, ...] = later(())

    def needs(self) -> Needs:
        """The layers that it works on."""
        return Needs(selection=self.selection)


def read(reader: Reader) -> Accelerate | None:
    """`accelerate`, `accelerate with dense except "fc"`, `accelerate by latency with onnxruntime, openvino`."""
    reader.no_operands()
    given = reader.arguments("with")
    executing = tuple(node for node in given if names(node, "runtime"))
    kernels = reader.methods(tuple(n for n in given if n not in executing), "kernel", "`with`", "with dense")
    runtimes = reader.methods(executing, "runtime", "`with`", "with onnxruntime")
    for name, count in Counter(one.name for one in (*kernels, *runtimes)).items():
        if count > 1 and not reader.failed:
            help = "name each once: its settings hold for every layer"
            span = next(item.span for item in reversed(given) if show(item).startswith(name))
            reader.refuse("RCP0408", f"`{name}` appears twice", span, help)
    goal = reader.argument("by")
    word = reader.word(goal, "what to accelerate for", GOALS) if goal is not None else GOALS[0]
    if runtimes and word == "memory":
        message = "runtimes are chosen by latency, and this asks for memory"
        reader.refuse("RCP1460", message, executing[0].span, f"write `by latency`, or leave `{runtimes[0].name}` out")
    elif runtimes and kernels and not any(one.name == "torch" for one in runtimes):
        message = f"`{kernels[0].name}` is a kernel of torch, and torch is not among the runtimes"
        reader.refuse("RCP1460", message, executing[0].span, "add `torch`, or leave the kernels out")
    return reader.done(Accelerate(kernels, word or GOALS[0], modules.selection(reader), runtimes))


VERB = Verb(
    summary="Executes sparse layers as sparse, and a quantized network by the fastest runtime, as measurements choose.",
    operands="nothing",
    clauses=(
        Clause(
            "with",
            "the kernels and runtimes to choose from",
            default="all that this machine has",
            accepts=("kernel", "runtime"),
        ),
        Clause("by", "`latency` or `memory`", default="latency", words=("latency", "memory")),
        Clause("in", "layers to consider", default="all that are sparse", accepts=("modules",)),
        Clause("except", "layers to leave dense", accepts=("modules",)),
    ),
    example="sparsify nm 2:4\ndistill from healthy\naccelerate",
    read=read,
    operation=Accelerate,
    rules=(
        "It is a property of the deployed form, so training may follow it, but removing layers may not.",
        "A layer must already be in a pattern or quantized; a second `accelerate` replaces the first.",
        "A quantized network is executed by the fastest of `onnxruntime`, `openvino` and `torch`, or of those that "
        "`with` names, wherever it is timed: for each batch, device and number of threads it is chosen again. "
        "`latency` without `runtime=` then times healthy by the same one.",
    ),
    sparse_first=True,
)
