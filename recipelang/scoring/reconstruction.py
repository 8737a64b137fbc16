"""What enters a weight and what leaves it: a bounded sample of rows, for methods that fit weights to reproduce it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy
import torch
from torch import Tensor

from recipelang.kinds import as_matrices
from recipelang.scoring.inputs import Entering, watching
from recipelang.scoring.passes import Collector
from recipelang.scoring.streams import share
from recipelang.surgery.finite import finite


def sampling_rows(
    weights: Mapping[str, Tensor], count: int, seed: int = 0
) -> tuple[Collector, Callable[[], dict[str, tuple[Tensor, Tensor]]]]:
    """What samples name → (G×n×K, n×O), rows that enter the weight and what it makes of them; and these after the pass.

    Args:
        weights: parameter name → weight O×I or O×I×kernel of the network that runs.
        count: rows per weight at most; each row, an output position of an image, is as likely as every other.
        seed: of the draw.

    Raises:
        Refusal: during the pass, RCP1010: an input is not a finite number.
    """
    random = numpy.random.default_rng(seed)
    kept = {name: RowSample(name, count, random) for name in weights}

    def see(name: str, entering: Entering) -> None:
        kept[name].see(entering)

    def after() -> dict[str, tuple[Tensor, Tensor]]:
        found = {name: sample.rows for name, sample in kept.items()}
        return {name: (rows, outputs_of(rows, weights[name])) for name, rows in found.items() if rows is not None}

    return Collector("sampling inputs and outputs", lambda _: watching(weights, see)), after


class RowSample:
    """A bounded sample of the rows that enter one weight, each as likely as every other.

    Args:
        name: of the weight.
        count: rows at most.
        random: decides. Two networks that are given the same images, and two generators of one seed, keep rows of the
            same places.
    """

    def __init__(self, name: str, count: int, random: numpy.random.Generator) -> None:
        self._name, self._count, self._random, self._seen = name, count, random, 0
        self.rows: Tensor | None = None  # G×n×K

    @torch.no_grad()
    def see(self, entering: Entering) -> None:
        """Draw among the rows of one product.

        Raises:
            Refusal: RCP1010: one that is drawn is not a finite number.
        """
        fresh, stay = share(self._random, self._seen, entering.rows, self._count)
        self._seen += entering.rows
        rows = entering.sample(torch.from_numpy(fresh).to(entering.images.device)).float()
        finite(f"an input of `{self._name}`", rows)
        before = rows[:, :0] if self.rows is None else self.rows[:, torch.from_numpy(stay).to(rows.device)]
        self.rows = torch.cat([before, rows], 1)


@torch.no_grad()
def outputs_of(rows: Tensor, weight: Tensor) -> Tensor:
    """G×n×K rows and a weight O×I×kernel… → n×O, the outputs of group after group."""
    return products(rows, weight)


def products(rows: Tensor, weight: Tensor) -> Tensor:
    """`outputs_of`, with gradients."""
    return (rows @ as_matrices(weight, len(rows)).mT).movedim(0, 1).flatten(1)
