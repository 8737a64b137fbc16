"""Groups of a network's numbers, spread over slices of several parameters: a channel, a column of a weight, a block.

A channel is the filters, biases and norms that make it in all layers that are added; what is true of the group is one
number, what a parameter sees of it is that number along an axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

#: the square of a norm below which its gradient is taken as zero, as the subgradient of a norm at zero may be
SMALLEST = 1e-24


@dataclass(frozen=True)
class Slices:
    """What a parameter holds of groups.

    Attributes:
        name: of the parameter.
        axes: that tell its slices apart; none where the whole parameter is one slice.
        owners: of each slice, in the order of these axes, the number of its group; -1 where it is of none.
    """

    name: str
    axes: tuple[int, ...]
    owners: Tensor


@dataclass(frozen=True)
class Grouping:
    """Groups of numbers that are of one sort.

    Attributes:
        labels: what each group is of: the layers that lose a part, the weight that loses a column, the block.
        slices: what parameters hold of them.
        families: of each group the number of its family, of which one group has to stay nonzero; -1 where it may become
            zero with all others.
    """

    labels: tuple[str, ...]
    slices: tuple[Slices, ...]
    families: Tensor


class Groups(nn.Module):
    """A grouping at work on the parameters of a module; its indices are on the device that it is on.

    Args:
        grouping: of a network whose parameters keep their names and shapes.

    Attributes:
        spared: of each group whether the last step left it as it was, since nothing else of its family is left.
    """

    entries: Tensor
    owners: Tensor
    members: Tensor
    spared: Tensor

    def __init__(self, grouping: Grouping) -> None:
        super().__init__()
        self.grouping = grouping
        owners = torch.cat([one.owners.flatten() for one in grouping.slices])
        count, families = len(grouping.labels), grouping.families
        # What follows from the network alone is no part of a checkpoint.
        self.register_buffer("owners", torch.where(owners < 0, count, owners), persistent=False)
        self.register_buffer("entries", owned(owners, count), persistent=False)
        self.register_buffer("members", owned(families, int(families.max()) + 1), persistent=False)
        self.register_buffer("spared", torch.zeros(count, dtype=torch.bool))

    def norms(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """The L2 norm of each group, float32, with gradients; that of a norm of zero is zero."""
        squares = torch.cat([_squares(parameters[one.name], one.axes) for one in self.grouping.slices])
        sums = torch.cat([squares, squares.new_zeros(1)])[self.entries].sum(1)
        return sums.clamp_min(SMALLEST).sqrt() * (sums > 0)

    def spread(self, factors: Tensor, parameters: Mapping[str, Tensor]) -> list[tuple[str, Tensor]]:
        """(parameter, what multiplies it) of each slice; a number of no group has the factor 1.

        Args:
            factors: one for each group.
            parameters: by name; their shapes are used.
        """
        each = torch.cat([factors, factors.new_ones(1)])[self.owners]
        sizes = [one.owners.numel() for one in self.grouping.slices]
        return [
            (one.name, part.reshape([size if axis in one.axes else 1 for axis, size in enumerate(shape)]))
            for one, part in zip(self.grouping.slices, each.split(sizes), strict=True)
            for shape in [parameters[one.name].shape]
        ]

    @torch.no_grad()
    def multiply(self, factors: Tensor, parameters: Mapping[str, Tensor]) -> None:
        """Multiply each group by its factor, in place."""
        for name, scales in self.spread(factors, parameters):
            parameters[name].mul_(scales.to(parameters[name].dtype))


def last(members: Tensor, sizes: Tensor, left: Tensor) -> Tensor:
    """Bool of each group: whether it is the largest of a family of which no other is left.

    Args:
        members: family → its groups, as `owned` gives them; groups of none are never among the result.
        sizes: of the groups, before something makes them zero; at least 0.
        left: group → whether it is nonzero afterwards.
    """
    found = torch.zeros_like(left)
    if not members.numel():
        return found
    largest = torch.cat([sizes, sizes.new_full((1,), -1)])[members].argmax(1, keepdim=True)
    others = torch.cat([left, left.new_zeros(1)])[members].scatter(1, largest, False)
    return found.index_put((members.gather(1, largest).squeeze(1),), ~others.any(1))


def owned(owners: Tensor, count: int) -> Tensor:
    """Owner → the numbers of what it owns, count×most; rows are filled up with the number after the last one, so that
    a sum over them is the same on every device and in every run.

    Args:
        owners: of each thing its owner; -1 where it has none.
        count: of the owners.
    """
    having = (owners >= 0).nonzero().flatten()
    order = having[owners[having].argsort(stable=True)]
    counts = owners[order].bincount(minlength=count)
    padded = torch.full((count, int(counts.max()) if count else 0), len(owners))
    places = torch.arange(len(order)) - (counts.cumsum(0) - counts)[owners[order]]
    padded[owners[order], places] = order
    return padded


def collapsed(names: Sequence[str]) -> str:
    """That a penalty leaves one part of each of these layers, which it would have made zero; "" where there is none."""
    if not names:
        return ""
    each = list(dict.fromkeys(names))
    shown = ", ".join(f"`{name}`" for name in each[:4]) + (f" and {len(each) - 4} more" if len(each) > 4 else "")
    return f"collapsed: the penalty leaves only the strongest part of {shown}; a weaker one leaves more"


def _squares(parameter: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The sum of squares of each slice, flat, float32."""
    inside = tuple(axis for axis in range(parameter.ndim) if axis not in axes)
    squares = parameter.float().square()
    return (squares.sum(inside) if inside else squares).flatten()
