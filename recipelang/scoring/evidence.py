"""The evidence for criteria, gathered from a network and its data when a criterion first asks for it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.kinds import Dataset, Progress, Task
from recipelang.scoring import input_statistics
from recipelang.scoring.activations import watching_layers
from recipelang.surgery.candidates import Candidate
from recipelang.surgery.head import embedding_length
from recipelang.surgery.layout import laid_out, wants_channels_last
from recipelang.surgery.network import Network
from recipelang.surgery.products import Product, find_products
from recipelang.surgery.tracing import example

Observer = Callable[[str, str, Tensor, Tensor], None]


@dataclass(frozen=True)
class Gathered:
    """Evidence (`kinds.Evidence`) about a network. It works on a copy: the network is not changed.

    Attributes:
        network: the network examined.
        data: the images; no batch is read for a criterion that needs none.
        task: whose loss the gradients are of.
        candidates: the removable layers, in order of execution; they are ranked if there are any.
        samples: number of training samples used, drawn with `seed`; None: all. The validation split is used in full.
        seed: for criteria that draw random numbers, and for drawing samples.
        device: where the passes run.
    """

    network: Network
    data: Dataset
    task: Task
    candidates: tuple[Candidate, ...] = ()
    unit: str = "layer"
    samples: int | None = None
    seed: int = 0
    device: str = "cpu"
    progress: Progress | None = None

    @cached_property
    def module(self) -> nn.Module:
        """A copy of the network in evaluation mode, on the device; laid out by `layout.laid_out`."""
        module = copy.deepcopy(self.network.module).to(self.device).eval().requires_grad_(False)
        return laid_out(module)

    @cached_property
    def products(self) -> Mapping[str, Product]:
        """The weights of the copy that enter products, by name; for single weights only those that are parameters."""
        found = find_products(self.module, example(self.module, self.network.input_shape))
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
        shared: dict[int, list[str]] = {}
        for name, parameter in self.module.named_parameters(remove_duplicate=False):
            shared.setdefault(id(parameter), []).append(name)
        places = {
            name: (product.path, *(shared[id(self.module.get_parameter(name))] if product.parameter else (name,)))
            for name, product in self.products.items()
        }
        return {
            candidate.name: tuple(
                name
                for name in self.products
                if any(f"{place}.".startswith(path + ".") for path in candidate.paths for place in places[name])
            )
            for candidate in self.candidates
        }

    def _require_known(self, known: Collection[str], what: str) -> None:
        """Refuse where ranked layers hold weights about which a criterion has no evidence.

        Raises:
            Refusal: RCP0732.
        """
        for layer, names in self.layers.items():
            if unknown := [name for name in names if name not in known]:
                why = self.products[unknown[0]].why or f"the weight of a {self.products[unknown[0]].kind} layer"
                raise Refusal(
                    "RCP0732",
                    f"the {what} of `{unknown[0]}` in `{layer}` are not known: {why}",
                    f'rank `by imprint` or `by magnitude`, or exclude it with `except "{layer}"`',
                )

    @property
    def classes(self) -> int:
        """Number of classes of the data."""
        return len(self.data.classes)

    @cached_property
    def embedding_length(self) -> int:
        """Number of features that enter the head.

        Raises:
            Refusal: RCP1009: the network has no head.
        """
        try:
            return embedding_length(self.module, example(self.module, self.network.input_shape))
        except Refusal as refusal:
            help = "give the length: `imprint(embedding=64)`"
            raise Refusal("RCP1009", f"the length of this network's embedding is unknown: {refusal}", help) from refusal

    @cached_property
    def squared_gradients(self) -> Mapping[str, Tensor]:
        """Parameter name → mean over training batches of (∂L/∂w)², L the task's mean loss of a batch.

        Raises:
            Refusal: RCP1005: the loss or a gradient is not a finite number. RCP1008: no training samples. RCP0732: a
                weight of a layer is computed from parameters.
        """
        module = self.module
        weights = {name: weight for name, weight in self.weights.items() if self.products[name].parameter}
        self._require_known(weights, "gradients")
        sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        batches = 0
        for weight in weights.values():
            weight.requires_grad_(True)
        try:
            for images, labels in self._batches("train", "gathering gradients"):
                loss = self.task.loss(module(images), labels)
                gradients = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
                for total, gradient in zip(sums.values(), gradients, strict=True):
                    if gradient is not None:
                        total.addcmul_(gradient, gradient)
                batches += 1
        finally:
            for weight in weights.values():
                weight.requires_grad_(False)
        for name, total in sums.items():
            if not bool(torch.isfinite(total).all()):
                raise Refusal(
                    "RCP1005",
                    f"the gradient of `{name}` is NaN or infinite",
                    "training has diverged: lower the learning rate, or start from other weights",
                )
            total.div_(batches)
        return sums

    @cached_property
    def reached(self) -> Mapping[str, int]:
        """Names of the weights that an input reaches, in order of execution → how often in one forward pass."""
        return input_statistics.reached(self.module, self._parameters, example(self.module, self.network.input_shape))

    @cached_property
    def input_norms(self) -> Mapping[str, Tensor]:
        """Parameter name → ‖x‖₂ of each of its inputs over all rows of train, broadcasting against the weight.

        Raises:
            Refusal: RCP1008: no training samples. RCP1010: an input is not a finite number. RCP0732: the inputs of a
                layer's weight cannot be observed.
        """
        self._require_known(self.reached, "inputs")
        return input_statistics.input_norms(self.module, self._parameters, self._images)

    def second_moments(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """(parameter name, 2/rows · XᵀX of its inputs, G×K×K), in order of execution.

        Raises:
            Refusal: RCP1008: no training samples. RCP1010: an input is not a finite number.
        """
        asked = set(names)
        calls = {name: count for name, count in self.reached.items() if name in asked}
        return input_statistics.second_moments(self.module, self._parameters, calls, self._images)

    @property
    def _parameters(self) -> Mapping[str, Tensor]:
        """The weights that are parameters with their outputs first: the inputs of others are not observed."""
        return {
            name: weight
            for name, weight in self.weights.items()
            if self.products[name].parameter and weight.ndim > 1 and not self.outputs[name]
        }

    def _images(self, what: str) -> Iterator[Tensor]:
        return (images for images, _ in self._batches("train", what))

    def watch(self, split: str, observe: Observer) -> None:
        """One forward pass over `split`, in order and without augmentation.

        `observe(candidate, "input" | "output", activation, labels)` is called at every candidate, in order of
        execution. Activations are B×F×H×W, tokens B×F×T, vectors B×F; labels B. Where one candidate directly
        follows another, the input of the second shares memory with the output of the first.

        Raises:
            Refusal: RCP1008: the split has no samples.
        """
        labels: list[Tensor] = []
        axes = {candidate.name: candidate.filters_axis for candidate in self.candidates}

        def show(name: str, side: str, activation: Tensor) -> None:
            observe(name, side, activation.movedim(axes[name], 1), labels[0])

        with watching_layers(self.module, self.candidates, show), torch.no_grad():
            for images, targets in self._batches(split, f"examining {split}"):
                labels[:] = [targets]
                self.module(images)

    def _batches(self, split: str, what: str) -> Iterator[tuple[Tensor, Tensor]]:
        """(images, labels) of a split on the device; progress counts images."""
        samples = self.samples if split == "train" else None
        total = self.data.size(split) if samples is None else min(samples, self.data.size(split))
        if not total:
            raise Refusal(
                "RCP1008",
                f"the data `{self.data.name}` has no {split} samples, and the criterion needs them",
                "use data with a training and a validation split, or a criterion that needs none: `by magnitude`",
            )
        if self.progress:
            self.progress.start(what, total)
        try:
            for images, labels in self.data.batches(split, samples=samples, seed=self.seed):
                images = images.to(self.device)
                if wants_channels_last(self.module):
                    images = images.contiguous(memory_format=torch.channels_last)
                yield images, labels.to(self.device)
                if self.progress:
                    self.progress.advance(len(labels))
        finally:
            if self.progress:
                self.progress.stop()
