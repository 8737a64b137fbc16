"""What executes a network: the runtimes that `latency(runtime=NAME)` times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

from recipelang.kinds.progress import Progress

#: What weights, inputs and activations can be.
PRECISIONS = ("float32", "float16", "bfloat16")
#: What `accelerate` is for.
GOALS = ("latency", "memory")


@dataclass(frozen=True)
class Deployment:
    """How a deployed network is called.

    Attributes:
        device: `cpu`, `cuda` or `cuda:N`.
        precision: one of `PRECISIONS`: of weights, inputs and activations.
        compiled: whether the runtime compiles it first.
        batch: inputs in one call: kernels are chosen for it, and accept smaller ones too.
        threads: CPU threads, where a runtime fixes them when it prepares.
    """

    device: str = "cpu"
    precision: str = "float32"
    compiled: bool = False
    batch: int = 1
    threads: int = 1

    def __str__(self) -> str:
        compiled = ", compiled" if self.compiled else ""
        return f"{self.device}, {self.precision}, batch {self.batch}{compiled}"


@dataclass(frozen=True)
class LayerExecution:
    """How one layer executes, and why.

    Attributes:
        layer: its path, or the name of a removed layer.
        shape: of its weight.
        executes: `removed`, `dense`, `masked only` (zeros are multiplied like any other number), `never` (used in
            training only), or what the runtime does instead: a kernel's name, `int8`.
        why: the reason, for the reader of a report.
    """

    layer: str
    shape: tuple[int, ...]
    executes: str
    why: str

    @property
    def multiplies(self) -> bool:
        """Whether it takes part in evaluation."""
        return self.executes not in ("removed", "never")

    @property
    def in_integers(self) -> bool:
        """Whether its products are of integers: `int8`, `int4`."""
        return self.executes.startswith("int")


class Executable(Protocol):
    """A network that a runtime has prepared: call it on inputs on its device and in its precision.

    Attributes:
        note: what must be said beside its time; "" if nothing.

    Optional:
        inputs: `Inputs`, where it is not called with floating-point numbers; ask `inputs_of`.
    """

    @property
    def note(self) -> str: ...

    def __call__(self, inputs: Any) -> Any:
        """Inputs B×…, at most as many as the batch that it was prepared for → the network's answer."""

    def execution(self) -> tuple[LayerExecution, ...]:
        """How each layer executes, in the order of the network."""


class Finding(NamedTuple):
    """One thing that a recipe may need, as `recipe doctor` shows it.

    Attributes:
        what: the thing.
        value: what was found.
        verdict: `ok`, `limited` (works, with the limits in `advice`), or `missing`.
        advice: what it means and what to do; "" if there is nothing to do.
    """

    what: str
    value: str
    verdict: str
    advice: str = ""


class Runtime(Protocol):
    """`latency(runtime=NAME)`.

    Attributes:
        devices: kinds of device that it executes on: `cpu`, `cuda`.
        precisions: what it computes in.
        compiles: whether it has another way of compiling networks, which `compiled=true` asks for.
        brief: whether preparing takes less than a second, so that `recipe plan` may time it.

    Optional:
        watches: whether what it prepares has `watch() -> kinds.Watch`, which times its layers; default false.
    """

    devices: ClassVar[tuple[str, ...]]
    precisions: ClassVar[tuple[str, ...]]
    compiles: ClassVar[bool]
    brief: ClassVar[bool]

    def require(self) -> None:
        """Refuse a machine that lacks it, before any work.

        Raises:
            Refusal: RCP1027: a library is not installed; the help says how to install it.
        """

    def versions(self, network: Any) -> Mapping[str, Any]:
        """The software that determines how fast it executes a network, as JSON: part of a measurement's key."""

    def prepare(self, network: Any, how: Deployment, progress: Progress | None = None) -> Executable:
        """The network (`surgery.network.Network`), ready to be timed.

        Its answers have been compared with those of the deployed form, in which quantization is simulated.

        Raises:
            Refusal: RCP1027: the runtime is not installed; RCP1028: it gives other answers; RCP1029: it cannot execute
                this network; RCP1305: it cannot execute as the recipe demands.
        """

    def findings(self) -> tuple[Finding, ...]:
        """What this machine has of it, for `recipe doctor`."""
