"""The Protocols that methods fulfil, and the values that pass between methods and stages.

A kind is one role that several methods fill: every criterion ranks, every loss compares, every metric
measures. Shapes: B images in a batch, C classes or channels, H×W pixels, N samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from recipelang.evidence import Evidence as Evidence  # belongs here with the others, but has a file of its own

if TYPE_CHECKING:
    import numpy
    import torch
    from torch import Tensor, nn

    from recipelang.plan import Mark


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes an input: resize and centre-crop to (height, width), scale to 0…1, normalise.

    The defaults of the last four are what was done before they existed, so that an old entry keeps its meaning.

    Attributes:
        size: (height, width) in pixels.
        mean, std: per channel, on the 0…1 scale; their length is the number of channels.
        resize: shorter side before the centre crop, in pixels; None resizes directly to `size`.
        interpolation: `bilinear` or `bicubic`, antialiased where the image shrinks.
        crop: `rounded`: sides and place of the centre crop are whole pixels, as torchvision rounds them; `exact`: they
            are fractions.
        via: (height, width) to which the image is first resized directly; None: it is not.
        bits: how many bits of a 16-bit image are used where the file does not say; None: all 16.
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: int | None = None
    interpolation: str = "bilinear"
    crop: str = "exact"
    via: tuple[int, int] | None = None
    bits: int | None = None


class Dataset(Protocol):
    """An opened data set for classification: three honest splits, in a fixed order.

    Attributes:
        name: as the recipe calls it.
        classes: class names; label k is `classes[k]`.
        preprocessing: what was applied to the images; travels with the compressed model.
        fingerprint: hex digest of names, sizes and bytes and of everything that decides the splits.
        batch: training batch size.
        input_shape: (channels, height, width).
    """

    @property
    def name(self) -> str: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def preprocessing(self) -> Preprocessing: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def batch(self) -> int: ...
    @property
    def input_shape(self) -> tuple[int, int, int]: ...

    def size(self, split: str) -> int:
        """Number of samples in `train`, `val` or `test`."""

    def batches(
        self,
        split: str,
        *,
        batch: int | None = None,
        samples: int | None = None,
        epoch: int | None = None,
        seed: int = 0,
        start: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of (images float32 B×C×H×W normalised, labels int64 B).

        Args:
            split: `train`, `val` or `test`.
            batch: images per batch; default `self.batch`. The last one may be smaller, except in training.
            samples: only this many, drawn once by `seed`, the same at every call; default all.
            epoch: None reads in order without augmentation; a number is training: shuffled by (seed, epoch),
                each image augmented by (seed, epoch, index), the last incomplete batch dropped.
            start: skip this many batches at no cost, to resume inside an epoch.
        """


class DataMethod(Protocol):
    """`data NAME(…)`."""

    batch: int

    def open(self, resolve: Callable[[str], Path]) -> Dataset:
        """Open the data. `resolve` turns a path of the recipe into a path on this machine.

        Raises:
            Refusal: RCP08xx: missing folder, corrupt image, empty class, images without labels.
        """


@dataclass(frozen=True)
class ModelRequest:
    """What a model is built for."""

    classes: tuple[str, ...] | None = None  # class names of the data; None where there is no data
    input_shape: tuple[int, int, int] | None = None  # (channels, height, width) of the data's images
    resolve: Callable[[str], Path] = Path  # turns a path of the recipe into a path on this machine
    trust: bool = False  # whether Python code that the recipe names may run
    weights: bool = True  # False builds the architecture alone (rebuilding from an artifact)


class ModelMethod(Protocol):
    """`model NAME(…)`."""

    def files(self, resolve: Callable[[str], Path]) -> tuple[Path, ...]:
        """The files that decide what `build` gives; their contents enter the key, their paths do not."""

    def build(self, request: ModelRequest) -> Any:
        """A `recipelang.surgery.network.Network`, weights loaded, edits replayed.

        Raises:
            Refusal: RCP07xx: no such model, weights missing or of another shape, or code not trusted.
        """

    @property
    def pretrained(self) -> bool:
        """Whether the network starts from given weights and not from random numbers."""


class Task(Protocol):
    """`task NAME`: what outputs mean."""

    metrics: ClassVar[tuple[str, ...]]  # default columns of a report

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """outputs B×C, labels B → scalar, mean over the batch."""


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


class Metric(Protocol):
    """`latency(batch=1)`, `top1`, `flops`.

    Attributes:
        role: `cost` (ratio to healthy against a bare number), `quality` (has `drop` or `rise`), `property`.
        better: `lower` or `higher`.
        unit: for `units.show`.
        bounds: optional, the range of its values; default 0 to 1 for the unit `%`, and from 0 up for a cost.
        source: what it is measured from, and so which signature `measure` has:
            `structure`    measure(deployed: nn.Module, network: Network, input_shape) -> Measurement
            `predictions`  measure(outputs: Tensor N×C, labels: Tensor N) -> Measurement
            `clock`        measure(deployed, healthy_deployed, input_shape, progress) -> Measurement; optional:
                           glance(deployed, healthy_deployed, input_shape) -> Measurement, in a second, for plans

    A metric whose formula changes declares `version: ClassVar[int]`, 1 where it does not, and numbers measured by
    another version are not read from the store.
    """

    role: ClassVar[str]
    better: ClassVar[str]
    unit: ClassVar[str]
    source: ClassVar[str]


class Criterion(Protocol):
    """`by NAME(…)`: importance, the higher the more important.

    Attributes:
        unit: finest unit that it scores: `element`, `filter`, `layer`, or `any`.
        needs: kinds of evidence: `weights`, `gradients`, `activations`, `labels`, `batchnorm`.
    """

    unit: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]

    def score(self, evidence: Evidence) -> Mapping[str, Tensor]:
        """Parameter name → scores of the weight's shape (`element`), or candidate name → scalar (`layer`)."""


@runtime_checkable
class Solver(Protocol):
    """A criterion that also corrects: the weights that stay in a matrix compensate for those removed.

    `sparsify` calls it instead of `score`, one weight after another in order of execution, and only for patterns
    that keep `n` of every `m`.
    """

    def solve(self, weight: Tensor, moments: Tensor, n: int, m: int) -> tuple[Tensor, Tensor]:
        """The mask of a weight matrix and its new values.

        Args:
            weight: N×K, a multiple of m columns.
            moments: K×K, 2/rows · XᵀX of the rows X that enter it.
            n, m: of every m columns of a row n stay.

        Returns:
            bool N×K, True where a weight stays, and the weight N×K, zero where it is removed.
        """


class Loss(Protocol):
    """`with NAME(…)`: one term of a training loss.

    Attributes:
        teachers: (least, most) number of teachers that it compares with.
        complete: whether it trains on its own; incomplete terms get `1 * task` added to them.
    """

    teachers: ClassVar[tuple[int, int]]
    complete: ClassVar[bool]

    def __call__(self, outputs: Tensor, labels: Tensor, teachers: tuple[Tensor, ...], task: Task) -> Tensor:
        """outputs B×C of the student, labels B, teachers' outputs each B×C → scalar."""


class Pattern(Protocol):
    """`sparsify NAME …`: which weights may stay."""

    def refuses(self, weight: Tensor) -> str | None:
        """Why this weight (O×I or O×I×kh×kw) cannot take the pattern; None where it can."""

    def mask(self, scores: Tensor) -> Tensor:
        """Scores of the weight's shape → bool of the same shape, True where the weight stays."""

    def holds(self, weight: Tensor) -> bool:
        """Whether the weight is in the pattern."""


class Permutation(Protocol):
    """`sparsify nm 2:4 with NAME(…)`: the order of input channels that loses least when every m of them are pruned."""

    def order(self, scores: Tensor, n: int, m: int, seed: int) -> Tensor:
        """Scores R×C of every row that the channels enter → int64 C: place k is for channel `order[k]`."""


class Ramp(Protocol):
    """`lr=cosine(1e-3, to=0)`: a setting's value over training."""

    def value_at(self, step: int, total: int, steps_per_epoch: int) -> float:
        """Value for the update number `step` (from 0) of `total`."""

    def marks(self) -> tuple[Mark, ...]:
        """The moments that a training must reach for the ramp to take effect as written."""


class Optimizer(Protocol):
    """`with sgd(lr=0.1)`."""

    lr: Any  # a number or a Ramp

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        """The torch optimizer over the module's parameters."""


class ExportMethod(Protocol):
    """`export NAME`."""

    def write(self, network: Any, folder: Path) -> tuple[Path, ...]:
        """Write the network into `folder`; the files written.

        Raises:
            Refusal: RCP07xx: the network cannot be written in this form.
        """


class Progress(Protocol):
    """Where long work reports its progress: a bar on a terminal, plain lines elsewhere."""

    def start(self, what: str, total: int | None = None) -> None:
        """Begin a piece of work of `total` parts."""

    def advance(self, parts: int = 1, note: str = "") -> None:
        """Report `parts` more parts as done."""

    def stop(self) -> None:
        """The piece of work is done."""

    def say(self, line: str) -> None:
        """Print a line above the bar."""
