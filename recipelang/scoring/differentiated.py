"""The evidence that derivatives of the loss give: of weights and of the scales of BatchNorm."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from torch import Tensor

from recipelang.scoring.curvature import fisher_diagonal, hutchinson_diagonal
from recipelang.scoring.examined import Examined
from recipelang.scoring.gradients import Gradients, gathering
from recipelang.scoring.weights import batchnorm_scales, of_groups, require_known


class Differentiated(Examined):
    """Derivatives of the task's loss, of one pass that is made when the first is asked for."""

    @cached_property
    def scales(self) -> Mapping[str, Tensor]:
        """Name of a BatchNorm's scale → N×1, or of a ranked group of channels that M BatchNorms scale → N×M."""
        return self._by_channel({name: scale.detach() for name, scale in self._scales.items()})

    @property
    def squared_scale_gradients(self) -> Mapping[str, Tensor]:
        """Like `scales`: mean over training batches of (∂L/∂γ)²; errors as `squared_gradients`."""
        return self._by_channel(self._gradients.squares)

    @property
    def scale_gradients(self) -> Mapping[str, Tensor]:
        """Like `scales`: mean over training batches of ∂L/∂γ; errors as `squared_gradients`."""
        return self._by_channel(self._gradients.means)

    def _by_channel(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """What there is for scales of BatchNorm, by the name of a scale or of a group."""
        known = {name: tensors[name] for name in self._scales if name in tensors}
        if self.unit == "filter":
            return of_groups(self.groups, known, "scales")
        return {name: tensor[:, None] for name, tensor in known.items()}

    @property
    def squared_gradients(self) -> Mapping[str, Tensor]:
        """Parameter name → mean over training batches of (∂L/∂w)², L the task's mean loss of a batch.

        Raises:
            Refusal: RCP1005: the loss or a gradient is not a finite number. RCP1008: no training samples. RCP0732: a
                weight of a layer is computed from parameters.
        """
        return {name: square for name, square in self._gradients.squares.items() if name in self.products}

    @property
    def gradients(self) -> Mapping[str, Tensor]:
        """Parameter name → mean over training batches of ∂L/∂w; errors as `squared_gradients`."""
        return {name: mean for name, mean in self._gradients.means.items() if name in self.products}

    @cached_property
    def _scales(self) -> Mapping[str, Tensor]:
        """The scales of BatchNorm, by name."""
        return batchnorm_scales(self.module)

    @property
    def batch_gradients(self) -> Mapping[str, Tensor]:
        """Parameter name → ∂L/∂w of one batch, drawn with the seed; errors as `squared_gradients`."""
        samples = min(self.data.batch, self.samples or self.data.batch)
        weights = self._differentiable
        return self._once("one batch", lambda: gathering(weights, signed=True), samples).means

    @property
    def _gradients(self) -> Gradients:
        scales = dict(self._scales) if "batchnorm" in self.needs else {}
        tensors = {**self._differentiable, **scales}
        return self._once("gradients", lambda: gathering(tensors, "signed gradients" in self.needs))

    @cached_property
    def _differentiable(self) -> Mapping[str, Tensor]:
        """The weights that are parameters.

        Raises:
            Refusal: RCP0732: one of a ranked layer is not.
        """
        weights = {name: weight for name, weight in self.weights.items() if self.products[name].parameter}
        require_known(self.products, self.layers, weights, "gradients")
        return weights

    def hessian_diagonal(self, how: str = "fisher", probes: int = 1) -> Mapping[str, Tensor]:
        """Parameter name → ∂²L/∂w², mean over training samples; one pass; errors as `squared_gradients`."""
        weights = self._differentiable
        batches = self._batches("train", "gathering second derivatives")
        if how == "hutchinson":
            return hutchinson_diagonal(weights, batches, self.answer_loss, probes, self.seed)
        return fisher_diagonal(weights, batches, self.answered, probes, self.seed)
