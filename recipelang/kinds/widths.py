"""How many bits each weight and activation gets: searches for the widths of `quantize … until …`.

A search looks at a network through its `WidthBench` and answers with a *course*: widths of all places, from the widest
to the narrowest. The statement takes the first of them that meets its budget, as far as its guard allows. This is a
whole search, `recipelang/methods/widths/even.py`:

    @method("widths", "even")
    @dataclass(frozen=True)
    class Even:
        \"\"\"All places become narrower together.\"\"\"

        looks: ClassVar[int] = 0
        budget: ClassVar[bool] = False

        def course(self, bench: WidthBench) -> Sequence[Widths]:
            most = max(len(choice.bits) for choice in bench.choices)
            return [[choice.bits[max(0, len(choice.bits) - 1 - n)] for choice in bench.choices] for n in range(most)]

What it draws comes from `bench.seed`; what takes long is `bench.remember`ed, so that a search that is killed continues
where it was; nothing else may change what it returns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

if TYPE_CHECKING:
    from recipelang.kinds.evidence import Ablation
    from recipelang.kinds.figure import Figure
    from recipelang.kinds.plot import Plot
    from recipelang.kinds.progress import Progress
    from recipelang.kinds.task import Task

#: bits of each choice, in the order of the choices; 0 leaves it in full precision
Widths: TypeAlias = Sequence[int]


@dataclass(frozen=True)
class Choice:
    """A weight or an activation whose width is searched for.

    Attributes:
        place: the name of the parameter, or the place of the activation (`layer1.0.relu:relu`).
        layer: the path of the module that multiplies it; of an activation, of the first one that reads it.
        part: `weights` or `activations`.
        shape: of the weight, or of the activation of one image.
        bits: the widths that it may have, from the narrowest to the widest.
        inputs, outputs, kernel, stride, height, width: of the layer: channels, the edge of its kernel (1 for a linear
            layer), 0 for its stride where it has none, and the positions of what enters it.
        depthwise: whether each of its outputs reads a single channel.
    """

    place: str
    layer: str
    part: str
    shape: tuple[int, ...]
    bits: tuple[int, ...]
    inputs: int = 1
    outputs: int = 1
    kernel: int = 1
    stride: int = 0
    height: int = 1
    width: int = 1
    depthwise: bool = False

    @property
    def elements(self) -> int:
        """Numbers in the weight, or in the activation of one image."""
        return prod(self.shape)


class WidthSearch(Protocol):
    """`quantize … until BUDGET with NAME(…)`.

    Attributes:
        looks: about how many networks it has timed briefly where a clock is in the budget, for `recipe plan`.
        budget: whether it needs an `until`; `while` alone says how narrow all of it may become.
    """

    looks: ClassVar[int]
    budget: ClassVar[bool]

    def course(self, bench: WidthBench) -> Sequence[Widths]:
        """Widths of all choices, each no more expensive than the one before it (`bench.price`).

        Without a budget that any of them meets, the statement is refused as out of reach, with what the last one
        reaches.
        """


class WidthBench(Protocol):
    """What a search for widths may try, with one network and one budget.

    Networks are `surgery.network.Network`, on the CPU; none that is returned may be changed.

    Attributes:
        choices: weights in the order of the network, then activations in the order of execution.
        whole: the network before it is quantized.
        task: of the recipe.
        seed, device, progress, smoke: as of every step; in a smoke run a few batches are enough.
    """

    @property
    def choices(self) -> Sequence[Choice]: ...
    @property
    def whole(self) -> Any: ...
    @property
    def task(self) -> Task: ...
    @property
    def seed(self) -> int: ...
    @property
    def device(self) -> str: ...
    @property
    def progress(self) -> Progress: ...
    @property
    def smoke(self) -> bool: ...

    def network(self, widths: Widths) -> Any:
        """The network with these widths."""

    def prices(self, choice: int) -> Sequence[float]:
        """What one choice costs at each of its widths, from the narrowest, relative to its widest (0), the others at
        their widest: the sum over the budget's tests of (reading − reading at the widest) / bound. Without a budget,
        bits of all its elements, relative to all bits. Computed costs are exact; clocks are read briefly, once for
        choices that are alike, and count as 0 within their interval."""

    def price(self, widths: Widths) -> float:
        """The largest reading/bound over the budget's tests (of tests that `or` joins, the smallest), as `prices` of
        the choices add up: 1 or less meets the budget. Without a budget, the part of all bits that is left."""

    def met(self, widths: Widths) -> bool:
        """Whether the budget surely holds, measured; true without a budget."""

    def harm(self, widths: Widths, samples: int) -> float:
        """How far the network's answers are from those of `whole`: the task's divergence, mean over this many held-out
        samples; infinite where it is not a number."""

    def score(self, widths: Widths) -> Ablation:
        """Loss and score on the part of the training split that is held out: calibration does not see it."""

    def remember(self, key: str, make: Callable[[], Any]) -> Any:
        """What `make` gives, as JSON: kept in the step's folder as it comes, and not made again after a kill.

        Args:
            key: names everything that `make` depends on, within this search.
        """

    def tell(self, figures: Sequence[Figure] = (), note: str = "", plots: Sequence[Plot] = ()) -> None:
        """Add to what record and report say of the step: numbers, a sentence, curves."""
