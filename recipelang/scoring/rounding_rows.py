"""One weight that is rounded by itself, seen as a matrix: rows enter it, wherever it multiplies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import numpy
import torch
from torch import Tensor
from torch.nn import functional as F

from recipelang.kinds import Restriction
from recipelang.scoring import input_statistics
from recipelang.scoring.inputs import Entering, See, watching
from recipelang.scoring.reconstruction import RowSample, outputs_of, products
from recipelang.scoring.rounding_expected import expected
from recipelang.scoring.rounding_twins import Enough, Twins
from recipelang.surgery.finite import finite
from recipelang.surgery.following import Following, following

#: rows that are kept of a weight, at most, and bytes of the rows that are kept at a time
ROWS, BYTES = 8192, 2**28
#: rows in a batch
TOGETHER = 256


class RowsPiece:
    """`kinds.Piece` of one weight, by rows that enter it.

    Args:
        twins: the network before and the rounded one.
        name: of the parameter.
        grid, keep: of the weight; None where it has no mask.
        number: of the piece.
    """

    def __init__(self, twins: Twins, name: str, grid: Restriction, keep: Tensor | None, number: int) -> None:
        self.name, self._twins = name, twins
        self.weights: Mapping[str, Tensor] = {name: twins.before.get_parameter(name).detach().float()}
        self.grids: Mapping[str, Restriction] = {name: grid}
        self.keep: Mapping[str, Tensor] = {} if keep is None else {name: keep}
        self.seed, self.brief = twins.seed + number, twins.brief

    @property
    def batches(self) -> int:
        return len(self._order)

    def computed(self, values: Mapping[str, Tensor], batch: int) -> Tensor:
        return self._followed(products(self._rows[:, self._order[batch]], values[self.name]))

    def wanted(self, batch: int) -> Tensor:
        return self._followed(self._outputs[self._order[batch]])

    def sensitivity(self, batch: int) -> Tensor:
        return torch.ones_like(self._outputs[self._order[batch]])

    def moments(self, name: str) -> Tensor | None:
        sums: list[Tensor] = []
        rows = 0

        def see(_: str, entering: Entering) -> None:
            nonlocal rows
            products = entering.products()
            sums[:] = [sums[0].add_(products) if sums else products]
            rows += entering.rows

        self._pass(self._twins.rounded, see, "moments")
        return finite(f"an input of `{name}`", sums[0].mul_(2 / rows)) if sums else None

    def expected(self, name: str) -> Tensor | None:
        return expected(self._twins, name)

    def means(self, name: str) -> tuple[Tensor, Tensor] | None:
        found = []
        for module in (self._twins.before, self._twins.rounded):
            sums: list[Tensor] = []
            rows = 0

            def see(_: str, entering: Entering, sums: list[Tensor] = sums) -> None:
                nonlocal rows
                total = entering.sums()
                sums[:] = [sums[0] + total if sums else total]
                rows += entering.rows

            self._pass(module, see, "means")
            if not sums:
                return None
            found.append(finite(f"an input of `{name}`", sums[0].movedim(1, -1).flatten(1) / rows))
        return found[0], found[1]

    @cached_property
    def _order(self) -> tuple[Tensor, ...]:
        """The numbers of the rows of each batch, in a seeded order: rows were kept as images came."""
        count = self._rows.shape[1]
        order = torch.randperm(count, generator=torch.Generator().manual_seed(self.seed))
        return order.to(self._rows.device).split(TOGETHER)

    @cached_property
    def _rows(self) -> Tensor:
        """G×n×K: some of the rows that enter the weight in the rounded network."""
        return _sampled(self._twins, self._twins.rounded, [self.name], self.name)[self.name][0]

    @cached_property
    def _outputs(self) -> Tensor:
        """n×O: what the network before made of the rows at the same places of the same images."""
        known = self._twins.known.outputs
        if self.name not in known:
            several = list(_fitting(self._twins, self.name))
            what = self.name if len(several) == 1 else f"{self.name}` and `{several[-1]}"
            found = _sampled(self._twins, self._twins.before, several, what)
            known.update({name: outputs for name, (_, outputs) in found.items()})
        return known.pop(self.name)

    @cached_property
    def _following(self) -> Following:
        return following(self._twins.calls, self.name)

    def _followed(self, made: Tensor) -> Tensor:
        """What follows of N×O products: bias, norm and ReLU of the network before."""
        after, module = self._following, self._twins.before
        if after.bias:
            made = made + module.get_parameter(after.bias)
        if after.norm:
            norm: Any = module.get_submodule(after.norm)
            made = F.batch_norm(made, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.0, norm.eps)
        return made.relu() if after.relu else made

    def _pass(self, module: Any, see: See, what: str) -> None:
        _look(self._twins, module, [self.name], see, f"{what} of the inputs of `{self.name}`")


def reached(twins: Twins) -> dict[str, int]:
    """The rounded weights whose inputs are observed, in order of execution → how often in one pass."""
    if twins.known.reached is None:
        batch = next(iter(twins.batches("")), None)
        run, weights = partial(twins.run, twins.before), _weights(twins.before, twins.weights)
        twins.known.reached = {} if batch is None else input_statistics.reached(run, weights, batch.inputs)
    return twins.known.reached


def _weights(module: Any, names: Iterable[str]) -> dict[str, Tensor]:
    return {name: module.get_parameter(name) for name in names}


def _fitting(twins: Twins, first: str) -> Iterator[str]:
    """A weight, and as many of those after it as rows of all of them may be kept together."""
    total, known = 0, reached(twins)
    for name in twins.weights[twins.weights.index(first) :]:
        if name not in known:
            continue
        weight = twins.before.get_parameter(name)
        total += _count(weight) * (weight[0].numel() * (len(weight) if weight.shape[1] == 1 else 1) + len(weight)) * 4
        if total > BYTES and name != first:
            return
        yield name


def _count(weight: Tensor) -> int:
    """How many rows of a weight are kept."""
    return max(TOGETHER, min(ROWS, BYTES // (4 * weight[0].numel())))


def _sampled(twins: Twins, module: Any, names: Sequence[str], what: str) -> Mapping[str, tuple[Tensor, Tensor]]:
    """Weight → rows and outputs: of the same images and places in both copies, since both draw alike."""
    weights = _weights(module, names)
    kept = {
        name: RowSample(name, _count(weight), numpy.random.default_rng([twins.seed, *name.encode()]))
        for name, weight in weights.items()
    }
    _look(twins, module, names, lambda name, entering: kept[name].see(entering), f"inputs of `{what}`")
    return {n: (s.rows, outputs_of(s.rows, weights[n])) for n, s in kept.items() if s.rows is not None}


@torch.no_grad()
def _look(twins: Twins, module: Any, names: Sequence[str], see: See, what: str) -> None:
    """A pass over the samples that ends where all products with these weights were seen."""
    calls = reached(twins)
    of_a_pass = sum(calls.get(name, 0) for name in names)
    left = 0

    def counting(name: str, entering: Entering) -> None:
        nonlocal left
        see(name, entering)
        left -= 1
        if not left:
            raise Enough

    for batch in twins.batches(what):
        left = of_a_pass
        with watching(_weights(module, names), counting):
            twins.run(module, batch.inputs)
