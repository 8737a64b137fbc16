"""A network prepared for being examined: a copy in evaluation mode, its weights, and passes over the data."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

from torch import Tensor, nn

from recipelang.images.batches import count, moved
from recipelang.kinds import Batch, Dataset, Edit, Gone, Group, Progress, Task
from recipelang.scoring.passes import Collector, Request, one_pass, serve
from recipelang.scoring.together import asked
from recipelang.scoring.weights import no_samples, weights_inside
from recipelang.surgery.candidates import Candidate
from recipelang.surgery.layout import laid_out, wants_channels_last
from recipelang.surgery.network import Network
from recipelang.surgery.products import Product, find_products
from recipelang.surgery.simulated import running
from recipelang.surgery.tracing import device_of, example_input

T = TypeVar("T")


@dataclass(frozen=True)
class Examined:
    """A copy of a network and the data to examine it with: the network itself is not changed.

    Attributes:
        network: the network examined.
        data: the images; no batch is read for a criterion that needs none.
        task: whose loss the gradients are of.
        unit: what is ranked: `layer`, `filter` or `element`.
        groups: the layers, in order of execution, or groups of channels that are ranked.
        needs: what a criterion lists: signed gradients and gradients of BatchNorm are gathered only where listed.
        samples: number of training samples used, drawn with `seed`; None: all. The validation split is used in full.
        seed: for criteria that draw random numbers, and for drawing samples.
        device: where the passes run.
        edits: group → numbers of its parts: the edits that remove these (`Unit.edits`); None: those of layers.
    """

    network: Network
    data: Dataset
    task: Task
    groups: tuple[Group, ...] = ()
    unit: str = "layer"
    needs: tuple[str, ...] = ()
    samples: int | None = None
    seed: int = 0
    device: str = "cpu"
    progress: Progress | None = None
    edits: Callable[[Gone], Sequence[Edit]] | None = None

    @cached_property
    def module(self) -> nn.Module:
        """A copy of the network in evaluation mode, on the device; laid out by `layout.laid_out`."""
        module = copy.deepcopy(self.network.module).to(self.device).eval().requires_grad_(False)
        return laid_out(module)

    def _example(self, batch: int = 2) -> Tensor:
        """An input for the copy."""
        return example_input(self.network, batch).to(device_of(self.module))

    @cached_property
    def running(self) -> nn.Module:
        """The copy as it computes, with its restrictions."""
        return running(replace(self.network, module=self.module))

    @cached_property
    def candidates(self) -> tuple[Candidate, ...]:
        """The layers that are ranked."""
        return tuple(group.source for group in self.groups) if self.unit == "layer" else ()

    @cached_property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Name → the shape of the scores: () of a layer, (N) of a group of channels, that of a weight."""
        if self.unit == "element":
            return {name: tuple(weight.shape) for name, weight in self.weights.items()}
        return {group.name: () if self.unit == "layer" else (group.size,) for group in self.groups}

    @cached_property
    def products(self) -> Mapping[str, Product]:
        """The weights of the copy that enter products, by name; for single weights only those that are parameters."""
        found = find_products(self.module, self._example())
        return {product.name: product for product in found if product.parameter or self.unit == "layer"}

    @cached_property
    def weights(self) -> Mapping[str, Tensor]:
        """Name → weight: the parameter, or the values of a computed weight, outputs first."""
        return {
            name: self.module.get_parameter(name) if product.parameter else product.value
            for name, product in self.products.items()
        }

    @cached_property
    def outputs(self) -> Mapping[str, int]:
        """Name of a weight → the axis that holds its outputs, which are its filters."""
        return {name: product.outputs for name, product in self.products.items()}

    @cached_property
    def layers(self) -> Mapping[str, tuple[str, ...]]:
        """Candidate name → names of the weights inside it; a weight that several layers share is inside each."""
        return weights_inside(self.module, self.products, self.candidates)

    @property
    def _parameters(self) -> Mapping[str, Tensor]:
        """The weights that are parameters with their outputs first: the inputs of others are not observed."""
        return {
            name: weight
            for name, weight in self.weights.items()
            if self.products[name].parameter and weight.ndim > 1 and not self.outputs[name]
        }

    @property
    def simulates(self) -> bool:
        """Whether the network computes with other weights than the parameters that it holds."""
        return self.running is not self.module

    def answer_loss(self, batch: Batch, module: nn.Module | None = None) -> Tensor:
        """The task's loss of a batch, mean over its samples, of the network or of a copy of its `module`."""
        return self.task.loss(self.answered(batch, module), batch.targets)

    def answered(self, batch: Batch, module: nn.Module | None = None) -> Any:
        """The answer of the network, or of a copy of its `module`, to a batch."""
        network = self.running if module is None else running(replace(self.network, module=module))
        return self.task.answer(network(batch.inputs), batch.targets, self.data.labels)

    def read(self, split: str, samples: int | None, collectors: Sequence[Collector]) -> None:
        """One pass over a split in which all collectors look."""
        run = self.running if any(each.simulated for each in collectors) else self.module

        def loss(batch: Batch) -> Tensor:
            return self.task.loss(self.task.answer(run(batch.inputs), batch.targets, self.data.labels), batch.targets)

        one_pass(collectors, lambda what: self._batches(split, what, samples), run, loss)

    def _pass(self, split: str, collector: Collector, samples: int | None = None) -> None:
        """A pass in which this collector looks, and those of other criteria that ask at the same time."""
        if split == "train" and samples is None:
            samples = self.samples
        serve([Request(split, samples, collector, self)])

    def _once(self, key: Any, gather: Callable[[], tuple[Collector, Callable[[], T]]], samples: int | None = None) -> T:
        """What a pass over train gathered, of which there is one, also for criteria that ask at the same time."""
        while key not in self._results:
            if key in self._gathering:
                asked(None)
                continue
            self._gathering.add(key)
            try:
                collector, after = gather()
                self._pass("train", collector, samples)
                self._results[key] = after()
            finally:
                self._gathering.discard(key)
        result: T = self._results[key]
        return result

    @cached_property
    def _results(self) -> dict[Any, Any]:
        return {}

    @cached_property
    def _gathering(self) -> set[Any]:
        return set()

    def _batches(self, split: str, what: str, samples: int | None = None) -> Iterator[Batch]:
        """Inputs and targets of a split on the device; progress counts samples."""
        if split == "train" and samples is None:
            samples = self.samples
        total = self.data.size(split) if samples is None else min(samples, self.data.size(split))
        if not total:
            raise no_samples(self.data.name, split)
        if self.progress:
            self.progress.start(what, total)
        try:
            last = wants_channels_last(self.module)
            for inputs, targets in self.data.batches(split, samples=samples, seed=self.seed):
                yield Batch(moved(inputs, self.device, channels_last=last), moved(targets, self.device))
                if self.progress:
                    self.progress.advance(count(inputs))
        finally:
            if self.progress:
                self.progress.stop()
