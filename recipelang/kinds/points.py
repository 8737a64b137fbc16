"""Where losses look inside networks: the positions that a network offers, and how two networks' are paired."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from recipelang.errors import Refusal
from recipelang.lazy import difflib

#: two positions are paired without being named if they are less than this part of their networks apart
NEAR = 0.5


@dataclass(frozen=True)
class Point:
    """The output of a module that runs once in a pass.

    Attributes:
        path: of the module.
        shape: of one image's activation, channels × positions… or tokens × channels: (64, 28, 28), (197, 768), (512,).
        depth: the part of the network's layers that have run by then, 0…1.
        through: whether everything that the network answers passes through it, but for a shortcut around most of the
            network: a stage of a residual network does, a convolution inside a block, which the shortcut of the block
            bypasses, does not.
        block: whether the module holds other modules.
        channels_axis: the axis of the channels, batch included, as the network has it: 1 for B×C×H×W, 3 for B×H×W×C.
        changed: whether a later module overwrites the tensor.
        trains: whether it depends on something that has gradients: a loss that compares it can change the network.
        from_inputs: whether it has a gradient to the inputs.
        rectified: whether a ReLU is directly before its end; poolings by the maximum may be between.
        attention: whether it is the self-attention that the module computes; its shape is heads × tokens × width.
        unrectified: whether what a loss sees is the activation without the ReLU directly before it, where there is one.
        learned: whether weights of the network, trained or frozen, are before it; else it is the input, resized.
    """

    path: str
    shape: tuple[int, ...]
    depth: float
    through: bool
    block: bool
    channels_axis: int = 1
    changed: bool = False
    trains: bool = True
    from_inputs: bool = True
    unrectified: bool = False
    attention: bool = False
    rectified: bool = False
    learned: bool = True

    @property
    def channels(self) -> int:
        """The number of channels: C of B×C×H×W, D of B×T×D."""
        return self.shape[-1] if len(self.shape) == 2 else self.shape[0]

    @property
    def positions(self) -> tuple[int, ...]:
        """(H, W) of an image, (T,) of tokens, () of a vector."""
        return self.shape[:-1] if len(self.shape) == 2 else self.shape[1:]

    def __str__(self) -> str:
        if self.attention:
            heads, tokens, width = self.shape
            return f"the attention of {self.path} ({heads} heads of {width}, {tokens} tokens)"
        before = " before its ReLU" if self.unrectified else ""
        return f"{self.path}{before} ({'×'.join(map(str, self.shape))})"


@dataclass(frozen=True)
class Points:
    """What one network offers.

    Attributes:
        whose: for messages: "the network", "the teacher `big`".
        every: in order of execution.
        attention: the self-attention that it computes, in order, where a loss `attends`.
    """

    whose: str
    every: tuple[Point, ...]
    attention: tuple[Point, ...] = ()

    def stages(self) -> tuple[Point, ...]:
        """Where its stages end: of every size of its maps, the last position that everything passes through.

        Of modules that end together the outermost counts. Sizes at which nothing is bypassed (the stem of a residual
        network) are left out where others have shortcuts. A network with one size alone, such as a transformer, has
        three stages of about equal depth. Before the first weights there is no stage: a pooling there is the image.
        """
        sizes: dict[tuple[int, ...], list[Point]] = {}
        for point in self.every:
            if point.through and point.learned and _several(point.positions):
                sizes.setdefault(point.positions, []).append(point)
        bypassed = {point.positions for point in self.every if not point.through}
        sizes = {size: chain for size, chain in sizes.items() if size in bypassed} or sizes
        if len(sizes) == 1:
            return _thirds(next(iter(sizes.values())))
        return tuple(_last(chain) for chain in sizes.values())

    def named(self, names: Sequence[str]) -> tuple[Point, ...]:
        """The positions of these modules.

        Raises:
            Refusal: RCP0822: a name is not that of a position.
        """
        known = {point.path: point for point in self.every}
        for name in names:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
                nearest = f"nearest: {', '.join(f'`{path}`' for path in near)}; " if near else ""
                raise Refusal(
                    "RCP0822",
                    f"`{name}` is not a position of {self.whose}",
                    f"{nearest}its stages end at {listed(self.stages())}",
                )
        return tuple(known[name] for name in names)


@dataclass(frozen=True)
class Pairing:
    """A position of the student and the one of each teacher that it is compared with.

    Attributes:
        student: of the network that trains.
        teachers: one of each teacher; () for a loss that looks at the student alone.
    """

    student: Point
    teachers: tuple[Point, ...] = ()


def paired(
    loss: str,
    student: Points,
    teachers: Sequence[Points],
    fits: Callable[[Point, Point], str],
    names: Sequence[str] = (),
    of_teachers: Sequence[str] = (),
) -> tuple[Pairing, ...]:
    """Every stage of the student with the stage of each teacher that fits it and is nearest in depth, each used once.

    Args:
        loss: its name, for messages.
        student, teachers: what the networks offer.
        fits: why two positions cannot be compared; "" where they can.
        names: positions of the student to take instead; `of_teachers` those of every teacher, in the same order, by
            default of the same names.

    Raises:
        Refusal: RCP0821: nothing fits; RCP0822: a name is not that of a position.
    """
    if names:
        return tuple(_by_name(student, teachers, fits, names, of_teachers or names))
    found = []
    for point in trained(student):
        others = [_nearest(point, teacher.stages(), fits) for teacher in teachers]
        if all(others):
            found.append(Pairing(point, tuple(other for other in others if other)))
    if not found:
        raise none_fits(loss, student, teachers)
    return tuple(one for one in found if one is min((o for o in found if o.teachers == one.teachers), key=_apart))


def middle(loss: str, student: Points, teachers: Sequence[Points], fits: Callable[[Point, Point], str]) -> Pairing:
    """The stages of the student and of each teacher that fit each other and lie nearest to their networks' middle.

    Raises:
        Refusal: RCP0821: nothing fits.
    """
    for point in sorted(trained(student), key=_from_middle):
        others = [[other for other in teacher.stages() if not fits(point, other)] for teacher in teachers]
        if all(others):
            return Pairing(point, tuple(min(several, key=_from_middle) for several in others))
    raise none_fits(loss, student, teachers)


def trained(student: Points) -> tuple[Point, ...]:
    """The stages of the network that a loss can change: before a first pooling, nothing trains."""
    return tuple(point for point in student.stages() if point.trains)


def none_fits(loss: str, student: Points, teachers: Sequence[Points], wanted: str = "positions to compare") -> Refusal:
    """The refusal of a loss that finds nothing to compare, with what there is."""
    mine = f"{student.whose} has {listed(trained(student)) or 'no maps that training changes'}"
    theirs = [f"{teacher.whose} has {listed(teacher.stages()) or 'no maps'}" for teacher in teachers]
    there = "; ".join((mine, *theirs))
    help = f'name some: `{loss}(student="…", teacher="…")`; `recipe layers MODEL` lists modules'
    if not student.stages():
        help += "; or take a loss of outputs, such as `kd`"
    return Refusal("RCP0821", f"`{loss}` finds no {wanted}: {there}", help)


def listed(points: Sequence[Point]) -> str:
    """A few positions, for a message: "`layer1` (64×56×56), `layer2` (128×28×28)"."""
    return ", ".join(f"`{point.path}` ({'×'.join(map(str, point.shape))})" for point in points)


def stages_of(network: Points, found: Sequence[Point]) -> str:
    """Which stages of a network there are, for a help line."""
    return f"stages of {network.whose}: {listed(found) or 'none'}"


def _by_name(
    student: Points,
    teachers: Sequence[Points],
    fits: Callable[[Point, Point], str],
    names: Sequence[str],
    of_teachers: Sequence[str],
) -> Iterator[Pairing]:
    mine = student.named(names)
    if still := next((point for point in mine if not point.trains), None):
        message = f"a loss at `{still.path}` of {student.whose} has no effect: nothing that trains comes before it"
        raise Refusal("RCP0823", message, stages_of(student, trained(student)))
    places = [teacher.named(of_teachers) for teacher in teachers]
    for number, point in enumerate(mine):
        others = tuple(place[number] for place in places)
        for other, teacher in zip(others, teachers, strict=True):
            if why := fits(point, other):
                there = "; ".join(stages_of(network, network.stages()) for network in (student, teacher))
                pair = f"`{point.path}` of {student.whose} cannot be compared with `{other.path}` of {teacher.whose}"
                raise Refusal("RCP0823", f"{pair}: {why}", there)
        yield Pairing(point, others)


def _nearest(point: Point, others: Sequence[Point], fits: Callable[[Point, Point], str]) -> Point | None:
    """The position that fits and is nearest in depth, if it is near."""
    apart = {other: abs(other.depth - point.depth) for other in others if not fits(point, other)}
    best = min(apart, key=lambda other: apart[other], default=None)
    return best if best is not None and apart[best] < NEAR else None


def _apart(pairing: Pairing) -> float:
    return sum(abs(pairing.student.depth - other.depth) for other in pairing.teachers)


def _from_middle(point: Point) -> float:
    return abs(point.depth - 0.5)


def _several(positions: tuple[int, ...]) -> bool:
    """Whether there is more than one position: maps of one pixel have nothing to attend to."""
    return any(length > 1 for length in positions)


def _last(chain: Sequence[Point]) -> Point:
    """The last of the outermost positions."""
    level = min(point.path.count(".") for point in chain)
    return [point for point in chain if point.path.count(".") == level][-1]


def _thirds(chain: Sequence[Point]) -> tuple[Point, ...]:
    """Three blocks of about equal distance, the last one at the end."""
    blocks = [point for point in chain if point.block] or list(chain)
    end, start = _last(chain), chain[0].depth
    targets = [start + (end.depth - start) * k / 3 for k in (1, 2)]
    chosen = [min(blocks, key=lambda point: abs(point.depth - target)) for target in targets]
    return tuple(dict.fromkeys((*chosen, end)))
