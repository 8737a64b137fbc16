"""What a metric must offer, and what it measures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from recipelang.kinds.layer_times import LayerTimes

if TYPE_CHECKING:
    import numpy

    from recipelang.kinds.task import Task


@dataclass(frozen=True)
class Percentiles:
    """How the times of a clock are spread.

    Attributes:
        p50, p90, p99: in base units; half, 90 % and 99 % of the samples are no longer.
        n: number of samples. calls: of how many calls in a row each sample is the mean; 1 unless a call is shorter than
            the clock can time.
    """

    p50: float
    p90: float
    p99: float
    n: int
    calls: int = 1


@dataclass(frozen=True)
class Measurement:
    """One measured number.

    Attributes:
        value: in base units (s, B, a fraction of 1, a count).
        low, high: 95 % interval; equal to `value` for computed numbers.
        n: samples, pairs or 1.
        interval: how the interval was found: "Wilson", "bootstrap of 60 pairs", "".
        ratio, ratio_low, ratio_high: against healthy, for clocks, which are timed interleaved with it.
        per_sample: float32 N, one value per sample, for paired differences; None where there are none.
        note: what the number covers or leaves out, for the reader: "of 5,312 weights".
        percentiles: of a clock that times single calls; None for other numbers.
        layers: of a clock that times layers: what each takes; None for other numbers.
    """

    value: float
    low: float
    high: float
    n: int = 1
    interval: str = ""
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    per_sample: numpy.ndarray | None = field(default=None, compare=False, repr=False)
    note: str = ""
    percentiles: Percentiles | None = None
    layers: LayerTimes | None = None


class Metric(Protocol):
    """`latency(batch=1)`, `top1`, `flops`.

    Attributes:
        role: `cost` (ratio to healthy against a bare number), `quality` (has `drop` or `rise`), `property`.
        better: `lower` or `higher`; removal lowers costs, or raises those of which more is better.
        unit: for `units.show`.
        bounds: optional, the range of its values; default 0 to 1 for the unit `%`, and from 0 up for a cost.
        source: what it is measured from, and so which signature `measure` has:
            `structure`    measure(deployed: nn.Module, network: Network, input_shape) -> Measurement
            `predictions`  see `PredictionMetric`
            `clock`        measure(executable, healthy_executable, input_shape, progress) -> Measurement; it also has
                           `runtime`, which prepares both, and `deployment`, how (`kinds/runtime.py`); optional:
                           glance(executable, healthy_executable, input_shape) -> Measurement, in a second, for plans
            `execution`    measure(rows, network, input_shape) -> Measurement; rows say how each layer executes
                           (`kinds.LayerExecution`); it has `runtime` and `deployment`, as a clock has

    Optional:
        machine: whether a metric of the structure depends on the machine, which then enters the key of its number.
        require(): refuses, before any work, a machine that cannot measure it.
        by_bits: whether a cost depends on how many bits numbers have; default true.

    A metric whose formula changes declares `version: ClassVar[int]`, 1 where it does not, and numbers measured by
    another version are not read from the store.
    """

    role: ClassVar[str]
    better: ClassVar[str]
    unit: ClassVar[str]
    source: ClassVar[str]


class PredictionMetric(Protocol):
    """A metric of answers and targets, batch by batch: the outputs of a whole split are never in memory together.

    Attributes:
        tasks: names of the tasks whose answers it measures; () is every task.
    """

    tasks: ClassVar[tuple[str, ...]]

    def start(self, task: Task) -> Any:
        """The state before the first batch. `task` is the recipe's, whose settings it may use."""

    def add(self, state: Any, answer: Any, targets: Any) -> Any:
        """The state after one more batch of the task's answers and targets, on the device where they are."""

    def result(self, state: Any) -> Measurement:
        """The measurement over all batches.

        Raises:
            Refusal: RCP10xx: there were none, or they cannot be measured.
        """
