"""What a first recipe is decided from: what the user wants, and what was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from recipelang.plan import Condition, Test, tests_of


@dataclass(frozen=True)
class Wish:
    """What the user says.

    Attributes:
        model, data, task: as a recipe writes them; "" for a task that model or data say themselves.
        device: where the network will be executed: `cpu`, `cuda` or `cuda:N`.
        batch: inputs of one call there.
        threads: CPU threads there.
        runtime: what executes it: a runtime of the catalogue.
        budget: what has to be reached; None leaves it to the rules.
        drop: how much of its quality the network may lose, in the unit of the task's metric.
    """

    model: str
    data: str
    task: str = ""
    device: str = "cpu"
    batch: int = 1
    threads: int = 1
    runtime: str = "torch"
    budget: Condition | None = None
    drop: float = 3.0

    @property
    def tests(self) -> tuple[Test, ...]:
        """The comparisons of the budget."""
        return tuple(tests_of(self.budget)) if self.budget is not None else ()


@dataclass(frozen=True)
class Parts:
    """What a unit can remove: how many groups there are, how many parts they have, how many of these can go."""

    groups: int = 0
    size: int = 0
    most: int = 0


@dataclass(frozen=True)
class Found:
    """What was found about the network.

    Attributes:
        parameters: their number.
        size: bytes of its weights.
        flops: of one input; None where they cannot be counted.
        convolved: the share of the FLOPs that convolutions compute.
        pretrained: whether it starts from trained weights.
        parts: unit → what it can remove; units that find nothing are left out.
        seconds: of a call on the machine, for the batch and device of the wish; None where it was not timed.
        removable: the share of that time that is in layers that can be removed; None where it was not timed.
        slowest: the layers that take longest: (path, share of the time), the longest first.
        notes: what the plan would note on it.
    """

    parameters: int
    size: int
    flops: int | None
    convolved: float
    pretrained: bool
    parts: Mapping[str, Parts]
    seconds: float | None = None
    removable: float | None = None
    slowest: tuple[tuple[str, float], ...] = ()
    notes: tuple[str, ...] = ()

    def has(self, unit: str) -> bool:
        """Whether a part of this unit can be removed."""
        return self.parts.get(unit, Parts()).most > 0

    @property
    def attends(self) -> bool:
        """Whether it is a transformer: attention whose heads can go, and convolutions compute the lesser part."""
        return self.has("heads") and self.convolved < 0.5


@dataclass(frozen=True)
class Samples:
    """What was found about the data.

    Attributes:
        train, val, test: number of samples.
        batch: of training.
        classes: their number; 0 where the task has none.
    """

    train: int
    val: int
    test: int
    batch: int
    classes: int = 0

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return max(1, self.train // max(1, self.batch))


@dataclass(frozen=True)
class Task:
    """What the network is for.

    Attributes:
        name: of the catalogue. metric: what its quality is measured by. better: `higher` or `lower`.
        unit: of the metric.
        labelled: whether it has classes, or labels.
        one_class: whether a sample has one class.
    """

    name: str = "classification"
    metric: str = "top1"
    better: str = "higher"
    unit: str = "%"
    labelled: bool = True
    one_class: bool = True


@dataclass(frozen=True)
class Machine:
    """What this machine has.

    Attributes:
        runtimes: those that are installed, beside torch.
        multiplies: whether its CPU multiplies 8-bit integers fast (VNNI or the like).
        sparse: whether the wanted device is an NVIDIA GPU whose tensor cores skip zeros of 2:4 (compute capability 8.0
            or higher).
        gpu: its name; "" where the device is no GPU.
    """

    runtimes: tuple[str, ...] = ()
    multiplies: bool = False
    sparse: bool = False
    gpu: str = ""


@dataclass(frozen=True)
class Facts:
    """Everything that the rules read."""

    wish: Wish
    found: Found
    samples: Samples
    task: Task = field(default_factory=Task)
    machine: Machine = field(default_factory=Machine)

    @property
    def on_gpu(self) -> bool:
        """Whether the network will be executed on a GPU."""
        return self.wish.device != "cpu"
