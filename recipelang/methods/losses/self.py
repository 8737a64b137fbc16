"""The loss `self`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.errors import Refusal, SettingError
from recipelang.kinds import Loss, Moment, Pairing, Point, Points, Seen, Task
from recipelang.kinds.points import listed, stages_of
from recipelang.lazy import torch
from recipelang.methods.losses._positions import names

if TYPE_CHECKING:
    from torch import Tensor, nn

CLASSIFIERS = 4


@method("loss", "self")
@dataclass(frozen=True)
class SelfDistillation(Loss):
    """Self-distillation: classifiers on the way learn from the labels first, and then from the network's own answer.

    What: the network is its own teacher, in one training and without another network. Classifiers after every D/C of
        its D blocks make early blocks tell classes apart; the last of the C classifiers is the network's own.
    Formula: Σ_c (1 − a) · CE(softmax(z_c / T), ŷ) + a · CE(softmax(z_c / T), y), c = 1 … C − 1; z_c are the scores of
        classifier c, ŷ is the class that the network predicts, which has no gradient here, and a goes from 1 to 0.
        Beside another loss: `task + self`, as equation 7.4 has it; `task + query_efficient + self` is its whole sum.
    Shapes: activations after the blocks, B×C×H×W or B×T×D; outputs B×classes and labels B → scalar.
    Trained along: a classifier for each position: a linear layer to `expand` times as many channels, the tokens as a
        map, a 3×3 convolution for each channel, BatchNorm, GELU, and a linear layer on the mean over places. The thesis
        draws this block and does not say its convolution; maps larger than 16×16 are averaged first.
    Leaves: `classifier1` … `classifier3`, networks that end at the classifiers, cut off physically: each has its row in
        the report, and `start from classifier2` goes on with one. What else trains the network does not know them.
    Positions: after the blocks through which everything passes; where there are fewer than `classifiers`, after the
        layers that lie nearest to c/C of the network's depth. `plan` shows them, and `at` names others.
    When it misleads: on a short training the classifiers hardly learn. Early blocks that already tell classes apart
        gain nothing, and their gradients may take from the end what they give to the beginning.
    Source: Elkerdawy's thesis, chapter 7, equations 7.1, 7.2 and 7.4, figures 7.3 and 7.4.
    """

    teachers: ClassVar[tuple[int, int]] = (0, 0)
    complete: ClassVar[bool] = False
    tasks: ClassVar[tuple[str, ...]] = ("classification",)
    compares: ClassVar[tuple[str, ...]] = ("features",)

    classifiers: int | None = setting(
        None,
        type="integer",
        low=2,
        high=64,
        positional=True,
        help=f"C, the network's own among them; default {CLASSIFIERS}.",
    )
    alpha: Any = setting(
        None,
        type="number",
        low=0,
        high=1,
        ramp=True,
        help="a, the weight of the labels against the prediction; default linear(1, to=0).",
    )
    T: float = setting(1.0, type="number", low=0, open_low=True, help="Temperature of the classifiers.")
    expand: int = setting(4, type="integer", low=1, high=64, help="Channels inside of a classifier, for each it reads.")
    at: str = setting("", type="text", help="Modules after which classifiers are: `layer1, layer2`; default: found.")

    def __post_init__(self) -> None:
        if self.at and self.classifiers is not None and len(names(self.at)) != self.classifiers - 1:
            count = len(names(self.at))
            raise SettingError(
                "classifiers",
                f"`at` names {count} position{'s' * (count != 1)}, and the network's own classifier is one more",
                f"write `classifiers={count + 1}`, or leave it out",
            )
        if self.at and len(set(names(self.at))) != len(names(self.at)):
            raise SettingError("at", "`at` names a position twice", "name each once")

    @property
    def _count(self) -> int:
        """How many classifiers there are beside the network's own."""
        return len(names(self.at)) if self.at else (self.classifiers or CLASSIFIERS) - 1

    def leaves(self, teachers: int) -> tuple[str, ...]:
        """`classifier1`, `classifier2`, …, the first one nearest to the images."""
        return tuple(f"classifier{number}" for number in range(1, self._count + 1))

    def points(self, student: Points, teachers: tuple[Points, ...]) -> tuple[Pairing, ...]:
        """The positions behind which the classifiers are, in order of execution."""
        if self.at:
            found = tuple(sorted(student.named(names(self.at)), key=student.every.index))
            for point in found:
                if len(point.shape) < 2 or not point.trains:
                    why = "nothing before it trains" if len(point.shape) > 1 else "it has no places"
                    raise Refusal(
                        "RCP0823",
                        f"a classifier behind `{point.path}` of {student.whose} has no effect: {why}",
                        stages_of(student, student.stages()),
                    )
            return tuple(Pairing(point) for point in found)
        return tuple(Pairing(point) for point in divided(student, self._count + 1))

    def parts_for(self, pairings: tuple[Pairing, ...], network: Any) -> nn.Module:
        """A classifier for each position."""
        exits = self._exits(pairings, network)
        return torch.nn.ModuleList(place.head() for place in exits)

    def _exits(self, pairings: tuple[Pairing, ...], network: Any) -> tuple[Any, ...]:
        from recipelang.surgery.exits import Exit

        return tuple(Exit.at(pairing.student, _classes(network), self.expand) for pairing in pairings)

    def __call__(
        self,
        student: Seen,
        teachers: tuple[Seen, ...],
        targets: Any,
        task: Task,
        parts: nn.Module | None,
        moment: Moment,
    ) -> Tensor:
        """Activations behind the positions, outputs of the network, and labels → scalar."""
        heads: Any = parts
        weight = moment.value(self.alpha) if self.alpha is not None else 1 - moment.step / max(1, moment.total)
        predicted = task.labels(student.outputs.detach())
        total = student.outputs.new_zeros(())
        for head, features in zip(heads, student.features, strict=True):
            scores = head(features) / self.T
            total = total + (1 - weight) * task.loss(scores, predicted) + weight * task.loss(scores, targets)
        return total

    def left(
        self, parts: nn.Module | None, pairings: tuple[Pairing, ...], network: Any, teachers: tuple[Any, ...]
    ) -> Mapping[str, Any]:
        """The networks that end at the classifiers."""
        from recipelang.surgery.ending import ending_at

        heads: Any = parts
        ends = zip(self.leaves(0), self._exits(pairings, network), heads, strict=True)
        return {name: ending_at(network, place, head) for name, place, head in ends}


def divided(student: Points, into: int) -> tuple[Point, ...]:
    """The positions that divide a network into so many parts of equally many blocks, its end not among them.

    Raises:
        Refusal: RCP1520: it has too few of them.
    """
    whole = [point for point in student.every if point.through and point.trains and len(point.shape) > 1]
    blocks = [point for point in whole if point.block and not any(_inside(other, point) for other in whole)]
    if len(blocks) >= into:
        return tuple(blocks[round(part * len(blocks) / into) - 1] for part in range(1, into))
    layers = [point for point in whole if not point.block]
    chosen = [min(layers, key=lambda one: abs(one.depth - part / into), default=None) for part in range(1, into)]
    found = tuple(dict.fromkeys(point for point in chosen if point is not None))
    if len(found) < into - 1:
        there, help = listed(blocks or layers), 'ask for fewer `classifiers`, or name positions: `self(at="…")`'
        if not there:
            there = "no maps or tokens that training changes"
            help = "classifiers read maps or tokens: take a convolutional network or a transformer, or a teacher"
        raise Refusal("RCP1520", f"{student.whose} cannot be divided into {into} parts: it has {there}", help)
    return found


def _inside(other: Point, point: Point) -> bool:
    return other.block and other.path.startswith(point.path + ".")


def _classes(network: Any) -> int:
    """How many classes the network's answer has."""
    from recipelang.surgery.tracing import device_of, example_input, outputs_of

    if network.classes:
        return len(network.classes)
    return int(outputs_of(network.module, example_input(network).to(device_of(network.module))).shape[1])
