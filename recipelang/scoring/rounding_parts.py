"""A module whose weights are rounded together: what enters it with some images, and what it should return."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_leaves, tree_map

from recipelang.images.batches import copied
from recipelang.kinds import Restriction
from recipelang.scoring.rounding_expected import expected
from recipelang.scoring.rounding_twins import Enough, Twins
from recipelang.surgery.finite import finite, not_finite
from recipelang.surgery.tracing import hooked
from recipelang.surgery.wiring import main_tensor

#: bytes that are kept of a piece, at most; of more batches than fit some are drawn
BYTES = 2**28


@dataclass(frozen=True)
class _Kept:
    """One call of the module: what entered it in the rounded network, and what it returned in the network before."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    wanted: Tensor


class PartPiece:
    """`kinds.Piece` of the weights inside a module.

    Args:
        twins: the network before and the rounded one.
        path: of the module; "" for the whole network.
        grids: parameter name → its restriction, of the weights inside.
        keep: parameter name → its mask.
        number: of the piece.
        calls: how often the module runs in one pass.
    """

    def __init__(
        self,
        twins: Twins,
        path: str,
        grids: Mapping[str, Restriction],
        keep: Mapping[str, Tensor],
        number: int,
        calls: int = 1,
    ) -> None:
        self.name, self._twins, self._calls = path or "network", twins, calls
        self._path, self._part = path, twins.rounded.get_submodule(path)
        self.weights: Mapping[str, Tensor] = {n: twins.before.get_parameter(n).detach().float() for n in grids}
        self.grids, self.keep = grids, keep
        self.seed, self.brief = twins.seed + number, twins.brief

    @property
    def batches(self) -> int:
        return len(self._kept)

    def computed(self, values: Mapping[str, Tensor], batch: int) -> Tensor:
        kept = self._kept[batch]
        inside = {name.removeprefix(f"{self._path}."): value for name, value in values.items()}
        args, kwargs = copied((kept.args, dict(kept.kwargs)))  # the module may write into them
        with self._twins.restricted(self._part, self._path):
            output = main_tensor(functional_call(self._part, inside, args, kwargs))
        assert output is not None  # it was seen to return one
        return output

    def wanted(self, batch: int) -> Tensor:
        return self._kept[batch].wanted

    def sensitivity(self, batch: int) -> Tensor:
        return self._sensitivities[batch]

    def moments(self, name: str) -> Tensor | None:
        return None

    def expected(self, name: str) -> Tensor | None:
        return expected(self._twins, name)

    def means(self, name: str) -> tuple[Tensor, Tensor] | None:
        return None

    @cached_property
    def _kept(self) -> tuple[_Kept, ...]:
        found: list[_Kept] = []
        for batch in self._chosen(f"what enters and leaves `{self.name}`"):
            seen = self._seen(batch)
            self._choose(seen)
            found += seen
        return tuple(found)

    def _chosen(self, what: str) -> Iterator[Any]:
        """The batches that are kept: the first always, and after it those that `_choose` drew."""
        left, known = {0}, self._twins.known.chosen
        for number, batch in enumerate(self._twins.batches(what)):
            if number in left:
                yield batch
                left = {one for one in known[self._path] if one > number}
            if not left:
                return

    def _choose(self, seen: Sequence[_Kept]) -> None:
        """Draw the batches that are kept, once for each module: what was seen of the first tells how many fit."""
        if self._path in self._twins.known.chosen:
            return
        size = sum(_size((kept.args, kept.kwargs, kept.wanted, kept.wanted)) for kept in seen)
        fitting, total = max(1, BYTES // max(1, size)), self._twins.count
        drawn = numpy.random.default_rng(self.seed).permutation(max(0, total - 1))[: fitting - 1] + 1
        self._twins.known.chosen[self._path] = {0, *drawn.tolist()}

    @torch.no_grad()
    def _seen(self, batch: Any) -> list[_Kept]:
        """The calls of the module with one batch."""
        entered: list[tuple[Any, Any]] = []
        left: list[Tensor] = []

        def enter(part: nn.Module, args: Any, kwargs: Any) -> None:
            entered.append(copied((args, kwargs)))
            if len(entered) == self._calls:
                raise Enough

        def leave(part: nn.Module, args: Any, output: Any) -> None:
            made = main_tensor(output)
            if made is None:
                raise not_finite(f"a number at `{self.name}`")
            left.append(finite(f"a number at `{self.name}`", made).clone())
            if len(left) == self._calls:
                raise Enough

        with hooked([self._part.register_forward_pre_hook(enter, with_kwargs=True)]):
            self._twins.run(self._twins.rounded, batch.inputs)
        with hooked([self._twins.before.get_submodule(self._path).register_forward_hook(leave)]):
            self._twins.run(self._twins.before, batch.inputs)
        return [_Kept(args, kwargs, wanted) for (args, kwargs), wanted in zip(entered, left, strict=True)]

    @cached_property
    def _sensitivities(self) -> list[Tensor]:
        """Of each batch: the squared gradient of each sample's loss, relative to the mean of all."""
        found: list[Tensor] = []
        for batch in self._chosen(f"how the loss depends on `{self.name}`"):
            found += self._squares(batch)
        mean = sum(float(each.sum()) for each in found) / max(1, sum(each.numel() for each in found))
        return [each / mean if mean > 0 else torch.ones_like(each) for each in found]

    def _squares(self, batch: Any) -> list[Tensor]:
        made: list[Tensor] = []

        def leave(part: nn.Module, args: Any, output: Any) -> Any:
            main = main_tensor(output)
            assert main is not None
            made.append(main.detach().requires_grad_() if not main.requires_grad else main)
            return tree_map(lambda leaf: made[-1].clone() if leaf is main else leaf, output)

        before = self._twins.before
        with hooked([before.get_submodule(self._path).register_forward_hook(leave)]), torch.enable_grad():
            loss = self._twins.loss(self._twins.run(before, batch.inputs), batch)
            if not loss.requires_grad:
                return [torch.zeros_like(each) for each in made]
            found = torch.autograd.grad(loss, made, allow_unused=True)
        finite("the loss", loss, "RCP1005")
        pairs = zip(found, made, strict=True)
        return [torch.zeros_like(one) if each is None else each.square() for each, one in pairs]


def _size(tree: Any) -> int:
    """Bytes of the tensors of a tree."""
    return sum(leaf.numel() * leaf.element_size() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))
