"""What enters a weight and what leaves it: a bounded sample of rows, for methods that fit weights to reproduce it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy
import torch
from torch import Tensor

from recipelang.errors import Refusal
from recipelang.scoring.inputs import Entering, watching
from recipelang.scoring.passes import Collector
from recipelang.scoring.streams import share


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
    kept: dict[str, Tensor] = {}
    seen = dict.fromkeys(weights, 0)
    random = numpy.random.default_rng(seed)

    @torch.no_grad()
    def see(name: str, entering: Entering) -> None:
        fresh, stay = share(random, seen[name], entering.rows, count)
        seen[name] += entering.rows
        rows = entering.sample(torch.from_numpy(fresh).to(entering.images.device)).float()
        if not bool(torch.isfinite(rows).all()):
            raise Refusal(
                "RCP1010",
                f"an input of `{name}` is NaN or infinite",
                "training has diverged: lower the learning rate, or start from other weights",
            )
        before = kept[name][:, torch.from_numpy(stay).to(rows.device)] if name in kept else rows[:, :0]
        kept[name] = torch.cat([before, rows], 1)

    def after() -> dict[str, tuple[Tensor, Tensor]]:
        with torch.no_grad():
            return {name: (rows, _outputs(rows, weights[name])) for name, rows in kept.items()}

    return Collector("sampling inputs and outputs", lambda _: watching(weights, see)), after


def _outputs(rows: Tensor, weight: Tensor) -> Tensor:
    """G×n×K rows and a weight O×I×kernel… → n×O, the outputs of group after group."""
    matrix = weight.movedim(1, -1).flatten(1).unflatten(0, (len(rows), -1))  # G×O/G×K, K in the order kernel…, I
    return (rows @ matrix.mT).movedim(0, 1).flatten(1)
