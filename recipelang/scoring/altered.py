"""What criteria need that change a network while it runs, or train something of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from recipelang.images.batches import moved
from recipelang.kinds import Again, Batch
from recipelang.scoring import input_statistics
from recipelang.scoring.changing import Change, captured, changed, counts
from recipelang.scoring.channels import channels_read
from recipelang.scoring.examined import Examined
from recipelang.scoring.maps import ENTERING, LEAVING, Sides
from recipelang.scoring.weights import no_samples
from recipelang.surgery.layout import wants_channels_last

Kept = TypeVar("Kept")


class Altered(Examined):
    """The part of the evidence that runs the network with changes."""

    @cached_property
    def reached(self) -> Mapping[str, int]:
        """Names of the weights that an input reaches, in order of execution → how often in one forward pass."""
        return input_statistics.reached(self.module, self._parameters, self._example())

    @cached_property
    def hidden(self) -> Mapping[str, tuple[str, ...]]:
        """Group → names of what reads it and is not among its `readers`."""
        if self.unit != "filter":
            return {}
        read = {(group, name) for name, groups in self._read.items() for group, _ in groups if self._whole(name)}
        return {
            group.name: tuple(p.name for p in group.source.at("reads") if (group.name, p.name) not in read)
            for group in self.groups
        }

    def _whole(self, name: str) -> bool:
        """Whether it is a parameter O×I or O×I×kernel, and what enters it is observed."""
        return name in self._parameters and name in self.reached

    @cached_property
    def channels(self) -> Mapping[str, Mapping[str, Tensor]]:
        """Group → weight → N×c channels of what enters it; else weight → itself → N×1, of what leaves it."""
        if self.unit != "filter":
            weights = dict.fromkeys(name for names in self.layers.values() for name in names) or dict(self.weights)
            found = {name: {name: torch.arange(self._outputs(name))[:, None]} for name in weights}
            return {name: here for name, here in found.items() if name in self._met}
        found = {group.name: {} for group in self.groups}
        for name, groups in self._read.items():
            for group_name, channels in groups if name in self._met else ():
                found[group_name][name] = channels
        asked = {group.name: {place.name for place in group.source.at("reads")} for group in self.groups}
        return {group: here for group, here in found.items() if here and set(here) == asked[group]}

    @cached_property
    def _read(self) -> Mapping[str, list[tuple[str, Tensor]]]:
        return channels_read(self.groups, self.products)

    def _outputs(self, name: str) -> int:
        """How many outputs a weight has."""
        product = self.products[name]
        if product.kind == "transposed convolution":
            return product.shape[1] * product.groups
        return self.weights[name].shape[self.outputs[name]] if self.weights[name].ndim > 1 else 1

    @cached_property
    def _met(self) -> set[str]:
        """The weights all of whose products can be changed."""
        weights = {name: weight for name, weight in self.weights.items() if self.products[name].parameter}
        image = self._example()
        below: dict[str, int] = {}

        def see(name: str, *_: Any) -> None:
            below[name] = below.get(name, 0) + 1

        sides = Sides(weights, ENTERING, see)
        with torch.no_grad(), sides.running():
            self.running(image.clone())
        above = counts(self.running, weights, image)
        return {name for name, count in above.items() if below.get(name) == count}

    def changing(self, change: Change) -> AbstractContextManager[None]:
        """Inside the block, what enters (or leaves) the weights of `channels` is changed, with gradients."""
        names = {name for weights in self.channels.values() for name in weights}
        side = ENTERING if self.unit == "filter" else LEAVING
        return changed({name: self.weights[name] for name in names}, side, change)

    @torch.no_grad()
    def again(self, names: Iterable[str], batch: Batch) -> Mapping[str, Again]:
        """Name → its product on a batch as a function of the weight; not of weights that are used several times."""
        found: dict[str, list[Again]] = {}
        with captured({name: self.weights[name] for name in names if name in self._met}, found):
            self.running(batch.inputs)
        return {name: calls[0] for name, calls in found.items() if len(calls) == 1}

    def drawn(self, count: int) -> Batch:
        """At most `count` samples of train, together.

        Raises:
            Refusal: RCP1008: there are none.
        """
        if not self.data.size("train"):
            raise no_samples(self.data.name, "train")
        most = count if self.samples is None else min(count, self.samples)
        parts = [tuple(batch) for batch in self.data.batches("train", samples=most, seed=self.seed)]
        inputs, targets = tree_map(lambda *leaves: torch.cat(leaves), parts[0], *parts[1:])
        last = wants_channels_last(self.module)
        return Batch(moved(inputs, self.device, channels_last=last), moved(targets, self.device))

    def kept(self, key: Any, make: Callable[[], Kept]) -> Kept:
        """What `make()` gave the first time."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    @cached_property
    def _kept(self) -> dict[Any, Any]:
        return {}
